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


def predict(model: Any, features: Features, outputs: Outputs) -> Tensors:
    """The answers of `model` as the declared output tensors."""
    answers: Tensors = {}
    for tensor in outputs.tensors:
        method = model.predict_proba if tensor.name == PROBABILITIES else model.predict
        answer = ask(method, features)
        if tensor.datatype == "BYTES":
            answers[tensor.name] = answer.astype(str).astype(object)
        elif tensor.name == LABEL:
            answers[tensor.name] = answer.astype(NUMPY_TYPES[tensor.datatype])
        else:
            # Left as exact as it is: rounding it to FP32 here would hide a part of the difference to the graph.
            answers[tensor.name] = answer
    return answers


def ask(method: Any, features: Features) -> NDArray[Any]:
    """What `method` answers, without the warnings scikit-learn repeats on each call."""
    with warnings.catch_warnings():
        # Fitted without names and asked with names, or the other way round: harmless and said on every row.
        warnings.simplefilter("ignore")
        return np.asarray(method(features))


def _classes(model: Any) -> tuple[str | int, ...] | None:
    """The classes of a classifier with one output, as the values clients will see."""
    from sklearn.base import is_classifier

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
