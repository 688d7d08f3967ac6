"""One arm against control in one metric: strata (evidence.strata) and means become evidence.

Outcomes are events, or a sum, per user, so a user without one counts as none. But an arm of which nobody has reported
a single outcome has not done badly; nothing is known of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from trimtab.evidence import clusters, means
from trimtab.evidence.clusters import Share
from trimtab.evidence.design import ArmEvidence, Design, Metric
from trimtab.evidence.eprocess import FARTHEST, around, log_e, log_ratio, lower, plain, swapped, upper
from trimtab.evidence.power import needed_for_mean, needed_users
from trimtab.evidence.strata import COUNTED, rate_strata
from trimtab.evidence.tally import Segment, Tally

NEGLIGIBLE = 1e-6
"""A mean so small beside its deviation is taken for 0, of which nothing is a multiple."""
prior_around = lru_cache(maxsize=64)(around)


class Finding(NamedTuple):
    """What is known of one candidate's objective."""

    evidence: ArmEvidence
    log_e: float = 0.0
    """Evidence of an effect in the wanted direction; a win from log(2 / arm_alpha) on."""
    worse: bool = False
    """The interval excludes every effect in the wanted direction."""
    futile: bool = False
    """The interval excludes the smallest effect worth having."""
    missing: str = ""
    """What has to be counted before anything can be said."""
    pair_users: int | None = None
    """What a test of fixed size needs in users of the two arms; None while the base rate is unknown."""


UNKNOWN = ArmEvidence(None, None, None, 1.0)


def objective(design: Design, groups: Sequence[Segment], arm: str, share: float) -> Finding:
    """The arm's objective against control, over groups of equal weights; `share` is the candidate's part by now."""
    paired = [g for g in groups if 0 < g.share(arm, design.control) < 1]
    if design.objective.metric == "OutcomeMean":
        return _mean(design, paired, arm, share)
    return _rate(design, paired, arm, share)


def _unreported(groups: Sequence[Segment], arm: str, control: str) -> str:
    """Of which arm nobody has reported an outcome, where pods count reports; or nothing.

    One gate for all groups, which opens once: no e-value gets larger by it.
    """
    tallies = {name: [g.tally(name) for g in groups] for name in (arm, control)}
    if not any(tally.buckets for some in tallies.values() for tally in some):
        return ""
    mute = [name for name, some in tallies.items() if not any(tally.reported for tally in some)]
    return f"no outcome of {' or '.join(mute)} has been reported" if mute else ""


def _rate(design: Design, groups: Sequence[Segment], arm: str, share: float) -> Finding:
    aim, control = design.objective, design.control
    strata, size = rate_strata(aim.metric, groups, arm, control), _pair_users(design, groups, share)
    missing = _unreported(groups, arm, control) if aim.metric == "Outcome" else ""
    if missing or not strata:
        nothing = f"no {EVENTS[aim.metric]} of {arm} or {control} has been counted"
        return Finding(UNKNOWN, missing=missing or nothing, pair_users=size)
    rising = aim.direction == "Increase"
    edge = math.log1p(aim.minimum_effect if rising else -aim.minimum_effect)
    points = prior_around(abs(edge))
    score = log_e(strata if rising else swapped(strata), 0.0, points)
    low, high = (bound(strata, points, design.arm_alpha / 2) for bound in (lower, upper))
    return Finding(
        ArmEvidence(_lift(log_ratio(strata)), _lift(low), _lift(high), plain(score)),
        score,
        worse=high < 0 if rising else low > 0,
        futile=high < edge if rising else low > edge,
        pair_users=size,
    )


EVENTS = {"Outcome": "outcome", "Errors": "error", "Latency": "slow request", "Prometheus": "event"}


def _pair_users(design: Design, groups: Sequence[Segment], share: float) -> int | None:
    aim = design.objective
    events, users = 0.0, 0.0
    for group in groups:
        tally = group.tally(design.control)
        units = tally.users or tally.requests
        events += _events(aim.metric, tally)
        users += units
    if not events or not users:
        return None
    effect = aim.minimum_effect if aim.direction == "Increase" else -aim.minimum_effect
    return needed_users(events / users, effect, share, design.arm_alpha, aim.power)


def _events(metric: Metric, tally: Tally) -> float:
    if metric == "Outcome":
        return sum(b.total for b in tally.buckets) if tally.buckets else tally.outcomes
    return float(getattr(tally, COUNTED[metric]))


def _lift(value: float | None) -> float | None:
    """A ratio on the log scale as a lift; None where it has no bound."""
    return None if value is None or value > FARTHEST else math.expm1(value)


