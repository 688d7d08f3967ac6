"""How good are the answers? From labels that came back, and, without any, from the scores alone.

The estimate without labels takes the calibration of training for granted (confidence-based performance estimation).
It follows a change of the inputs and is blind to concept drift: when the same inputs mean something else than before,
it stays where it was. So it may stand beside what labels say, and never decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from trimtab.evidence.drift.labels import Labels
from trimtab.evidence.drift.reference import Cells

Z = 1.959_964
"""Two-sided 95 %."""
MOST_CLASSES = 8
RECALL = "Recall of "


class Calibration(NamedTuple):
    """The score's part of a drift profile: of the rows of each cell, how many were right."""

    kind: str
    edges: tuple[float, ...]
    counts: Cells
    right: Cells


class Metric(NamedTuple):
    """A realised figure and its 95 % interval at this look; None where there is no sound interval."""

    name: str
    value: float
    lower: float | None = None
    upper: float | None = None


def read_calibration(document: Mapping[str, Any]) -> Calibration | None:
    """The calibration in profile.json; None when it has none."""
    score = document.get("score")
    if not score or score.get("right") is None:
        return None
    return Calibration(score["kind"], *(tuple(score[key]) for key in ("edges", "counts", "right")))


def estimated(calibration: Calibration | None, scores: Sequence[int]) -> dict[str, float]:
    """What the scores of a window say of its quality, by metric; nothing for a regression or without rows.

    In each cell as many are right as were in training. Accuracy, and of two classes also RocAuc and Brier.
    """
    total = sum(scores)
    if calibration is None or not total or calibration.kind == "value":
        return {}
    at = middles(calibration.edges)
    known = zip(calibration.right, calibration.counts, at, strict=True)
    shares = [(right + middle) / (count + 1) for right, count, middle in known]
    if calibration.kind == "largest":
        return {"Accuracy": sum(n * p for n, p in zip(scores, shares, strict=True)) / total}
    positive = [n * p for n, p in zip(scores, shares, strict=True)]
    negative = [n - p for n, p in zip(scores, positive, strict=True)]
    correct = sum(p if x >= 0.5 else q for x, p, q in zip(at, positive, negative, strict=True))
    found = {"Accuracy": correct / total, "Brier": _brier(at, positive, negative)[0] / total}
    ranked = auc(positive, negative)
    return found if ranked is None else {**found, "RocAuc": ranked}


def realised(labels: Labels, classes: Sequence[str] = ()) -> list[Metric]:
    """All figures that the labels allow; `classes` name the rows of the confusion."""
    if not labels.count:
        return []
    if labels.errors:
        return [*_regression(labels)]
    found = [_share("Accuracy", _correct(labels), labels.count)]
    if labels.classes == 2 and sum(labels.scored) > 0:
        found += _binary(labels)
    return [*found, *_recalls(labels, classes)]


def middles(edges: Sequence[float]) -> list[float]:
    """The middle of each cell of a probability."""
    ends = [0.0, *(min(max(edge, 0.0), 1.0) for edge in edges), 1.0]
    return [(low + high) / 2 for low, high in pairwise(ends)]


def auc(positive: Sequence[float], negative: Sequence[float]) -> float | None:
    """The chance that a positive scores above a negative, half of it for those of one cell; None without one of them.

    Mann and Whitney, Annals of Mathematical Statistics 18, 1947.
    """
    p, q = sum(positive), sum(negative)
    if p <= 0 or q <= 0:
        return None
    below = accumulate(negative, initial=0.0)
    return sum(a * (under + b / 2) for a, b, under in zip(positive, negative, below, strict=False)) / (p * q)


def auc_error(value: float, positive: float, negative: float) -> float:
    """The standard error of an area under the curve (Hanley and McNeil, Radiology 143, 1982)."""
    q1, q2 = value / (2 - value), 2 * value * value / (1 + value)
    spread = value * (1 - value) + (positive - 1) * (q1 - value * value) + (negative - 1) * (q2 - value * value)
    return math.sqrt(max(spread, 0.0) / (positive * negative))


