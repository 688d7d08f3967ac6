"""Simulated traffic: many experiments at once, as cumulative counts at every look. Seeded; arrays are (runs, looks)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any


@dataclass(frozen=True)
class Streams:
    """Counts of control (a) and candidate (b), cumulative within each segment, and which segment a look is in."""

    users_a: Array
    users_b: Array
    events_a: Array
    events_b: Array
    shares: tuple[float, ...] = (0.5,)
    """The candidate's share in each segment."""
    segment: Array = None
    """Of each look; None when there is one."""


def binary(
    dice: np.random.Generator, runs: int, looks: int, users: int, rate: float, lift: float = 0.0, share: float = 0.5
) -> Streams:
    """Each user has at most one event; a look after each equal part of the users."""
    arriving = np.diff(np.linspace(0, users, looks + 1).astype(int))
    own = dice.binomial(arriving, share, size=(runs, looks))
    other = arriving - own
    a, b = dice.binomial(other, rate), dice.binomial(own, min(1.0, rate * (1 + lift)))
    return Streams(*(np.cumsum(counts, axis=1) for counts in (other, own, a, b)), shares=(share,))


def ramp(
    dice: np.random.Generator, runs: int, looks: int, users: int, rates: tuple[float, float], shares: tuple[float, ...]
) -> Streams:
    """Weights that grow step by step while the base rate of both arms drifts."""
    each = looks // len(shares)
    looks = each * len(shares)
    segment = np.repeat(np.arange(len(shares)), each)
    arriving = np.full(looks, users // looks)
    own = dice.binomial(arriving, np.asarray(shares)[segment], size=(runs, looks))
    rate = np.linspace(*rates, looks)
    parts = (arriving - own, own, dice.binomial(arriving - own, rate), dice.binomial(own, rate))
    return Streams(*(_within(counts, segment) for counts in parts), shares=shares, segment=segment)


def _within(counts: Array, segment: Array) -> Array:
    """Cumulative sums that begin anew with each segment."""
    total = np.cumsum(counts, axis=1)
    starts = np.searchsorted(segment, segment)
    return total - np.where(starts > 0, total[:, starts - 1], 0)


@dataclass(frozen=True)
class Buckets:
    """Units and events by user bucket, at the end of each look: (runs, looks, buckets)."""

    units_a: Array
    units_b: Array
    events_a: Array
    events_b: Array


def clustered(
    dice: np.random.Generator, runs: int, looks: int, users: int, rate: float, correlation: float, *, share: float = 0.5
) -> tuple[Buckets, int]:
    """Users of 20 requests each, whose own rates differ by a beta distribution of this intraclass correlation.

    Also the number of requests a user sends.
    """
    requests, size = 20, 100
    spread = 1 / correlation - 1
    each = users // looks
    arms, arriving = [], dice.binomial(each, share, size=(runs, looks))
    for count in (each - arriving, arriving):
        units = np.zeros((runs, looks, size))
        events = np.zeros((runs, looks, size))
        for run in range(runs):
            look = np.repeat(np.arange(looks), count[run])
            bucket = dice.integers(0, size, len(look))
            own = dice.beta(rate * spread, (1 - rate) * spread, len(look))
            np.add.at(units[run], (look, bucket), requests)
            np.add.at(events[run], (look, bucket), dice.binomial(requests, own))
        arms.append((np.cumsum(units, axis=1), np.cumsum(events, axis=1)))
    (units_a, events_a), (units_b, events_b) = arms
    return Buckets(units_a, units_b, events_a, events_b), requests
