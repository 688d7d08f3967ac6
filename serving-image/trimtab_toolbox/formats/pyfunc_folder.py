"""MLflow's `python_function` flavor, for everything that no other flavor describes.

It is loaded by MLflow itself and so runs whatever its author put there: pickles, modules, scripts. That is for the
owner of the MLModel to allow. The bundle gets the logged folder with an `MLmodel` that says only what loading needs:
run ids, dates and addresses of the machine where it was logged stay behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from trimtab_serving.outcome import Failure, Reason
from trimtab_serving.runtimes.pyfunc import MLMODEL, Pyfunc
from trimtab_toolbox.request import Request

_LEFT_BEHIND = frozenset(
    {
        MLMODEL,
        "conda.yaml",
        "python_env.yaml",
        "requirements.txt",
        "registered_model_meta",
        "input_example.json",
        "serving_input_example.json",
        "profile.json",
    }
)


def open_pyfunc(folder: Path, request: Request) -> tuple[Pyfunc, dict[str, Path | bytes]]:
    """The model and the files its bundle needs; PickleRefused unless pickles are allowed, LoadFailed."""
    description = yaml.safe_load((folder / MLMODEL).read_text())
    flavor: Mapping[str, Any] = description["flavors"]["python_function"]
    loader = str(flavor.get("loader_module", ""))
    if not request.allow_pickle:
        message = (
            f"the MLflow model is a Python function (loader {loader}), and loading it would run code of whoever wrote "
            "it; log it with a flavor that is data (sklearn with skops, xgboost, lightgbm, onnx), or set "
            "spec.allowPickle: true if you trust its author"
        )
        raise Failure(Reason.PICKLE_REFUSED, message)
    try:
        model = Pyfunc(folder)
    except Exception as error:
        text = " ".join(str(error).split())[:400]
        message = (
            f"the MLflow model's Python function (loader {loader}) cannot be loaded: {type(error).__name__}: {text}; "
            "log what it imports with code_paths, or serve it from a container of your own"
        )
        raise Failure(Reason.LOAD_FAILED, message) from error
    files: dict[str, Path | bytes] = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.relative_to(folder).parts[0] not in _LEFT_BEHIND
    }
    return model, {MLMODEL: _needed(description), **files}


def _needed(description: Mapping[str, Any]) -> bytes:
    flavor = {name: value for name, value in description["flavors"]["python_function"].items() if name != "env"}
    artifacts = flavor.get("artifacts") or {}
    if artifacts:
        flavor["artifacts"] = {name: {"path": entry["path"], "uri": entry["path"]} for name, entry in artifacts.items()}
    kept = {"flavors": {"python_function": flavor}, "signature": description.get("signature")}
    return str(yaml.safe_dump({name: value for name, value in kept.items() if value})).encode()