def losses(name: str, labels: Labels) -> list[tuple[int, float]]:
    """How many labels have which loss between 0 and 1, for Accuracy (wrong or not) and Brier (squared distance)."""
    if name == "Accuracy":
        correct = _correct(labels)
        return [(correct, 0.0), (labels.count - correct, 1.0)]
    if name != "Brier" or labels.classes != 2 or not labels.scored:
        return []
    cells = zip(middles(labels.edges), labels.right, labels.scored, strict=True)
    return [part for x, a, n in cells for part in ((a, (1 - x) ** 2), (n - a, x * x)) if part[0]]


def error_of(name: str, labels: Labels) -> tuple[float, float] | None:
    """The mean of the absolute errors (MAE) or of their squares (RMSE) of a regression, and its standard error.

    None where there are no errors, or no sums to tell how they spread.
    """
    place = 2 if name == "MAE" else 3
    if len(labels.errors) < place + 2:
        return None
    return _mean_error(labels.errors[0], *labels.errors[place : place + 2])


def _correct(labels: Labels) -> int:
    size = labels.classes
    return sum(labels.confusion[:: size + 1]) if size else sum(labels.right)


def _share(name: str, hits: int, rows: int) -> Metric:
    """A share with the interval of Wilson, Journal of the American Statistical Association 22, 1927."""
    p, spread = hits / rows, Z * Z / rows
    middle = (p + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(p * (1 - p) / rows + spread / (4 * rows))
    return Metric(name, p, max(0.0, middle - half), min(1.0, middle + half))


def _binary(labels: Labels) -> Iterator[Metric]:
    positive = [float(n) for n in labels.right]
    negative = [float(n - a) for n, a in zip(labels.scored, labels.right, strict=True)]
    ranked = auc(positive, negative)
    if ranked is not None:
        half = Z * auc_error(ranked, sum(positive), sum(negative))
        yield Metric("RocAuc", ranked, max(0.0, ranked - half), min(1.0, ranked + half))
    total, squares = _brier(middles(labels.edges), positive, negative)
    yield _mean("Brier", sum(labels.scored), total, squares)


def _brier(at: Sequence[float], positive: Sequence[float], negative: Sequence[float]) -> tuple[float, float]:
    """The sum of squared distances between score and truth, and that of their squares (Brier, 1950)."""
    parts = [(a, (1 - x) ** 2) for x, a in zip(at, positive, strict=True)]
    parts += [(b, x * x) for x, b in zip(at, negative, strict=True)]
    return math.fsum(n * loss for n, loss in parts), math.fsum(n * loss * loss for n, loss in parts)


def _mean_error(rows: float, total: float, squares: float) -> tuple[float, float]:
    """A mean and its standard error, from a sum and a sum of squares."""
    mean = total / rows
    return mean, math.sqrt(max(squares / rows - mean * mean, 0.0) / rows)


def _mean(name: str, rows: float, total: float, squares: float) -> Metric:
    mean, error = _mean_error(rows, total, squares)
    return Metric(name, mean, mean - Z * error, mean + Z * error)


def _regression(labels: Labels) -> Iterator[Metric]:
    """MAE with the interval of a mean; RMSE with the roots of the bounds of the mean squared error.

    A growing function of a parameter carries its interval over, and to first order this one is that of the delta method
    (Casella and Berger, Statistical Inference, 2002, 5.5.4); below zero it cannot go.
    """
    rows, _, absolute, squares = labels.errors[:4]
    yield _mean("MAE", rows, absolute, squares)
    value, found = math.sqrt(max(squares, 0.0) / rows), error_of("RMSE", labels)
    if found is None:
        yield Metric("RMSE", value)
        return
    mean, error = found
    yield Metric("RMSE", value, *(math.sqrt(max(mean + side * Z * error, 0.0)) for side in (-1, 1)))


def _recalls(labels: Labels, classes: Sequence[str]) -> Iterator[Metric]:
    size = labels.classes
    for place in range(min(size, MOST_CLASSES)):
        rows = sum(labels.confusion[place::size])
        name = classes[place] if place < len(classes) else str(place)
        if rows:
            yield _share(f"{RECALL}{name}", labels.confusion[place * (size + 1)], rows)
