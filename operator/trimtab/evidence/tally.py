"""What was counted: the sufficient statistics of one arm, and the stretch of time they belong to.

A segment is a stretch of constant weights. Evidence is always compared within segments, because a base rate that
drifts while weights change would otherwise look like an effect (Simpson's paradox).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Bucket(NamedTuple):
    """What the users of one hash bucket did."""

    rows: float = 0
    """Predicted rows."""
    outcomes: float = 0
    """Outcomes that were reported."""
    total: float = 0
    """The sum of their values; for yes-or-no outcomes the number of yes."""
    squares: float = 0
    """The sum of their squares."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one arm within one segment, cumulative since the segment began."""

    users: float = 0
    """Distinct users who were assigned."""
    requests: float = 0
    """Requests, however they ended."""
    errors: float = 0
    """Requests that failed by the arm's fault, retried attempts included."""
    outcomes: float = 0
    """Users with the event, for the metric Outcome; events that a query counted, for Prometheus."""
    outcome_sum: float = 0
    """The sum of outcomes over users, for the metric OutcomeMean."""
    outcome_squares: float = 0
    """The sum of the users' squared outcomes."""
    latency_above: float = 0
    """Requests slower than the edge that was agreed on."""
    answered: float = 0
    """Requests that model pods answered well: what the rows of the buckets come from."""
    guarded: float = 0
    """Events that the query of a guardrail counted."""
    buckets: tuple[Bucket, ...] = ()
    """The outcomes again by user bucket, where pods count them so; then these are used (evidence.clusters)."""

    @property
    def reported(self) -> float:
        """How many outcomes were reported, whatever they were."""
        return sum(bucket.outcomes for bucket in self.buckets) or self.outcomes

    @property
    def told(self) -> bool:
        """Whether model pods tell of anything at all: of answers, with or without users, or of outcomes."""
        return self.answered > 0 or any(bucket.rows or bucket.outcomes for bucket in self.buckets)

    def __add__(self, other: Tally) -> Tally:
        """Both together; buckets are kept when both have the same number of them, or only one has any."""
        return Tally(
            self.users + other.users,
            self.requests + other.requests,
            self.errors + other.errors,
            self.outcomes + other.outcomes,
            self.outcome_sum + other.outcome_sum,
            self.outcome_squares + other.outcome_squares,
            self.latency_above + other.latency_above,
            self.answered + other.answered,
            self.guarded + other.guarded,
            _joined(self.buckets, other.buckets),
        )


def _joined(left: tuple[Bucket, ...], right: tuple[Bucket, ...]) -> tuple[Bucket, ...]:
    if not left or not right:
        return left or right
    return tuple(Bucket(*map(sum, zip(a, b, strict=True))) for a, b in zip(left, right, strict=True))


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of constant weights and what was counted in it."""

    seconds: float
    weights: Mapping[str, float]
    """The planned share of each arm, in percent; only their ratios matter, an absent arm has none."""
    tallies: Mapping[str, Tally]
    """An absent arm has counted nothing."""

    def share(self, arm: str, control: str) -> float:
        """The planned share of `arm` among the users of the two arms; 0 or 1 where one of them had no weight."""
        own, other = self.weights.get(arm, 0.0), self.weights.get(control, 0.0)
        return own / (own + other) if own + other > 0 else 0.0

    def tally(self, arm: str) -> Tally:
        """What the arm has counted."""
        return self.tallies.get(arm, NOTHING)


NOTHING = Tally()


def totals(segments: Iterable[Segment]) -> dict[str, Tally]:
    """What was counted of each arm, over all segments."""
    found: dict[str, Tally] = {}
    for segment in segments:
        for name, tally in segment.tallies.items():
            found[name] = found.get(name, NOTHING) + tally
    return found


def merged(segments: Iterable[Segment]) -> list[Segment]:
    """Segments of the same weights as one, in the order of first use: fewer terms, and no information is lost.

    Within equal shares an event is as likely to be the candidate's whenever it happens, so a base rate that differs
    between the parts cannot mislead.
    """
    groups: Groups = {}
    for segment in segments:
        join(groups, segment)
    return list(groups.values())


def join(groups: Groups, segment: Segment) -> None:
    """Merge one more segment into groups of equal weights."""
    whole = sum(segment.weights.values()) or 1.0
    key = frozenset((arm, round(weight / whole, 9)) for arm, weight in segment.weights.items() if weight > 0)
    known = groups.get(key)
    if known is None:
        groups[key] = segment
        return
    tallies = dict(known.tallies)
    for arm, tally in segment.tallies.items():
        tallies[arm] = tallies[arm] + tally if arm in tallies else tally
    groups[key] = Segment(known.seconds + segment.seconds, known.weights, tallies)


Groups = dict[frozenset[tuple[str, float]], Segment]
"""Merged segments by the shares of their arms."""
