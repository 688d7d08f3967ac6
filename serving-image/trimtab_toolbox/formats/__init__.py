"""What lies at a source, told by its content and not by its name, and opened by the module that knows it.

A new format is a module with `recognises(path)` and `open_source(path, request)` and a line in FORMATS; the
order matters, the first that recognises the source opens it.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.formats import mlflow_folder, onnx_file, pickle_file, skops_file
from trimtab_toolbox.opened import Opened
from trimtab_toolbox.request import Request

FORMATS: tuple[tuple[str, ModuleType], ...] = (
    ("MLflow", mlflow_folder),
    ("Sklearn", skops_file),
    ("Sklearn", pickle_file),
    ("ONNX", onnx_file),
)
SUPPORTED = (
    "an MLflow model folder (flavors sklearn and onnx), also as zip or tar.gz, a .skops file, an .onnx file, "
    "and with spec.allowPickle a .joblib or .pkl file"
)


def open_model(path: Path, request: Request) -> Opened:
    """The model at `path`, a file or an MLflow folder.

    Raises UnsupportedFormat, PickleRefused or LoadFailed, each saying what to do.
    """
    for name, module in FORMATS:
        if module.recognises(path):
            if request.format not in ("Auto", name):
                message = (
                    f"spec.format is {request.format}, but {path.name} is {name}: change spec.format to {name} or Auto"
                )
                raise Failure(Reason.UNSUPPORTED_FORMAT, message)
            opened: Opened = module.open_source(path, request)
            return opened
    message = f"{path.name} is not a model of a known format; supported are {SUPPORTED}"
    raise Failure(Reason.UNSUPPORTED_FORMAT, message)
