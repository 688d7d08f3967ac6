"""Which arm is better: the decision of an ABTest, the same for the operator and for `kubectl trimtab replay`.

The order matters: data, sample ratio, harm, win, futility, time. Every bound is valid at any time and under any number
of looks, so a reconcile may ask as often as it likes. Alpha is divided among the candidates (Bonferroni), each has half
of it for either direction; guardrails have an alpha of their own, divided among guardrails and candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from trimtab.evidence.compare import UNKNOWN, Finding, objective
from trimtab.evidence.design import ArmEvidence, Decision, Design, Guardrail, Rule, SampleRatio, Verdict
from trimtab.evidence.eprocess import HARM, log_e, log_ratio, plain
from trimtab.evidence.srm import ALPHA, sample_ratio
from trimtab.evidence.strata import request_strata
from trimtab.evidence.tally import Groups, Segment, join, merged

CONTROL = ArmEvidence(0.0, 0.0, 0.0, 1.0)
ENOUGH_EVENTS = 10
"""Expected of each arm, before an estimate alone may hold a win back."""
GUARDED = {"Errors": "errors", "Latency": "latency_above", "Prometheus": "guarded"}
"""Where tallies have the events of a guardrail; an objective's own query counts outcomes."""


class Harm(NamedTuple):
    """One guardrail of one candidate."""

    guardrail: Guardrail
    arm: str
    log_e: float
    increase: float | None
    """The estimate, as a fraction; None while it cannot be told."""
    doubtful: bool
    """The estimate is above what is put up with, and rests on more than a few events."""


class Case(NamedTuple):
    """All that the rules look at."""

    design: Design
    groups: Sequence[Segment]
    seconds: float
    srm: SampleRatio
    latest: Mapping[str, Segment]
    """Of each candidate the last segment in which it and control had weight."""
    findings: Mapping[str, Finding]
    harms: Sequence[Harm]


class Ruling(NamedTuple):
    """What a rule says when it applies."""

    decision: Decision
    reason: str
    winner: str | None = None


def judge(design: Design, segments: Sequence[Segment]) -> Verdict:
    """The verdict on all segments so far. Segments are cumulative by themselves and do not overlap."""
    return _verdict(design, merged(segments), segments)


def verdicts(design: Design, segments: Sequence[Segment]) -> Iterator[Verdict]:
    """What `judge` says after each segment; sums are carried on, so that long recordings are not added up anew."""
    groups: Groups = {}
    for end, segment in enumerate(segments, start=1):
        join(groups, segment)
        yield _verdict(design, list(groups.values()), segments[:end])


def _verdict(design: Design, groups: Sequence[Segment], segments: Sequence[Segment]) -> Verdict:
    latest = _latest(design, segments)
    case = Case(
        design,
        groups,
        sum(g.seconds for g in groups),
        sample_ratio(design.arms, groups, segments, design.users_error),
        latest,
        {arm: objective(design, groups, arm, now.share(arm, design.control)) for arm, now in latest.items()},
        [_harm(design, groups, guardrail, arm) for guardrail in design.guardrails for arm in latest],
    )
    rule, ruling = next((rule, ruling) for rule, check in RULES if (ruling := check(case)))
    known = {arm: finding.evidence for arm, finding in case.findings.items()} | {design.control: CONTROL}
    arms = {arm: known.get(arm, UNKNOWN) for arm in design.arms}
    return Verdict(ruling.decision, ruling.winner, arms, case.srm, _needed(case), ruling.reason, rule)


def _latest(design: Design, segments: Sequence[Segment]) -> dict[str, Segment]:
    """The last segment of each candidate; without those that had no weight beside control yet."""
    found = {}
    for arm in design.candidates:
        both = (segment for segment in reversed(segments) if 0 < segment.share(arm, design.control) < 1)
        if (last := next(both, None)) is not None:
            found[arm] = last
    return found


def _harm(design: Design, groups: Sequence[Segment], guardrail: Guardrail, arm: str) -> Harm:
    null = math.log1p(guardrail.max_increase)
    paired = [g for g in groups if 0 < g.share(arm, design.control) < 1]
    strata = request_strata(GUARDED[guardrail.metric], paired, arm, design.control)
    if not strata:
        return Harm(guardrail, arm, 0.0, None, False)
    estimate = log_ratio(strata)
    expected = sum((s.candidate + s.control) * min(s.share, 1 - s.share) for s in strata)
    known = estimate is not None and estimate < math.inf
    return Harm(
        guardrail,
        arm,
        log_e(strata, null, HARM),
        math.expm1(estimate) if known and estimate is not None else None,
        expected >= ENOUGH_EVENTS and estimate is not None and estimate > null,
    )


def _no_traffic(case: Case) -> Ruling | None:
    if not any(t.users or t.requests for g in case.groups for t in g.tallies.values()):
        return Ruling("Waiting", "no traffic has been counted yet")
    if not case.findings:
        return Ruling("Waiting", f"no segment gives weight to {case.design.control} and another arm at once")
    return None


