"""What was counted of one arm and of control, as strata: events by stretches of constant weights.

Outcome counts events a user, and users arrive by the planned weights; so do its events when nothing differs. Errors,
Latency and Prometheus count requests, of which one user may send half: their share is the one that was seen.
Counts by user bucket are used where they are there. Requests to an arm whose pods tell of nothing have no outcomes
that anybody could count, so where only the other arm's pods tell, there is nothing to compare.
"""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.evidence import clusters
from trimtab.evidence.clusters import Share
from trimtab.evidence.design import Metric
from trimtab.evidence.eprocess import Stratum
from trimtab.evidence.tally import Segment, Tally

COUNTED = {"Outcome": "outcomes", "Errors": "errors", "Latency": "latency_above", "Prometheus": "outcomes"}
"""Where tallies have the events of an objective."""


def rate_strata(metric: Metric, groups: Sequence[Segment], arm: str, control: str) -> list[Stratum]:
    """Events by stratum, divided by their dispersion."""
    if metric == "Outcome":
        both = [(g.tally(arm), g.tally(control), g.share(arm, control)) for g in groups]
        planned = [_outcomes(own, other, plan) for own, other, plan in both if own.told == other.told]
        spread = _bucket_spread(groups, arm, control) or max(
            (_square_spread(g.tally(name)) for g in groups for name in (arm, control)), default=1.0
        )
        return _thinned(planned, spread)
    return request_strata(COUNTED[metric], groups, arm, control)


def request_strata(field: str, groups: Sequence[Segment], arm: str, control: str) -> list[Stratum]:
    """Events of requests, counted in that field of a tally, divided by their dispersion."""
    pairs = [(g.tally(arm), g.tally(control), g.share(arm, control)) for g in groups]
    seen = [Stratum(getattr(own, field), getattr(other, field), _share(own, other, plan)) for own, other, plan in pairs]
    tallies = [tally for own, other, _ in pairs for tally in (own, other)]
    return _thinned(seen, clusters.assumed(sum(t.requests for t in tallies), sum(t.users for t in tallies)))


def _outcomes(own: Tally, other: Tally, planned: float) -> Stratum:
    if own.buckets and other.buckets:
        rows, others = sum(b.rows for b in own.buckets), sum(b.rows for b in other.buckets)
        share = rows / (rows + others) if rows and others else planned
        return Stratum(sum(b.total for b in own.buckets), sum(b.total for b in other.buckets), share)
    return Stratum(own.outcomes, other.outcomes, planned)


def _share(own: Tally, other: Tally, planned: float) -> float:
    return own.requests / (own.requests + other.requests) if own.requests and other.requests else planned


def _thinned(strata: Sequence[Stratum], spread: float) -> list[Stratum]:
    by = max(spread, 1.0)
    return [Stratum(s.candidate / by, s.control / by, s.share) for s in strata if s.candidate + s.control > 0]


def _square_spread(tally: Tally) -> float:
    """Several events a user: E[y²] / E[y], when the sums are sums of the events."""
    counted = tally.outcome_sum == tally.outcomes > 0
    return tally.outcome_squares / tally.outcome_sum if counted else 1.0


def _bucket_spread(groups: Sequence[Segment], arm: str, control: str) -> float:
    """The dispersion measured over buckets, or 0 where nobody counts them."""
    parts = [
        clusters.excess(
            [Share(b.total, b.rows) for b in g.tally(arm).buckets],
            [Share(b.total, b.rows) for b in g.tally(control).buckets],
        )
        for g in groups
        if g.tally(arm).buckets and g.tally(control).buckets
    ]
    plain = sum(part[1] for part in parts)
    return max(sum(part[0] for part in parts) / plain, 1.0) if plain else 0.0
