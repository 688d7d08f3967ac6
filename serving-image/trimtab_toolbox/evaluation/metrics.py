"""The metrics a gate may name: what they need of a model, which way is better, and their value on some rows.

The values are those of scikit-learn. They are written out because the bootstrap asks for them thousands of times, with
a weight for each row instead of a copy of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from trimtab_toolbox.evaluation.truth import Answers, Codes, Floats, Truth

SMALLEST = float(np.finfo(np.float64).eps)
"""No probability counts as less in the logarithm, as in scikit-learn: one row cannot be infinitely wrong."""


class Needs(StrEnum):
    """What a model must answer for a metric."""

    LABELS = "labels"
    PROBABILITIES = "probabilities"
    NUMBERS = "numbers"


@dataclass(frozen=True, slots=True)
class Metric:
    """`sign` is 1 where more is better and -1 where less is."""

    name: str
    needs: Needs
    sign: int = 1


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", Needs.LABELS),
        Metric("balanced_accuracy", Needs.LABELS),
        Metric("f1", Needs.LABELS),
        Metric("roc_auc", Needs.PROBABILITIES),
        Metric("pr_auc", Needs.PROBABILITIES),
        Metric("log_loss", Needs.PROBABILITIES, -1),
        Metric("brier", Needs.PROBABILITIES, -1),
        Metric("mae", Needs.NUMBERS, -1),
        Metric("rmse", Needs.NUMBERS, -1),
        Metric("r2", Needs.NUMBERS),
    )
}


def losses(name: str, truth: Truth, answers: Answers) -> Floats:
    """What each row adds to log_loss, brier, mae or (squared) rmse."""
    return _LOSSES[name](truth, answers)


def _log_loss(truth: Truth, answers: Answers) -> Floats:
    given = answers.scores[np.arange(len(truth)), truth.codes]
    return -np.log(np.clip(given, SMALLEST, 1 - SMALLEST))


def _brier(truth: Truth, answers: Answers) -> Floats:
    """The squared distance to the true class; of two classes that of the second alone."""
    wrong = answers.scores.copy()
    wrong[np.arange(len(truth)), truth.codes] -= 1
    return np.asarray((wrong**2).sum(axis=1) / (2 if wrong.shape[1] == 2 else 1))


_LOSSES: Mapping[str, Callable[[Truth, Answers], Floats]] = {
    "log_loss": _log_loss,
    "brier": _brier,
    "mae": lambda truth, answers: np.abs(answers.values - truth.values),
    "rmse": lambda truth, answers: (answers.values - truth.values) ** 2,
}


def from_counts(name: str, hits: Floats, given: Floats, true: Floats) -> Floats:
    """balanced_accuracy or f1 from counts by class, in the last axis: rightly labelled, labelled so, truly so.

    Of two classes f1 is that of the second, of more the mean over classes; a class that is neither true nor given is
    left out of the mean, and one that is only given has an f1 of 0.
    """
    if name == "balanced_accuracy":
        present = true > 0
        recalls = np.divide(hits, true, out=np.zeros_like(hits), where=present)
        return np.asarray(recalls.sum(axis=-1) / present.sum(axis=-1))
    known = (given + true) > 0
    scores = np.divide(2 * hits, given + true, out=np.zeros_like(hits), where=known)
    if scores.shape[-1] == 2:
        return np.asarray(scores[..., 1])
    return np.asarray(scores.sum(axis=-1) / np.maximum(known.sum(axis=-1), 1))


class Ranking:
    """The average precision of one class's scores, for many weightings of the rows at the price of one sort."""

    def __init__(self, positive: NDArray[np.bool_], score: Floats) -> None:
        self._order = np.argsort(-score, kind="stable")
        self._positive = positive[self._order]
        # Rows with the same score come in together, or the order of the file would matter.
        self._ends = np.append(np.flatnonzero(np.diff(score[self._order])), len(score) - 1)

    def average_precision(self, weights: Floats) -> float:
        """With `weights` of the rows in the order they were given in."""
        heavy = weights[self._order]
        found = np.cumsum(heavy * self._positive)[self._ends]
        seen = np.cumsum(heavy)[self._ends]
        precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
        return float((np.diff(found, prepend=0.0) * precision).sum() / max(found[-1], 1e-300))


def looked_at(codes: Codes, classes: int) -> list[int]:
    """The classes whose curves are averaged: of two the second, of more those that occur."""
    return [1] if classes == 2 else [int(code) for code in np.unique(codes)]
