"""Users come back, so their requests are not independent. How much less the counts say than they seem to.

A count is divided by its dispersion: the variance it really has over the variance of independent events. Where counts
come by hash bucket of the user, the dispersion is measured: buckets are independent groups of users, and the delta
method for a ratio gives the variance of what was counted in them (Deng, Knoblich, Lu, KDD 2018, eq. 3). Where only the
number of users is known, a correlation within users is assumed, by the design effect of Kish (1965).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

CORRELATION = 0.1
"""Assumed between the requests of one user: what was fitted to error-prone clients is mostly below."""


class Share(NamedTuple):
    """What one bucket holds of a ratio: the events or values, over the units they can come from."""

    events: float
    units: float


def assumed(units: float, users: float) -> float:
    """The design effect 1 + (m - 1) ICC of m units a user; 1 when users are not counted."""
    return 1 + CORRELATION * max(units / users - 1, 0.0) if users > 0 else 1.0


def excess(candidate: Sequence[Share], control: Sequence[Share]) -> tuple[float, float]:
    """The variance of candidate's events beyond its share, by buckets, and what it would be for independent events.

    With s the candidate's share of units, the statistic is x_B - s (x_A + x_B); a bucket adds the residuals of both
    arms from their common ratio, weighed 1 - s and -s. (0, 0) without units or events.
    """
    own, other = sum(b.units for b in candidate), sum(b.units for b in control)
    events = sum(b.events for b in candidate) + sum(b.events for b in control)
    if own <= 0 or other <= 0 or events <= 0 or len(candidate) < 2:
        return 0.0, 0.0
    share, ratio = own / (own + other), events / (own + other)
    residuals = [
        (1 - share) * (b.events - ratio * b.units) - share * (a.events - ratio * a.units)
        for a, b in zip(control, candidate, strict=True)
    ]
    return _variance_of_sum(residuals), events * share * (1 - share)


def difference_variance(candidate: Sequence[Share], control: Sequence[Share]) -> float:
    """The variance of the difference of two ratios of sums, by buckets, around their common ratio."""
    own, other = sum(b.units for b in candidate), sum(b.units for b in control)
    ratio = (sum(b.events for b in candidate) + sum(b.events for b in control)) / (own + other)
    residuals = [
        (b.events - ratio * b.units) / own - (a.events - ratio * a.units) / other
        for a, b in zip(control, candidate, strict=True)
    ]
    return _variance_of_sum(residuals)


def _variance_of_sum(residuals: Sequence[float]) -> float:
    """Of the sum of independent parts, by how they differ among themselves: an effect does not add to it."""
    size = len(residuals)
    centre = sum(residuals) / size
    return sum((u - centre) ** 2 for u in residuals) * size / max(size - 1, 1)
