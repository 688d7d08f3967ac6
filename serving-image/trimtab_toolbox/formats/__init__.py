"""What lies at a source, told by its content and not by its name, and opened by the module that knows it.

A new format has `recognises(path)` and `open_source(path, request)`, as a module or a class, and a line in FORMATS;
the order matters, the first that recognises the source opens it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.formats import mlflow_folder, onnx_file, pickle_file, skops_file
from trimtab_toolbox.formats.booster_file import LightgbmFile, XgboostFile
from trimtab_toolbox.opened import Opened
from trimtab_toolbox.request import Request


class Format(Protocol):
    """What a format can do."""

    def recognises(self, path: Path) -> bool:
        """Whether what lies at `path` is of this format."""
        ...

    def open_source(self, path: Path, request: Request) -> Opened:
        """The model there."""
        ...


FORMATS: tuple[tuple[str, Format], ...] = (
    ("MLflow", mlflow_folder),
    ("Sklearn", skops_file),
    ("Sklearn", pickle_file),
    ("XGBoost", XgboostFile()),
    ("LightGBM", LightgbmFile()),
    ("ONNX", onnx_file),
)
SUPPORTED = (
    "an MLflow model folder (flavors sklearn, xgboost, lightgbm and onnx), also as zip or tar.gz, a .skops file, an "
    ".onnx file, XGBoost's JSON and UBJSON, LightGBM's text, and with spec.allowPickle a .joblib or .pkl file or any "
    "Python function of MLflow"
)


def open_model(path: Path, request: Request) -> Opened:
    """The model at `path`, a file or an MLflow folder.

    Raises UnsupportedFormat, PickleRefused or LoadFailed, each saying what to do.
    """
    for name, known in FORMATS:
        if known.recognises(path):
            if request.format not in ("Auto", name):
                message = (
                    f"spec.format is {request.format}, but {path.name} is {name}: change spec.format to {name} or Auto"
                )
                raise Failure(Reason.UNSUPPORTED_FORMAT, message)
            return known.open_source(path, request)
    message = f"{path.name} is not a model of a known format; supported are {SUPPORTED}"
    raise Failure(Reason.UNSUPPORTED_FORMAT, message)
