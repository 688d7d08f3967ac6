"""ONNX files: data without code, served as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.opened import Graph
from trimtab_toolbox.request import Request

_IR_VERSION_FIELD = 0x08
_MAX_BYTES = (1 << 31) - 1


def recognises(path: Path) -> bool:
    """Whether `path` is named .onnx or begins with the field every ONNX model begins with, its IR version."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(2)
    return path.suffix == ".onnx" or (len(head) == 2 and head[0] == _IR_VERSION_FIELD and 1 <= head[1] <= 32)


def open_source(path: Path, request: Request) -> Graph:
    """The graph in the file; LoadFailed when it is damaged or its weights lie in another file."""
    return Graph(format="ONNX", model=load(path, weights_beside=False))


def load(path: Path, *, weights_beside: bool) -> Any:
    """The checked model at `path`, weights of files beside it included when that is allowed."""
    import onnx
    from onnx.external_data_helper import load_external_data_for_model, uses_external_data

    try:
        model = onnx.load(path, load_external_data=False)
        outside = [tensor.name for tensor in model.graph.initializer if uses_external_data(tensor)]
        if outside and not weights_beside:
            message = (
                f"{path.name} keeps the weights {outside[0]!r} in another file, and only one file can be imported: "
                "save it with save_as_external_data=False, or log it to MLflow"
            )
            raise Failure(Reason.LOAD_FAILED, message)
        if outside:
            load_external_data_for_model(model, str(path.parent))  # refuses names that lead out of the folder
        if model.ByteSize() > _MAX_BYTES:
            message = f"{path.name} has more than 2 GiB, which an ONNX model in one file cannot have"
            raise Failure(Reason.TOO_LARGE, message)
        onnx.checker.check_model(model)
    except Failure:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:400]
        message = f"{path.name} is not a valid ONNX model: {type(error).__name__}: {text}; export it again"
        raise Failure(Reason.LOAD_FAILED, message) from error
    return model
