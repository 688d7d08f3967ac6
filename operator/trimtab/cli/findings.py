"""What there is to say of an object, as JSON: the one source of the text, the page and `-o json`. Pure.

All of it comes from the object itself. The evidence after each segment is computed anew from the counts in status, by
the functions that the operator decides with; what status does not keep cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from trimtab.cli.assigning import weights_of
from trimtab.core import metadata
from trimtab.core.objects import Object, condition
from trimtab.evidence.arrivals import in_users
from trimtab.evidence.ledger import restore
from trimtab.evidence.replay import shown
from trimtab.evidence.tally import Segment
from trimtab.kinds.abtest.api import ABTest
from trimtab.kinds.abtest.design import direction
from trimtab.kinds.abtest.findings import findings as judged
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.traffic.state import RouterStatus

Findings = dict[str, Any]
NOT_KEPT = (
    "Status keeps counts by segment, a stretch of constant weights; what was known between the ends of two segments is "
    "not kept and not shown."
)
NOT_KEPT_OF_ROLLOUTS = (
    "Status keeps the counts of each share while a rollout is under way, and their sum when it is over; how they grew "
    "is not kept and not shown."
)


def findings(obj: Object) -> Findings:
    """Everything worth saying of an ABTest or a ModelDeployment."""
    about = {"kind": obj["kind"], "namespace": obj["metadata"].get("namespace", ""), "name": obj["metadata"]["name"]}
    ready = {key: condition(obj, "Ready").get(key, "") for key in ("status", "reason", "message")}
    told = _experiment(ABTest.parse(obj)) if obj["kind"] == "ABTest" else _deployment(ModelDeployment.parse(obj))
    return {**about, "ready": ready, "paused": _paused(obj), **told}


def _paused(obj: Object) -> str:
    """What holds the object, if anything does."""
    notes = obj["metadata"].get("annotations") or {}
    if notes.get(metadata.PAUSED) == "true":
        return f"the annotation {metadata.PAUSED} is true: nothing is changed"
    if notes.get(metadata.ROLLOUT_PAUSED) == "true":
        return f"the annotation {metadata.ROLLOUT_PAUSED} is true: rollouts do not go on"
    return "spec.suspend is true: nothing is decided" if obj["spec"].get("suspend") else ""


def _experiment(test: ABTest) -> Findings:
    status = test.status.dump()
    evidence = status.get("evidence") or {}
    return {
        "url": status.get("url", ""),
        "objective": {**test.spec.objective.dump(), "direction": direction(test.spec)},
        "guardrails": [guardrail.dump() for guardrail in test.spec.guardrails],
        "limits": {"minSeconds": test.spec.min_seconds, "maxSeconds": test.spec.max_seconds},
        "verdict": {**(status.get("verdict") or {}), "rule": evidence.get("rule", "")},
        "measuredAt": evidence.get("measuredAt", ""),
        "arms": list(_arms(test, status, evidence)),
        "srm": evidence.get("srm"),
        "power": status.get("power"),
        "assignment": _assignment(test.status.router),
        "segments": _segments(test),
        "history": status.get("history", []),
        "note": NOT_KEPT,
    }


def _arms(test: ABTest, status: Findings, evidence: Mapping[str, Any]) -> Iterator[Findings]:
    counted = {arm["name"]: arm for arm in status.get("arms", ())}
    judged = {arm["name"]: arm for arm in evidence.get("arms", ())}
    for arm in test.spec.arms:
        found = {**arm.dump(), **counted.get(arm.name, {}), **judged.get(arm.name, {})}
        yield {**found, "control": arm.name == test.spec.control}


def _assignment(router: RouterStatus | None) -> Findings | None:
    if router is None:
        return None
    return {"header": router.header, "salt": router.salt, "control": router.control, "weights": weights_of(router)}


def _segments(test: ABTest) -> list[Findings]:
    """Each segment with its counts, and the verdict on all segments up to its end."""
    if test.status.run is None:
        return []
    counted = restore(test.status.ledger).segments
    told, _ = in_users(counted)
    found = []
    for number, (segment, until) in enumerate(zip(told, accumulate(s.seconds for s in told), strict=True)):
        so_far = judged(test.spec, test.status.run, counted[: number + 1])
        about = {
            "until": until,
            "seconds": segment.seconds,
            "weights": dict(segment.weights),
            "control": test.spec.control,
        }
        counts = {"counts": _counts(segment, [arm.name for arm in test.spec.arms])}
        found.append({**about, **counts, **(shown(so_far.overall) if so_far else {})})
    return found


def _counts(segment: Segment, arms: Iterable[str]) -> Findings:
    found = {}
    for arm in arms:
        tally = segment.tally(arm)
        found[arm] = {
            "requests": tally.requests,
            "errors": tally.errors,
            "latencyAbove": tally.latency_above,
            "guardedEvents": tally.guarded,
            "outcomes": sum(bucket.outcomes for bucket in tally.buckets),
            "outcomeSum": tally.outcome_sum,
        }
    return found


def _deployment(mdep: ModelDeployment) -> Findings:
    status = mdep.status.dump()
    rollout = status.get("rollout")
    return {
        "url": status.get("url", ""),
        "serving": status.get("serving", ""),
        "revisions": status.get("revisions", []),
        "rollout": {key: value for key, value in rollout.items() if key != "evidence"} if rollout else None,
        "segments": _by_share(mdep),
        "strategy": mdep.spec.rollout.strategy,
        "shares": [step.weight for step in mdep.spec.rollout.shares] if mdep.spec.rollout.strategy == "Canary" else [],
        "assignment": _assignment(mdep.status.router),
        "history": status.get("history", []),
        "note": NOT_KEPT_OF_ROLLOUTS,
    }


def _by_share(mdep: ModelDeployment) -> list[Findings]:
    """What was counted at each share that all routers had confirmed."""
    counted = restore(mdep.status.rollout.evidence).segments if mdep.status.rollout else ()
    return [
        {"seconds": s.seconds, "weights": dict(s.weights), "counts": _counts(s, s.weights)}
        for s in counted
        if s.weights
    ]
