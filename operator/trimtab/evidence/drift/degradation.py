"""Has the model become worse than it may be? A detector that may be asked at every look.

It multiplies bets against "the mean loss is within the limit" and begins anew whenever they are lost, as CUSUM does.
Such an e-detector alarms once in 1/alpha steps on average at the earliest, while the limit holds (Shin, Ramdas and
Rinaldo, New England Journal of Statistics in Data Science 2, 2024, arXiv 2203.03532); so alpha is the number of false
alarms allowed per step. Labels are taken to be independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from trimtab.evidence import means
from trimtab.evidence.drift.labels import Labels
from trimtab.evidence.drift.performance import auc, auc_error, error_of, losses

YEAR = 365 * 86_400
STAKES = (0.1, 0.3, 1.0)
"""How far beyond the limit the loss is betted to be, as a share of the limit; each has a third of the money."""
MOST = 0.9
"""No bet can lose more than this share of what it stakes."""


class Limit(NamedTuple):
    """What quality is held to."""

    metric: str
    """Accuracy or RocAuc, which must not be below the value; Brier, MAE or RMSE, which must not be above it."""
    value: float
    least: int = 500
    """Labels before anything is said."""

    @property
    def wrong_side(self) -> Literal["below", "above"]:
        """Where figures are that break the limit."""
        return "below" if self.metric in ("Accuracy", "RocAuc") else "above"

    def kept(self, value: float) -> bool:
        """Whether a figure is within the limit."""
        return value >= self.value if self.wrong_side == "below" else value <= self.value


class Detector:
    """The evidence, from one bucket of labels to the next, that a limit is broken."""

    def __init__(self, limit: Limit, step_seconds: float, false_alarms_per_year: float) -> None:
        self.limit = limit
        self.needed = math.log(max(YEAR / step_seconds / false_alarms_per_year, 20.0))
        self._logs = [0.0] * len(STAKES)
        self._block = Labels()

    @property
    def evidence(self) -> float:
        """The log of the evidence; `needed` is enough, and more is not kept, so that good news is believed too."""
        top = max(self._logs)
        return max(0.0, top + math.log(math.fsum(math.exp(log - top) for log in self._logs) / len(self._logs)))

    @property
    def alarmed(self) -> bool:
        """Whether the limit is proven to be broken."""
        return self.evidence >= self.needed - 1e-9

    def kept(self) -> tuple[tuple[float, ...], Labels]:
        """What another detector of the same limit needs to go on: the log of each bet, and labels not judged yet."""
        return tuple(self._logs), self._block

    def resume(self, logs: Sequence[float], block: Labels) -> None:
        """Go on from there; ValueError when the bets are others."""
        if len(logs) != len(STAKES):
            raise ValueError(f"there are {len(logs)} bets, where {len(STAKES)} are made")
        most = self.needed + math.log(len(STAKES))
        self._logs, self._block = [min(log, most) for log in logs], block

    def take(self, labels: Labels) -> None:
        """Take in the labels of a bucket."""
        if self.limit.metric in ("RocAuc", "MAE", "RMSE"):
            self._take_block(labels)
            return
        value = self.limit.value
        most = 1 - value if self.limit.metric == "Accuracy" else value
        parts = losses(self.limit.metric, labels)
        for place, stake in enumerate(STAKES):
            bet = min(stake / max(1 - most, 1e-9), MOST / max(most, 1e-9))
            won = math.fsum(n * math.log1p(bet * (loss - most)) for n, loss in parts)
            self._note(place, won)

    def _take_block(self, labels: Labels) -> None:
        """These figures are not means of bounded losses: each block of labels is one asymptotic e-value."""
        self._block = self._block + labels if labels.alike(self._block) else labels
        if self._block.count < self.limit.least:
            return
        worse, self._block = self._standard_errors(self._block), Labels()
        if worse is None:
            return
        units = float(self.limit.least)
        for place in range(len(STAKES)):
            self._note(place, means.log_e(worse, units, means.rho(units, math.exp(-self.needed))))

    def _standard_errors(self, block: Labels) -> float | None:
        """How many standard errors the block is on the wrong side of the limit; None when it cannot be told."""
        if self.limit.metric in ("MAE", "RMSE"):
            mean, error = error_of(self.limit.metric, block) or (0.0, 0.0)
            # The squares have a mean, and the limit of their root is squared too.
            limit = self.limit.value if self.limit.metric == "MAE" else self.limit.value**2
            return (mean - limit) / error if error > 0 else None
        negative = [float(n - a) for n, a in zip(block.scored, block.right, strict=True)]
        value = auc(block.right, negative) if block.classes == 2 and block.scored else None
        if value is None:
            return None
        error = auc_error(value, sum(block.right), sum(negative))
        return (self.limit.value - value) / error if error > 0 else None

    def _note(self, place: int, won: float) -> None:
        most = self.needed + math.log(len(STAKES))
        self._logs[place] = min(max(self._logs[place], 0.0) + won, most)
