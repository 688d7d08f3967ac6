"""Pickles of any kind (pickle, joblib, cloudpickle): loading one runs code of whoever wrote it.

So they are refused unless the owner of the MLModel says otherwise. They are recognised by their content: a
pickle does not become harmless by being called something else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.formats.skops_file import load_failed
from trimtab_toolbox.opened import Estimator
from trimtab_toolbox.request import Request

_SUFFIXES = (".pkl", ".pickle", ".joblib")
_PROTOCOLS = frozenset({2, 3, 4, 5})


def recognises(path: Path) -> bool:
    """Whether `path` begins like a pickle of protocol 2 to 5, or is named like one (joblib may compress)."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(2)
    return path.suffix in _SUFFIXES or (len(head) == 2 and head[0] == 0x80 and head[1] in _PROTOCOLS)


def open_source(path: Path, request: Request) -> Estimator:
    """The estimator in the file; PickleRefused unless pickles are allowed."""
    model = load(path, allowed=request.allow_pickle)
    return Estimator(format="Sklearn", flavor="sklearn", model=model, files={"model.pkl": path})


def load(path: Path, *, allowed: bool, where: str = "", made_with: str = "") -> Any:
    """Unpickle `path` if that is allowed; `where` is how to name the file in messages."""
    if not allowed:
        message = (
            f"{where or path.name} is a pickle, and loading it would run code of whoever wrote it; log the model "
            'with skops (MLflow: serialization_format="skops"), or set spec.allowPickle: true if you trust '
            "its author"
        )
        raise Failure(Reason.PICKLE_REFUSED, message)
    import joblib  # type: ignore[import-untyped]

    try:
        return joblib.load(path)  # reads plain pickles and cloudpickles as well
    except Exception as error:
        raise load_failed(path, error, made_with) from error
