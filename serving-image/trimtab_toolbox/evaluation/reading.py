"""From the output tensors of a model to the answers that metrics take.

What a served model calls its outputs is its own affair, so they are told by their types: text or whole numbers are
labels, a matrix of numbers with a column for each class is probabilities, one number a row is a value (and a
probability of the second class when there are two classes and it lies between 0 and 1).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from trimtab_serving.bundle import Tensor
from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.evaluation.contender import Contender
from trimtab_toolbox.evaluation.metrics import Metric, Needs
from trimtab_toolbox.evaluation.truth import Answers, Floats, Truth, class_names, coded
from trimtab_toolbox.table import Tensors

_WHOLE = ("BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
_REAL = ("FP16", "FP32", "FP64")


def not_finite(contender: Contender, given: Tensors) -> int:
    """In how many rows some number that the model answered is NaN or infinite."""
    rows = len(next(iter(given.values())))
    wrong = np.zeros(rows, dtype=bool)
    for tensor in contender.outputs:
        values = given[tensor.name]
        if values.dtype.kind == "f":
            wrong |= ~np.isfinite(values).reshape(rows, -1).all(axis=1)
    return int(wrong.sum())


def answers_of(contender: Contender, given: Tensors, truth: Truth, metric: Metric) -> Answers:
    """The model's answers as `metric` needs them; LoadFailed when the model does not give that."""
    nothing = Answers(np.empty(0, dtype=np.int64), np.empty((0, 0)), np.empty(0))
    if metric.needs is Needs.NUMBERS:
        values = _values(contender.outputs, given, (*_REAL, *_WHOLE))
        if values is None:
            raise _lacks(contender, metric, "one number a row")
        return Answers(nothing.labels, nothing.scores, values)
    scores = _scores(contender, given, truth)
    if scores is None and metric.needs is Needs.PROBABILITIES:
        raise _lacks(contender, metric, "a probability of each class")
    labels = _labels(contender, given, truth)
    if labels is None:
        if scores is None:
            raise _lacks(contender, metric, "labels")
        labels = scores.argmax(axis=1).astype(np.int64)
    return Answers(labels, nothing.scores if scores is None else scores, nothing.values)


def _labels(contender: Contender, given: Tensors, truth: Truth) -> np.ndarray | None:
    name = _single(contender.outputs, given, (*_WHOLE, "BYTES"))
    return None if name is None else coded(class_names(given[name].reshape(-1)), truth.classes)


def _scores(contender: Contender, given: Tensors, truth: Truth) -> Floats | None:
    """Shape [rows, classes of the truth]; a class that the model does not know has the probability 0."""
    known = contender.classes or truth.classes
    for tensor in contender.outputs:
        matrix = given[tensor.name]
        if tensor.datatype in _REAL and matrix.ndim == 2 and matrix.shape[1] == len(known) > 1:
            scores = np.zeros((len(matrix), len(truth.classes)))
            scores[:, coded(np.array(known, dtype=object), truth.classes)] = matrix
            return scores
    values = _values(contender.outputs, given, _REAL)
    if values is not None and len(truth.classes) == 2 and ((values >= 0) & (values <= 1)).all():
        return np.stack([1 - values, values], axis=1)
    return None


def _values(outputs: Iterable[Tensor], given: Tensors, kinds: tuple[str, ...]) -> Floats | None:
    name = _single(outputs, given, kinds)
    return None if name is None else given[name].reshape(-1).astype(np.float64)


def _single(outputs: Iterable[Tensor], given: Tensors, kinds: tuple[str, ...]) -> str | None:
    """The first output of these kinds with one value a row."""
    fitting = (tensor.name for tensor in outputs if tensor.datatype in kinds)
    return next((name for name in fitting if given[name].size == len(given[name])), None)


def _lacks(contender: Contender, metric: Metric, what: str) -> Failure:
    has = ", ".join(f"{tensor.name} {tensor.datatype}{list(tensor.shape)}" for tensor in contender.outputs)
    message = (
        f"the {contender.role} {contender.uri} does not answer {what}, which the metric {metric.name} needs; it "
        f"answers {has}: choose another metric, or train a model that can"
    )
    return Failure(Reason.LOAD_FAILED, message)
