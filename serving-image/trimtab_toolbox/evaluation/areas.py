"""Areas under ROC curves, with the variance of DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988).

Each row has a placement: the share of rows of the other side that its score is on the right side of. The area is their
mean on either side, and two models are compared through the differences of each row's placements, so that what the
models have in common cancels. With more than two classes the area is the mean over classes, each against the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from scipy.stats import rankdata

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Placed:
    """An area, or a difference of two: `parts` adds up over the rows, `strata` is the class of each row."""

    point: float
    parts: Floats
    strata: NDArray[np.int64]

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(sum(variance for variance, _ in self._variances()))

    def reach(self, confidence: float) -> float:
        """How far off the true value is with this `confidence`: rare classes make it Student's and not the normal."""
        variances = self._variances()
        total = sum(variance for variance, _ in variances)
        spread = sum(variance**2 / (rows - 1) for variance, rows in variances)
        # The degrees of freedom of a sum of variances (Satterthwaite, Biometrics Bulletin 2, 1946).
        return float(stdtrit(total**2 / spread, confidence)) * math.sqrt(total) if spread else 0.0

    def lower(self, confidence: float) -> float:
        """The bound that the true value is above with this `confidence`."""
        return self.point - self.reach(confidence)

    def upper(self, confidence: float) -> float:
        """The bound that the true value is below with this `confidence`."""
        return self.point + self.reach(confidence)

    def _variances(self) -> list[tuple[float, int]]:
        groups = [self.parts[self.strata == code] for code in np.unique(self.strata)]
        return [(len(group) * float(group.var(ddof=1)), len(group)) for group in groups]


@dataclass(frozen=True, slots=True)
class Area:
    """One model's area, with bounds that stay between 0 and 1 (on the logit scale, where it is nearly normal)."""

    placed: Placed

    @property
    def point(self) -> float:
        """The area itself."""
        return self.placed.point

    def lower(self, confidence: float) -> float:
        """The bound that the true area is above with this `confidence`."""
        if self.point <= 0:
            return 0.0
        if self.point >= 1 or not self.placed.error:
            # No pair was out of order: as if each row of the smallest class had been one trial.
            return self.point * float((1 - confidence) ** (1 / int(np.bincount(self.placed.strata).min())))
        reach = self.placed.reach(confidence) / (self.point * (1 - self.point))
        return float(1 / (1 + math.exp(reach - math.log(self.point / (1 - self.point)))))

    def upper(self, confidence: float) -> float:
        """The bound that the true area is below with this `confidence`."""
        mirrored = Placed(1 - self.point, -self.placed.parts, self.placed.strata)
        return 1 - Area(mirrored).lower(confidence)


def placed(truth: NDArray[np.int64], scores: Floats) -> Placed:
    """The area of `scores` (shape [rows, classes]) for the classes `truth`, each row's part, and its stratum.

    Of two classes only the second is looked at; of more, all that occur. ValueError when fewer than two occur, or one
    of them only once.
    """
    codes, strata = np.unique(truth, return_inverse=True)
    if len(codes) < 2 or np.bincount(strata).min() < 2:
        raise ValueError("an area needs two classes with two rows each")
    looked = [1] if scores.shape[1] == 2 else [int(code) for code in codes]
    parts = np.mean([_parts(truth == code, scores[:, code]) for code in looked], axis=0)
    # Either side of each curve adds up to the area, so all rows add up to twice of it.
    return Placed(float(parts.sum()) / 2, parts, strata.astype(np.int64))


def _parts(positive: NDArray[np.bool_], score: Floats) -> Floats:
    """Each row's placement, divided by the rows of its own side."""
    ups, downs = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(score)
    parts = np.empty(len(score))
    parts[positive] = (ranks[positive] - rankdata(score[positive])) / downs / ups
    parts[~positive] = (ups - (ranks[~positive] - rankdata(score[~positive]))) / ups / downs
    return parts
