"""A metric of one model, or by how much one model is better than another, with bounds of known confidence.

Each metric has the method that holds its error rate for it; this is the table of methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trimtab_toolbox.evaluation.areas import Area, Placed, placed
from trimtab_toolbox.evaluation.means import Mean
from trimtab_toolbox.evaluation.metrics import METRICS, losses
from trimtab_toolbox.evaluation.proportions import PairedProportions, Proportion
from trimtab_toolbox.evaluation.resample import DRAWS, Resampled, resampled
from trimtab_toolbox.evaluation.truth import Answers, Truth


class Estimate(Protocol):
    """A value and one-sided bounds of it."""

    @property
    def point(self) -> float:
        """The value on the holdout."""
        ...

    def lower(self, confidence: float) -> float:
        """The bound that the true value is above with this `confidence`, a share."""
        ...

    def upper(self, confidence: float) -> float:
        """The bound that the true value is below with this `confidence`, a share."""
        ...


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models on the same rows: their values, and the improvement, above 0 where the challenger is better."""

    champion: float
    challenger: float
    improvement: Estimate


def one(name: str, truth: Truth, answers: Answers, draws: int = DRAWS) -> Estimate:
    """The metric of one model. ValueError for rows on which it cannot be told."""
    if name == "accuracy":
        return Proportion(int((answers.labels == truth.codes).sum()), len(truth))
    if name == "roc_auc":
        return Area(placed(truth.codes, answers.scores))
    if name in ("log_loss", "brier", "mae", "rmse"):
        return _mean(name, truth, answers)
    return resampled(name, truth, [answers], draws)[0]


def pair(name: str, truth: Truth, champion: Answers, challenger: Answers, draws: int = DRAWS) -> Pair:
    """The metric of both and the improvement. ValueError for rows on which it cannot be told."""
    if name == "accuracy":
        return _shares(truth, champion, challenger)
    if name == "roc_auc":
        old, new = (placed(truth.codes, answers.scores) for answers in (champion, challenger))
        return Pair(old.point, new.point, Placed(new.point - old.point, new.parts - old.parts, new.strata))
    sign = METRICS[name].sign
    if name in ("log_loss", "brier", "mae", "rmse"):
        before, after = (_mean(name, truth, answers) for answers in (champion, challenger))
        rows = sign * (after.influence - before.influence)
        return Pair(before.point, after.point, Mean(sign * (after.point - before.point), rows))
    first, second = resampled(name, truth, [champion, challenger], draws)
    better = Resampled(sign * (second.point - first.point), sign * (second.draws - first.draws))
    return Pair(first.point, second.point, better)


def _shares(truth: Truth, champion: Answers, challenger: Answers) -> Pair:
    was, now = champion.labels == truth.codes, challenger.labels == truth.codes
    gained, lost = int((now & ~was).sum()), int((was & ~now).sum())
    return Pair(float(was.mean()), float(now.mean()), PairedProportions(gained, lost, len(truth)))


def _mean(name: str, truth: Truth, answers: Answers) -> Mean:
    """rmse is the root of a mean: to first order a row adds its squared error over twice the root (delta method)."""
    rows = losses(name, truth, answers)
    if name != "rmse":
        return Mean(float(rows.mean()), rows)
    root = float(np.sqrt(rows.mean()))
    return Mean(root, rows / (2 * root) if root else rows)


def worst(name: str, estimate: Estimate, confidence: float) -> float:
    """The value that the model is better than with this `confidence`: a lower bound, or an upper one of a loss."""
    return estimate.lower(confidence) if METRICS[name].sign > 0 else estimate.upper(confidence)


def passes(name: str, value: float, limit: float) -> bool:
    """Whether `value` is at least as good as `limit`."""
    return METRICS[name].sign * (value - limit) >= 0
