"""How many users came to each arm, by two witnesses of which each may lose what it counted.

Rows by user bucket tell how many independent users they compare to: if N users of a bucket, a Poisson number, send m
rows each, the rows of a bucket have the variance E[N] E[m²], which is E[m²] / E[m] times their mean. But a pod that
ends takes along what was not written down yet, and a request that fails has no row. Both would look like users that
one arm lost. Routers know better: what they sent to an arm, and no pod tells of, did come.

So an arm's users lie between what its rows are worth, and that times the requests of its routers over those its pods
tell of. Within these bounds they are taken to be what the weights say, as far as that goes. Requests past the routers
add rows and no such excuse, so they still show; requests that are no predictions, as feedback is, are in all arms'
quotients alike and cancel. What a router loses when it ends is of all arms in proportion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, variance

from trimtab.evidence.tally import Segment, Tally, totals

UNKNOWN = 1e9
"""How far the number of users may be off where nobody counts them: by any factor."""


def in_users(segments: Sequence[Segment]) -> tuple[list[Segment], float]:
    """The segments with users in them, and how far these may be off, as a fraction.

    Where the pods of an arm do not count by user, requests are all there is, and how far they are from users nobody
    knows.
    """
    whole = totals(segments)
    if uncounted(whole) or not any(bucket.rows for tally in whole.values() for bucket in tally.buckets):
        return list(segments), UNKNOWN
    return [_divided(segment) for segment in segments], 0.0


def uncounted(tallies: Mapping[str, Tally]) -> list[str]:
    """The arms whose pods answer requests, and count none of them by user."""
    return sorted(
        name for name, tally in tallies.items() if tally.answered and not any(bucket.rows for bucket in tally.buckets)
    )


def _divided(segment: Segment) -> Segment:
    by = _dispersion([[bucket.rows for bucket in tally.buckets] for tally in segment.tallies.values()])
    least = {name: sum(bucket.rows for bucket in tally.buckets) / by for name, tally in segment.tallies.items()}
    users = _fitted(segment.weights, least, _untold(segment))
    return replace(
        segment, tallies={name: replace(tally, users=users[name]) for name, tally in segment.tallies.items()}
    )


def _dispersion(rows: Sequence[Sequence[float]]) -> float:
    """The variance of the rows in a bucket over their mean, over all arms together; at least 1."""
    counted = [counts for counts in rows if len(counts) > 1]
    whole = sum(fmean(counts) for counts in counted)
    return max(sum(variance(counts) for counts in counted) / whole, 1.0) if whole else 1.0


def _untold(segment: Segment) -> dict[str, float]:
    """By how much more users each arm may have had than its rows are worth, as a factor of at least 1."""
    told = {name: _quotient(tally) for name, tally in segment.tallies.items() if segment.weights.get(name, 0.0) > 0}
    usual = max(min(told.values(), default=1.0), 1.0)
    return {name: max(quotient / usual, 1.0) if usual < math.inf else 1.0 for name, quotient in told.items()}


def _quotient(tally: Tally) -> float:
    """Requests that routers sent, over those that pods tell of."""
    if tally.answered:
        return tally.requests / tally.answered
    return math.inf if tally.requests else 1.0


def _fitted(
    weights: Mapping[str, float], least: Mapping[str, float], untold: Mapping[str, float]
) -> Mapping[str, float]:
    """The users of each arm, raised towards the fullest one as far as what is not told allows.

    An arm whose pods tell of nothing at all may have had any number of users.
    """
    fullest = max((least[name] / weights[name] for name in untold), default=0.0)
    return {
        name: min(max(count, weights.get(name, 0.0) * fullest), _most(count, untold.get(name, 1.0)))
        for name, count in least.items()
    }


def _most(count: float, untold: float) -> float:
    return math.inf if untold == math.inf else count * untold