def _mismatch(case: Case) -> Ruling | None:
    if not case.srm.mismatch:
        return None
    reason = (
        f"users do not arrive as the weights say: arm {case.srm.arm} in segment {case.srm.segment} shows it most "
        f"(e-value {case.srm.e_value:.3g}, limit {1 / ALPHA:.0f}); nothing is decided until that is explained"
    )
    return Ruling("Paused", reason)


def _harmed(case: Case) -> Ruling | None:
    tests = len(case.design.guardrails) * len(case.design.candidates)
    limit = math.log(max(tests, 1) / case.design.objective.alpha)
    worst = max(case.harms, key=lambda harm: harm.log_e, default=None)
    if worst is None or worst.log_e < limit:
        return None
    increase = "not seen in control at all" if worst.increase is None else f"by about {worst.increase:.1%}"
    allowed = f"{100 * worst.guardrail.max_increase:.4g} %"
    reason = (
        f"{worst.guardrail.metric} of {worst.arm} exceed control's by more than {allowed} "
        f"({increase}; e-value {plain(worst.log_e):.3g}, limit {math.exp(limit):.3g})"
    )
    return Ruling("StopHarm", reason)


def _objective_missing(case: Case) -> Ruling | None:
    lacking = [finding.missing for finding in case.findings.values() if finding.missing]
    if not lacking or case.seconds >= case.design.max_seconds:
        return None
    return Ruling("Waiting", lacking[0])


def _won(case: Case) -> Ruling | None:
    limit = math.log(2 / case.design.arm_alpha)
    ahead = [arm for arm, finding in case.findings.items() if finding.log_e >= limit]
    held = {harm.arm for harm in case.harms if harm.doubtful}
    if case.seconds < case.design.min_seconds or not set(ahead) - held:
        return None
    sign = 1 if case.design.objective.direction == "Increase" else -1
    lifts = {arm: case.findings[arm].evidence.lift for arm in ahead if arm not in held}
    best = max(sorted(lifts), key=lambda arm: math.inf if lifts[arm] is None else sign * (lifts[arm] or 0.0))
    return Ruling("Win", f"{best} is better than {case.design.control}: {_interval(case, best)}", best)


def _interval(case: Case, arm: str) -> str:
    evidence = case.findings[arm].evidence
    numbers = [
        "unbounded" if number is None else f"{number:+.1%}"
        for number in (evidence.lift, evidence.lower, evidence.upper)
    ]
    level = 1 - case.design.arm_alpha
    return (
        f"{case.design.objective.metric} {numbers[0]}, {level:.4g} interval {numbers[1]} to {numbers[2]}, "
        f"e-value {evidence.e_value:.3g} of {2 / case.design.arm_alpha:.3g}"
    )


def _hopeless(case: Case) -> Ruling | None:
    findings = case.findings.values()
    early = case.seconds < case.design.min_seconds
    if not findings or not all(finding.worse if early else finding.worse or finding.futile for finding in findings):
        return None
    worst = "; ".join(f"{arm}: {_interval(case, arm)}" for arm in case.findings)
    if all(finding.worse for finding in findings):
        return Ruling("StopFutile", f"no arm is better than {case.design.control}, all are worse: {worst}")
    effect = case.design.objective.minimum_effect
    return Ruling("StopFutile", f"no arm can still reach an effect of {effect:.4g}: {worst}")


def _time_up(case: Case) -> Ruling | None:
    if case.seconds < case.design.max_seconds:
        return None
    lacking = [finding.missing for finding in case.findings.values() if finding.missing]
    why = lacking[0] if lacking else _best(case)
    return Ruling("Inconclusive", f"the time of {case.design.max_seconds:.0f} s is up without a decision: {why}")


def _best(case: Case) -> str:
    arm = max(case.findings, key=lambda name: case.findings[name].log_e)
    return f"{arm}: {_interval(case, arm)}{_held(case)}"


def _held(case: Case) -> str:
    doubts = [harm for harm in case.harms if harm.doubtful]
    if not doubts:
        return ""
    names = ", ".join(f"{harm.guardrail.metric} of {harm.arm}" for harm in doubts)
    return f"; held back while the estimate of {names} is above what the guardrail allows"


def _running(case: Case) -> Ruling:
    left = case.design.min_seconds - case.seconds
    early = f"at least {left:.0f} s more are needed; " if left > 0 else ""
    return Ruling("Running", early + _best(case))


RULES: tuple[tuple[Rule, Callable[[Case], Ruling | None]], ...] = (
    ("Data", _no_traffic),
    ("SampleRatio", _mismatch),
    ("Harm", _harmed),
    ("Data", _objective_missing),
    ("Win", _won),
    ("Futile", _hopeless),
    ("Time", _time_up),
    ("None", _running),
)


def _needed(case: Case) -> int | None:
    """Users of all arms, so that each pair has its part; by the weights of the last segment that has both."""
    needs = []
    for arm, finding in case.findings.items():
        weights = case.latest[arm].weights
        if finding.pair_users is not None:
            pair = weights[arm] + weights[case.design.control]
            needs.append(math.ceil(finding.pair_users * sum(weights.values()) / pair))
    return max(needs, default=None)
