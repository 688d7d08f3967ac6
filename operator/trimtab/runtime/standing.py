"""How resources stand, as series: conditions, endpoints, shares of traffic, rollouts and experiments, from statuses.

What a status tells people and other controllers, alerts and dashboards are told here, by the same words. Each function
yields names, the labels after namespace and name, and values; what is no number is left out by whoever collects them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

Told = Mapping[str, Any]
Rows = Iterator[tuple[str, tuple[str, ...], Any]]

TRUTHS = {"True": 1, "False": 0, "Unknown": -1}


def model(_: Told, status: Told) -> Rows:
    """The series of an MLModel."""
    yield from conditions("MLModel", status)


def schedule(_: Told, status: Told) -> Rows:
    """The series of a RetrainSchedule, besides those of its runs."""
    yield from conditions("RetrainSchedule", status)
    passed = status.get("passed") or {}
    # What was passed over stays in status. It is news as long as the calendar has come to no other slot.
    if passed.get("slot") and passed["slot"] == status.get("lastSlot"):
        yield "trimtab_retrain_passed_over", (str(passed.get("reason", "")),), 1


def deployment(spec: Told, status: Told) -> Rows:
    """The series of a ModelDeployment, besides those of what was found in its traffic."""
    yield from conditions("ModelDeployment", status)
    # One that never served, or was sent to sleep, is not down.
    if status.get("serving") and (spec.get("autoscaling") or spec.get("replicas") != 0):
        yield "trimtab_endpoint_up", (), status.get("available", 0) > 0
    for row in status.get("revisions", ()):
        yield "trimtab_traffic_weight", ("ModelDeployment", str(row.get("name", ""))), row.get("weight")
    if status.get("rollout"):
        yield from _rollout(status["rollout"])
    for outcome, count in Counter(str(entry.get("outcome", "")) for entry in status.get("history", ())).items():
        yield "trimtab_rollouts", (outcome,), count


def _rollout(told: Told) -> Rows:
    yield "trimtab_rollout_under_way", (), told.get("stage") != "Ended"
    for row in told.get("compared", ()):
        metric = str(row.get("metric", ""))
        yield "trimtab_rollout_e_value", (metric, "current"), row.get("eValue")
        yield "trimtab_rollout_e_value", (metric, "limit"), row.get("limitEValue")


def experiment(_: Told, status: Told) -> Rows:
    """The series of an ABTest."""
    yield from conditions("ABTest", status)
    for arm in status.get("arms", ()):
        name = str(arm.get("name", ""))
        yield "trimtab_traffic_weight", ("ABTest", name), arm.get("applied", arm.get("weight"))
        for key in ("users", "requests", "errors", "outcomes", "mean"):
            yield f"trimtab_abtest_{key}", (name,), arm.get(key)
    evidence = status.get("evidence") or {}
    for arm in evidence.get("arms", ()):
        name = str(arm.get("name", ""))
        yield "trimtab_abtest_lift_percent", (name,), arm.get("lift")
        yield "trimtab_abtest_e_value", (name,), arm.get("eValue")
        for bound in ("lower", "upper"):
            yield "trimtab_abtest_lift_percent_bound", (name, bound), arm.get(bound)
    yield "trimtab_abtest_sample_ratio_e_value", (), (evidence.get("srm") or {}).get("eValue")
    yield "trimtab_abtest_needed_users", (), (status.get("power") or {}).get("neededUsers")


def conditions(kind: str, status: Told) -> Rows:
    """Every condition, with its reason: 1 True, 0 False, -1 Unknown."""
    for found in status.get("conditions", ()):
        labels = (kind, str(found.get("type", "")), str(found.get("reason", "")))
        yield "trimtab_condition", labels, TRUTHS.get(str(found.get("status")))
