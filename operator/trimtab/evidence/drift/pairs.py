"""Drift that no single feature shows: two features that hang together otherwise than they did in training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from trimtab.evidence.drift.reference import Moments
from trimtab.evidence.drift.special import normal_tails
from trimtab.evidence.drift.window import Window

LEAST_CHANGE = 0.1
BOUND = 0.999_999


class PairDrift(NamedTuple):
    """The two features whose correlation changed most, and whether it did beyond chance."""

    features: tuple[str, str]
    before: float
    after: float
    p_value: float
    """Of the largest change among all pairs."""
    drifted: bool


def pair_drift(reference: Moments | None, window: Window, effect: float, limit: float) -> PairDrift | None:
    """The pair with the most significant change of correlation; None without second moments of both sides.

    Fisher's z (Metron 1, 1921), its variance times the design effect, Bonferroni over the pairs. A change below 0.1 is
    none: Fisher's variance is that of normal features, and with many rows any departure from them is significant.
    """
    current = window.moments_of(reference) if reference else None
    if reference is None or current is None:
        return None
    variance = sum(effect / max(side.n - 3 * effect, 1e-9) for side in (reference, current))
    found = []
    for i, j in _places(len(reference.features)):
        before, after = _correlation(reference, i, j), _correlation(current, i, j)
        if before is not None and after is not None:
            found.append((abs(math.atanh(after) - math.atanh(before)), (i, j), before, after))
    if not found:
        return None
    change, (i, j), before, after = max(found)
    p_value = min(1.0, normal_tails(change / math.sqrt(variance)) * len(found))
    drifted = p_value <= limit and abs(after - before) >= LEAST_CHANGE
    return PairDrift((reference.features[i], reference.features[j]), before, after, p_value, drifted)


def _places(size: int) -> Iterator[tuple[int, int]]:
    return ((i, j) for j in range(size) for i in range(j))


def _correlation(moments: Moments, i: int, j: int) -> float | None:
    """None where one of them does not vary; within ±0.999999, so that Fisher's z is finite."""
    mean, matrix = moments.mean, moments.matrix
    variances = matrix[i][i] - mean[i] ** 2, matrix[j][j] - mean[j] ** 2
    if min(variances) <= 1e-12:
        return None
    value = (matrix[i][j] - mean[i] * mean[j]) / math.sqrt(variances[0] * variances[1])
    return max(-BOUND, min(value, BOUND))
