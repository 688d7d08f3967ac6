"""Bounds of a mean whose rows may be skewed, as losses are: a few rows hold most of the difference.

Student's interval is wrong up to 9 % of the time at a nominal 5 % on differences of log loss between a calibrated and
an overconfident model with 200 rows, and in the direction that lets the worse model pass. Hall's transformation takes
the skewness out, but errs where tails are so heavy that the skewness cannot be estimated (squared errors). On each side
the more cautious of the two is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit


@dataclass(frozen=True, slots=True)
class Mean:
    """An estimate that is a mean over rows, or nearly: `influence` is what each row adds to `point`, times the rows.

    Bounds are the outer ones of Student's and of those of Hall (Journal of the Royal Statistical Society B 54, 1992).
    """

    point: float
    influence: NDArray[np.float64]

    def lower(self, confidence: float) -> float:
        """The bound that the true value is above with this `confidence`."""
        return self.point - max(self._reaches(confidence))

    def upper(self, confidence: float) -> float:
        """The bound that the true value is below with this `confidence`."""
        return self.point - min(self._reaches(1 - confidence))

    def _reaches(self, confidence: float) -> tuple[float, float]:
        """How far below `point` the true value is with this `confidence`: by Student's interval, and by Hall's."""
        rows = len(self.influence)
        centred = self.influence - self.influence.mean()
        deviation = float(centred.std(ddof=1))
        if deviation <= 1e-12 * max(1.0, abs(self.point)):
            return 0.0, 0.0
        quantile = float(stdtrit(rows - 1, confidence)) / math.sqrt(rows)
        skewness = float((centred**3).mean()) / float(centred.std()) ** 3
        plain = deviation * quantile
        if abs(skewness) < 1e-6:
            return plain, plain
        shifted = quantile - skewness / (6 * rows)
        return plain, deviation * 3 / skewness * (float(np.cbrt(1 + skewness * shifted)) - 1)