def _mean(design: Design, groups: Sequence[Segment], arm: str, share: float) -> Finding:
    missing = _unreported(groups, arm, design.control) or _gate(groups, arm, design.control)
    found = means.combined([d for g in groups if (d := mean_difference(g, arm, design.control))])
    if missing or found is None:
        alike = "all outcomes so far are alike: a spread is needed to compare means"
        return Finding(UNKNOWN, missing=missing or alike, pair_users=_mean_users(design, groups, share))
    aim, variance = design.objective, found.variance * found.units
    sign = 1 if aim.direction == "Increase" else -1
    base = abs(found.control) if abs(found.control) > NEGLIGIBLE * math.sqrt(variance) else 0.0
    edge = aim.minimum_effect * base
    pair = needed_for_mean(variance, edge, design.arm_alpha, aim.power) if edge else None
    scale = means.rho(2.0 ** round(math.log2(pair)) if pair else found.units, design.arm_alpha)
    radius = means.radius(found.variance, found.units, scale, design.arm_alpha)
    score = means.log_e(sign * found.value / math.sqrt(found.variance), found.units, scale)
    best = sign * found.value + radius
    if not base:
        return Finding(ArmEvidence(None, None, None, plain(score)), score, best < 0, best < 0)
    lift, low, high = ((found.value + step) / base for step in (0.0, -radius, radius))
    return Finding(ArmEvidence(lift, low, high, plain(score)), score, best < 0, best < edge, pair_users=pair)


def _mean_users(design: Design, groups: Sequence[Segment], share: float) -> int | None:
    """The size by control alone, while there is nothing to compare yet."""
    parts = [_units(g.tally(design.control)) for g in groups]
    units, total, squares = (sum(column) for column in zip(*parts, strict=True)) if parts else (0.0, 0.0, 0.0)
    if units < means.USERS or not total:
        return None
    edge = design.objective.minimum_effect * total / units
    variance = means.pooled_variance([(units, total, squares)]) / (share * (1 - share))
    if variance <= 0 or abs(edge) < NEGLIGIBLE * math.sqrt(variance):
        return None
    return needed_for_mean(variance, edge, design.arm_alpha, design.objective.power)


def _units(tally: Tally) -> tuple[float, float, float]:
    units = sum(b.rows for b in tally.buckets) if tally.buckets else tally.users
    return (units, *_values(tally))


def mean_difference(group: Segment, arm: str, control: str) -> means.Difference | None:
    """Candidate minus control within one group of equal weights; None where one of them has or tells nothing."""
    own, other = group.tally(arm), group.tally(control)
    if own.told != other.told:
        return None
    if own.buckets and other.buckets:
        return _bucket_difference(own, other)
    if own.users < 1 or other.users < 1:
        return None
    sums = [(t.users, t.outcome_sum, t.outcome_squares) for t in (own, other)]
    variance = means.pooled_variance(sums) * (1 / own.users + 1 / other.users)
    mean = other.outcome_sum / other.users
    return means.Difference(own.outcome_sum / own.users - mean, variance, own.users + other.users, mean)


def _bucket_difference(own: Tally, other: Tally) -> means.Difference | None:
    pair = [[Share(b.total, b.rows) for b in tally.buckets] for tally in (own, other)]
    units = [sum(b.units for b in side) for side in pair]
    if not all(units):
        return None
    mean, base = (sum(b.events for b in side) / n for side, n in zip(pair, units, strict=True))
    return means.Difference(mean - base, clusters.difference_variance(*pair), sum(units), base)


def _gate(groups: Sequence[Segment], arm: str, control: str) -> str:
    """What is missing before means may be compared, or nothing."""
    tallies = {name: [g.tally(name) for g in groups] for name in (arm, control)}
    for name, some in tallies.items():
        users = sum(t.users or sum(b.rows for b in t.buckets) for t in some)
        if users < means.USERS:
            return f"{name} has {users:.0f} users, {means.USERS} are needed before means are compared"
    if not any(_values(g.tally(name))[1] for g in groups for name in (arm, control)):
        return f"no outcome of {arm} or {control} has been reported"
    for name in (arm, control):
        expected = sum(_effective(g, arm, control) * _part(g, name, arm, control) for g in groups)
        if expected < means.EVENTS:
            return f"{name} can expect {expected:.1f} outcomes, {means.EVENTS} are needed before means are compared"
    return ""


def _part(group: Segment, name: str, arm: str, control: str) -> float:
    return group.share(arm, control) if name == arm else 1 - group.share(arm, control)


def _effective(group: Segment, arm: str, control: str) -> float:
    """As how many equal outcomes both arms' sum varies: (sum y)² / sum y². For yes or no that is the number of yes."""
    pair = [_values(group.tally(name)) for name in (arm, control)]
    total, squares = sum(p[0] for p in pair), sum(p[1] for p in pair)
    return total * total / squares if squares else 0.0


def _values(tally: Tally) -> tuple[float, float]:
    if tally.buckets:
        return sum(b.total for b in tally.buckets), sum(b.squares for b in tally.buckets)
    return tally.outcome_sum, tally.outcome_squares
