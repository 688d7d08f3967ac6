"""Pairs of models whose true difference is known, for `bench.gate`: drawn from a world, or from a large population."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtri

from trimtab_toolbox.evaluation.truth import Answers, Truth

Dice = np.random.Generator
NO_CODES = np.empty(0, dtype=np.int64)
NO_SCORES = np.empty((0, 0))


@dataclass(frozen=True)
class Counted:
    """Many holdouts of `rows` rows: how many each model has right, alone and together."""

    rows: int
    gained: np.ndarray
    lost: np.ndarray
    right: np.ndarray
    elsewhere: np.ndarray
    """How many the challenger has right on another holdout of as many rows."""


def counted(dice: Dice, runs: int, rows: int, difference: float, accuracy: float = 0.9, agree: float = 0.94) -> Counted:
    """Two classifiers with `accuracy` and `accuracy + difference` that `agree` on being right or wrong."""
    gained, lost = (1 - agree + difference) / 2, (1 - agree - difference) / 2
    cells = dice.multinomial(rows, [gained, lost, accuracy - lost, 1 - accuracy - gained], size=runs)
    elsewhere = dice.binomial(rows, accuracy + difference, size=runs)
    return Counted(rows, cells[:, 0], cells[:, 1], cells[:, 1] + cells[:, 2], elsewhere)


def scored(dice: Dice, rows: int, difference: float, area: float = 0.85, common: float = 0.9) -> tuple[Truth, Answers]:
    """Two scores with true areas `area` and `area + difference`, correlated within the classes (binormal).

    The challenger's scores are in the answers' second half of columns: split them with `halves`.
    """
    codes = (dice.random(rows) < 0.3).astype(np.int64)
    shared = dice.normal(size=rows)
    columns = []
    for value in (area, area + difference):
        noise = math.sqrt(common) * shared + math.sqrt(1 - common) * dice.normal(size=rows)
        score = noise + codes * math.sqrt(2) * float(ndtri(value))
        columns += [-score, score]
    return Truth(codes, np.empty(0), ("0", "1")), Answers(NO_CODES, np.stack(columns, axis=1), np.empty(0))


def halves(both: Answers) -> tuple[Answers, Answers]:
    """The two models of `scored`."""
    first, second = (both.scores[:, part] for part in (slice(0, 2), slice(2, 4)))
    return Answers(NO_CODES, first, np.empty(0)), Answers(NO_CODES, second, np.empty(0))


@dataclass(frozen=True)
class Population:
    """So many rows that what is measured on all of them is the truth."""

    truth: Truth
    champion: Answers
    challenger: Answers

    def holdouts(self, dice: Dice, runs: int, rows: int) -> Iterator[tuple[Truth, Answers, Answers]]:
        """Random rows, as often as asked."""
        for _ in range(runs):
            chosen = dice.integers(len(self.truth), size=rows)
            yield self.truth.part(chosen), self.champion.part(chosen), self.challenger.part(chosen)


def classifiers(dice: Dice, rows: int, positive: float = 0.1) -> Population:
    """A calibrated champion, and a challenger that sees the same a little worse and is too sure of itself.

    One row in ten is of the second class, and differences of log loss are skewed: the hard case for a bound.
    """
    level = math.log(positive / (1 - positive)) - 1.2
    eta = level + 2.0 * dice.normal(size=rows)
    codes = (dice.random(rows) < expit(eta)).astype(np.int64)
    return Population(
        Truth(codes, np.empty(0), ("0", "1")),
        _classifier(eta + 0.3 * dice.normal(size=rows)),
        _classifier(level + 1.5 * (eta - level) + 0.6 * dice.normal(size=rows)),
    )


def regressions(dice: Dice, rows: int) -> Population:
    """Errors with heavy tails, larger where the target is large; the challenger's are a little larger."""
    values = np.exp(0.5 * dice.normal(size=rows))
    shared = dice.standard_t(6, size=rows)
    return Population(
        Truth(NO_CODES, values),
        _regression(values * (1 + 0.2 * (shared + 0.5 * dice.standard_t(6, size=rows)))),
        _regression(values * (1 + 0.22 * (shared + 0.5 * dice.standard_t(6, size=rows)))),
    )


def _classifier(logit: np.ndarray) -> Answers:
    second = expit(logit)
    return Answers((second > 0.5).astype(np.int64), np.stack([1 - second, second], axis=1), np.empty(0))


def _regression(values: np.ndarray) -> Answers:
    return Answers(NO_CODES, NO_SCORES, values)
