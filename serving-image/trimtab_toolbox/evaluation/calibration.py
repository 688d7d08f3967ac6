"""Whether a probability of 70 % comes true 70 % of the time.

The usual figure, the mean distance in bins between what was said and what came true, is biased upwards: a perfect
model has one too, the larger the fewer the rows. Here the square of the distance is taken, and the part of it that is
mere chance is subtracted (Kumar, Liang and Ma, NeurIPS 2019, the debiased estimator).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from trimtab_toolbox.evaluation.truth import Answers, Floats, Truth

BINS = 15


@dataclass(frozen=True, slots=True)
class Calibration:
    """The mean squared distance in bins without the part that is chance: `square`.

    The variance of `square` is at most `steady` + `growing` times the true value.
    """

    square: float
    steady: float
    growing: float

    @property
    def point(self) -> float:
        """The root of it: how far probabilities are off, on average."""
        return math.sqrt(max(self.square, 0.0))

    def upper(self, confidence: float) -> float:
        """The bound that the true error is below with this `confidence`.

        It is the largest value that the estimate does not speak against, with the variance that belongs to that value
        and not to the estimate: an estimate that is low by chance has a variance that is too low as well.
        """
        spread = float(ndtri(confidence)) ** 2
        linear = spread * self.growing
        root = math.sqrt(linear**2 + 4 * spread * max(self.steady + self.growing * self.square, 0.0))
        return math.sqrt(max(self.square + (linear + root) / 2, 0.0))


def calibration(truth: Truth, answers: Answers) -> Calibration:
    """Of the second of two classes; with more, of the probability of the class that was answered.

    BINS bins of as many rows each, at least two rows in each.
    """
    said, came = _events(truth, answers)
    order = np.argsort(said, kind="stable")
    bins = [rows for rows in np.array_split(order, BINS) if len(rows) > 1]
    sizes = np.array([len(rows) for rows in bins], dtype=float)
    gaps = np.array([float((came[rows] - said[rows]).mean()) for rows in bins])
    # Of the differences themselves: what varies in a bin is what came true and what was said.
    chance = np.array([float((came[rows] - said[rows]).var(ddof=1)) / len(rows) for rows in bins])
    weights = sizes / sizes.sum()
    return Calibration(
        square=float(weights @ (gaps**2 - chance)),
        steady=float(2 * weights**2 @ chance**2),
        growing=float(4 * (weights * chance).max()),
    )


def _events(truth: Truth, answers: Answers) -> tuple[Floats, Floats]:
    if answers.scores.shape[1] == 2:
        return answers.scores[:, 1], (truth.codes == 1).astype(float)
    best = answers.scores.argmax(axis=1)
    return answers.scores[np.arange(len(best)), best], (truth.codes == best).astype(float)
