"""What an estimator answers in this process, under the names clients will see.

Classifiers give `label` and, if they can, `probabilities`; everything else gives `prediction`. The outputs are
described from real answers, because what an estimator returns depends on what it was fitted with.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trimtab_serving.bundle import Datatype, Tensor
from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.table import NUMPY_TYPES, Tensors

LABEL = "label"
PROBABILITIES = "probabilities"
PREDICTION = "prediction"

Features: TypeAlias = "pd.DataFrame | NDArray[Any]"


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of an estimator, and the classes whose probabilities it gives, in their order."""

    tensors: tuple[Tensor, ...]
    classes: tuple[str | int, ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs' names in their order."""
        return tuple(tensor.name for tensor in self.tensors)


def describe_outputs(model: Any, features: Features) -> Outputs:
    """The outputs of `model`, from its answers to `features`; LoadFailed when it cannot answer."""
    answer = ask(model.predict, features)
    if isinstance(answer, pd.DataFrame):
        return _columns(model, answer, len(features))
    if len(answer) != len(features) or answer.ndim > 2:
        message = (
            f"{type(model).__name__} answered {len(features)} rows with the shape {list(answer.shape)}; "
            "a model must give one prediction a row"
        )
        raise Failure(Reason.LOAD_FAILED, message)
    classes = _classes(model)
    shape = (-1, *answer.shape[1:])
    if classes is None:
        return Outputs((Tensor(PREDICTION, _datatype(answer), shape),))
    label = Tensor(LABEL, _datatype(np.asarray(classes)), shape)
    if not hasattr(model, "predict_proba"):
        return Outputs((label,), classes)
    return Outputs((label, Tensor(PROBABILITIES, "FP32", (-1, len(classes)))), classes)


def _columns(model: Any, answer: pd.DataFrame, rows: int) -> Outputs:
    """One output for each column of a table that a model answers."""
    names = [str(name) for name in answer.columns]
    if len(answer) != rows or not names or len(set(names)) != len(names) or PROBABILITIES in names:
        message = (
            f"{type(model).__name__} answered {rows} rows with a table of {len(answer)} rows and the columns "
            f"{', '.join(names) or 'none'}; it must have one row for each, and columns of different names other than "
            f"{PROBABILITIES!r}"
        )
        raise Failure(Reason.LOAD_FAILED, message)
    return Outputs(tuple(Tensor(name, _datatype(answer[name].to_numpy()), (-1,)) for name in names))


def predict(model: Any, features: Features, outputs: Outputs) -> Tensors:
    """The answers of `model` as the declared output tensors."""
    answers: Tensors = {}
    for tensor in outputs.tensors:
        method = model.predict_proba if tensor.name == PROBABILITIES else model.predict
        answer = ask(method, features)
        if isinstance(answer, pd.DataFrame):
            answer = answer[tensor.name].to_numpy()
        if tensor.datatype == "BYTES":
            answers[tensor.name] = answer.astype(str).astype(object)
        elif tensor.name == LABEL:
            answers[tensor.name] = answer.astype(NUMPY_TYPES[tensor.datatype])
        else:
            # Left as exact as it is: rounding it to FP32 here would hide a part of the difference to the graph.
            answers[tensor.name] = answer
    return answers


def ask(method: Any, features: Features) -> Any:
    """What `method` answers (an array, or a table), without the warnings scikit-learn repeats on each call."""
    with warnings.catch_warnings():
        # Fitted without names and asked with names, or the other way round: harmless and said on every row.
        warnings.simplefilter("ignore")
        answer = method(features)
        return answer if isinstance(answer, pd.DataFrame) else np.asarray(answer)


def is_classifier(model: Any) -> bool:
    """Whether scikit-learn takes `model` for a classifier; what knows nothing of scikit-learn is none."""
    from sklearn import base

    return hasattr(model, "__sklearn_tags__") and bool(base.is_classifier(model))


def _classes(model: Any) -> tuple[str | int, ...] | None:
    """The classes of a classifier with one output, as the values clients will see."""
    if not is_classifier(model):
        return None
    classes = getattr(model, "classes_", None)
    if classes is None or np.ndim(classes) != 1 or isinstance(classes, list):
        return None
    array = np.asarray(classes)
    if _datatype(array) == "BYTES":
        return tuple(str(value) for value in array)
    return tuple(int(value) for value in array)


def _datatype(values: NDArray[Any]) -> Datatype:
    """INT64 for whole numbers and booleans (also classes 0.0 and 1.0), FP64 for others, else text."""
    if values.dtype.kind in "iub":
        return "INT64"
    if values.dtype.kind == "f":
        return "FP64"
    return "BYTES"
