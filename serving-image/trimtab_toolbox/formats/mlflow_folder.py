"""MLflow model folders: the flavors that are known here are opened without running MLflow's own loaders.

MLflow's loaders follow whatever `MLmodel` says: pickles, code in the folder, modules to import. Here MLmodel is
only read, and the one file that holds the model is opened by the module for its format, under the same rules as
if it had come alone. Only what has no such flavor is left to MLflow, and only when code is allowed to run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from trimtab_serving.counting.profile import PROFILE_FILE
from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.formats import booster_file, onnx_file, pickle_file, skops_file
from trimtab_toolbox.formats.pyfunc_folder import open_pyfunc
from trimtab_toolbox.opened import Estimator, Graph, Opened
from trimtab_toolbox.request import Request
from trimtab_toolbox.signature import example_table, schema_of_signature

_Loaded: TypeAlias = "tuple[Any, dict[str, Path | bytes]]"

CODE = "code"
"""Where Python code that was logged with the model lies in a bundle's `model/` folder."""


def recognises(path: Path) -> bool:
    """Whether `path` is a folder with an MLmodel file."""
    return (path / "MLmodel").is_file()


def open_source(path: Path, request: Request) -> Opened:
    """The model in the folder, with its signature and example."""
    from mlflow.models import Model

    try:
        logged = Model.load(str(path))
        flavors: Mapping[str, Any] = logged.flavors
        signature = logged.signature
    except Exception as error:
        message = f"MLmodel cannot be read: {type(error).__name__}: {error}; log the model again"
        raise Failure(Reason.LOAD_FAILED, message) from error
    example = _example(logged, path)
    profile = _profile(path)
    if "onnx" in flavors:
        file = _file(path, flavors["onnx"], "data", "model.onnx")
        graph = onnx_file.load(file, weights_beside=True)
        return Graph(format="MLflow", model=graph, example=example, profile=profile)
    flavor = next((name for name in _OPENERS if name in flavors), None)
    if flavor is None:
        names = ", ".join(sorted(flavors)) or "no flavor at all"
        message = f"the MLflow model has the flavors {names}; supported are {', '.join(_OPENERS)} and onnx"
        raise Failure(Reason.UNSUPPORTED_FORMAT, f"{message}: log it as one of them")
    schema = schema_of_signature(signature)
    model, files = _OPENERS[flavor](path, flavors[flavor], request)
    table = example_table(example, schema)
    return Estimator("MLflow", flavor, model, schema=schema, example=table, files=files, profile=profile)


def _sklearn(folder: Path, flavor: Mapping[str, Any], request: Request) -> _Loaded:
    file = _file(folder, flavor, "pickled_model", "model.pkl")
    version = flavor.get("sklearn_version")
    return _object(folder, file, flavor, request, f"scikit-learn {version}" if version else "")


def _xgboost(folder: Path, flavor: Mapping[str, Any], request: Request) -> _Loaded:
    model, files = booster_file.open_xgboost(_file(folder, flavor, "data", "model.ubj"))
    return model, files | _code(folder, flavor, request)


def _lightgbm(folder: Path, flavor: Mapping[str, Any], request: Request) -> _Loaded:
    file = _file(folder, flavor, "data", "model.lgb")
    if not booster_file.LightgbmFile.recognises(file):
        # LightGBM's classes for scikit-learn are logged as those of scikit-learn are.
        version = flavor.get("lgb_version")
        return _object(folder, file, flavor, request, f"LightGBM {version}" if version else "")
    model, files = booster_file.open_lightgbm(file)
    return model, files | _code(folder, flavor, request)


def _object(folder: Path, file: Path, flavor: Mapping[str, Any], request: Request, made_with: str) -> _Loaded:
    code = _code(folder, flavor, request)
    if skops_file.recognises(file):
        model = skops_file.load(file, allow_any_type=request.allow_pickle)
        return model, {"model.skops": file, **code}
    kind = flavor.get("serialization_format") or "pickle"
    where = f"{file.name} of the MLflow model ({kind})"
    model = pickle_file.load(file, allowed=request.allow_pickle, where=where, made_with=made_with)
    return model, {"model.pkl": file, **code}


def _pyfunc(folder: Path, flavor: Mapping[str, Any], request: Request) -> _Loaded:
    return open_pyfunc(folder, request)


_OPENERS: Mapping[str, Callable[[Path, Mapping[str, Any], Request], _Loaded]] = {
    "sklearn": _sklearn,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "python_function": _pyfunc,
}


def _code(folder: Path, flavor: Mapping[str, Any], request: Request) -> dict[str, Path | bytes]:
    """The Python files logged with the model (`code_paths`), made importable if code is allowed at all."""
    name = flavor.get("code")
    if not name:
        return {}
    root = _inside(folder, str(name))
    if not request.allow_pickle:
        message = (
            f"the MLflow model brings Python code of its own ({name}/), which would run when it is loaded; log it "
            "without code_paths, or set spec.allowPickle: true if you trust its author"
        )
        raise Failure(Reason.PICKLE_REFUSED, message)
    sys.path.insert(0, str(root))
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {f"{CODE}/{path.relative_to(root).as_posix()}": path for path in files}


def _example(logged: Any, path: Path) -> Any:
    """The input example, or None: a missing or odd example is no reason to refuse a model."""
    try:
        return logged.load_input_example(str(path))
    except Exception:
        return None


def _profile(path: Path) -> bytes | None:
    file = path / PROFILE_FILE
    return file.read_bytes() if file.is_file() else None


def _file(folder: Path, flavor: Mapping[str, Any], key: str, default: str) -> Path:
    name = str(flavor.get(key) or default)
    path = _inside(folder, name)
    if not path.is_file():
        message = f"MLmodel names the file {name!r}, which is not in the model's folder; log the model again"
        raise Failure(Reason.LOAD_FAILED, message)
    return path


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        message = f"MLmodel names {name!r}, which leads out of the model's folder"
        raise Failure(Reason.UNSAFE_ARCHIVE, message)
    return path
