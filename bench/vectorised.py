"""The tests of `trimtab.evidence` and their rivals on whole arrays, so that thousands of experiments take seconds.

The e-process is the same sum as in the engine, term by term; `tests/contract/test_evidence_simulations.py` holds both
to the same numbers. The naive tests are what people do instead.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from bench.streams import Array, Buckets, Streams
from trimtab.evidence.eprocess import Prior

QUANTILE = NormalDist().inv_cdf


def log_e(streams: Streams, prior: Prior, null: float = 0.0, *, down: bool = False) -> Array:
    """The log e-value at every look against the log ratio `null`, for ratios above it (or below, with `down`)."""
    sign = -1 if down else 1
    total = np.zeros((*streams.events_b.shape, len(prior)))
    for index, share in enumerate(streams.shares):
        a, b = _segment(streams.events_a, streams, index), _segment(streams.events_b, streams, index)
        own, plan = (a, 1 - share) if down else (b, share)
        odds = plan / (1 - plan) * math.exp(sign * null)
        for k, point in enumerate(prior):
            fit = math.log1p(odds) - math.log1p(odds * point.factor)
            total[..., k] += point.distance * own + fit * (a + b)
    total += np.array([point.log_weight for point in prior])
    peak = total.max(axis=-1)
    found: Array = peak + np.log(np.exp(total - peak[..., None]).sum(axis=-1))
    return found


def _segment(counts: Array, streams: Streams, index: int) -> Array:
    """The counts of one segment as they stand at every look: none before it, the last ones after it."""
    if streams.segment is None:
        return counts
    inside = np.flatnonzero(streams.segment == index)
    column = np.clip(np.arange(counts.shape[1]), inside[0], inside[-1])
    return np.where(np.arange(counts.shape[1]) < inside[0], 0, counts[:, column])


def z(streams: Streams) -> Array:
    """The pooled z statistic of two proportions at every look, over all segments together."""
    parts = (streams.users_a, streams.users_b, streams.events_a, streams.events_b)
    n_a, n_b, a, b = (_all(counts, streams) for counts in parts)
    with np.errstate(all="ignore"):
        rate = (a + b) / (n_a + n_b)
        value = (b / n_b - a / n_a) / np.sqrt(rate * (1 - rate) * (1 / n_a + 1 / n_b))
    return np.nan_to_num(value, nan=0.0, posinf=0.0, neginf=0.0)


def _all(counts: Array, streams: Streams) -> Array:
    return sum(_segment(counts, streams, index) for index in range(len(streams.shares)))


def beyond(statistic: Array, alpha: float) -> Array:
    """Whether a z statistic is significant on either side."""
    return np.abs(statistic) > QUANTILE(1 - alpha / 2)


def dispersion(buckets: Buckets) -> tuple[Array, Array, Array, Array]:
    """Events of both arms divided by their dispersion over buckets, the seen share, and the dispersion."""
    own, other = buckets.units_b.sum(-1), buckets.units_a.sum(-1)
    b, a = buckets.events_b.sum(-1), buckets.events_a.sum(-1)
    share, ratio = own / (own + other), (a + b) / (own + other)
    weigh = share[..., None]
    residual = (1 - weigh) * (buckets.events_b - ratio[..., None] * buckets.units_b) - weigh * (
        buckets.events_a - ratio[..., None] * buckets.units_a
    )
    size = residual.shape[-1]
    variance = residual.var(axis=-1, ddof=1) * size
    by = np.maximum(variance / np.maximum((a + b) * share * (1 - share), 1e-12), 1.0)
    return a / by, b / by, share, by


def log_e_at(a: Array, b: Array, share: Array, prior: Prior) -> Array:
    """The log e-value at ratio 1 where the share itself was counted and differs from look to look."""
    odds = share / (1 - share)
    terms = [
        point.log_weight + point.distance * b + (a + b) * (np.log1p(odds) - np.log1p(odds * point.factor))
        for point in prior
    ]
    found: Array = np.logaddexp.reduce(terms)
    return found


def first(hit: Array, units: Array) -> Array:
    """The units at the first hit of each run, or infinity."""
    found: Any = np.where(
        hit.any(axis=1), np.broadcast_to(units, hit.shape)[np.arange(len(hit)), hit.argmax(axis=1)], np.inf
    )
    return found
