"""XGBoost's JSON and UBJSON files and LightGBM's text files: data without code, told by how they begin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trimtab_serving.outcome import Failure, Reason
from trimtab_serving.runtimes.boosters import LIGHTGBM_FILE, XGBOOST_FILES, load_lightgbm, load_xgboost
from trimtab_toolbox.opened import Estimator
from trimtab_toolbox.request import Request

_UBJSON, _JSON = b"{L", b"{"
_LIGHTGBM = b"tree\nversion="
_HEAD = 96


class XgboostFile:
    """A file that `save_model` of XGBoost wrote."""

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether `path` begins as a model of XGBoost does."""
        head = _head(path)
        return head.startswith(_JSON) and b"learner" in head

    @staticmethod
    def open_source(path: Path, request: Request) -> Estimator:
        """The model in the file; LoadFailed when it is damaged."""
        model, files = open_xgboost(path)
        return Estimator(format="XGBoost", flavor="xgboost", model=model, files=files)


class LightgbmFile:
    """A file that `save_model` of LightGBM wrote."""

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether `path` begins as a model of LightGBM does."""
        return _head(path).startswith(_LIGHTGBM)

    @staticmethod
    def open_source(path: Path, request: Request) -> Estimator:
        """The booster in the file; LoadFailed when it is damaged."""
        model, files = open_lightgbm(path)
        return Estimator(format="LightGBM", flavor="lightgbm", model=model, files=files)


def open_xgboost(path: Path) -> tuple[Any, dict[str, Path | bytes]]:
    """The model in an XGBoost file, and the file under the name that its encoding has in a bundle."""
    ubjson, json = XGBOOST_FILES
    name = ubjson if _head(path).startswith(_UBJSON) else json
    return _loaded(path, name, load_xgboost, "XGBoost"), {name: path}


def open_lightgbm(path: Path) -> tuple[Any, dict[str, Path | bytes]]:
    """The booster in a LightGBM file, and the file under its name in a bundle."""
    return _loaded(path, LIGHTGBM_FILE, load_lightgbm, "LightGBM"), {LIGHTGBM_FILE: path}


def _loaded(path: Path, name: str, load: Callable[[Path], Any], library: str) -> Any:
    # XGBoost decides by the ending what a file is, and the bundle names it by its content.
    target = path if path.suffix == Path(name).suffix else path.with_suffix(Path(name).suffix)
    try:
        if target != path and not target.exists():
            target.symlink_to(path.name)
        return load(target)
    except Exception as error:
        text = " ".join(str(error).split())[:400]
        message = (
            f"{path.name} cannot be loaded by {library}: {type(error).__name__}: {text}; save it again with a current "
            "version's save_model, or check that the file is whole"
        )
        raise Failure(Reason.LOAD_FAILED, message) from error
    finally:
        if target != path and target.is_symlink():
            target.unlink()


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(_HEAD)
