"""The arms as they are now: which revision of which deployment, where it is, and whether it can take users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trimtab.core.objects import Object, condition
from trimtab.kinds.abtest.api import ABTest, Arm
from trimtab.kinds.abtest.observe import Observed, serving


@dataclass(frozen=True)
class Resolved:
    """One arm, as far as it could be found."""

    name: str
    deployment: str
    revision: str = ""
    available: int = 0
    reason: Literal["", "ArmNotFound", "ArmNotReady"] = ""
    message: str = ""
    digest: str = ""


def resolve(test: ABTest, seen: Observed) -> tuple[Resolved, ...]:
    """Every arm, in the order of the spec."""
    return tuple(_resolve(arm, seen.deployments.get(arm.deployment)) for arm in test.spec.arms)


def _resolve(arm: Arm, mdep: Object | None) -> Resolved:
    if mdep is None or "deletionTimestamp" in mdep["metadata"]:
        message = f"arm {arm.name}: there is no ModelDeployment {arm.deployment} in this namespace"
        return Resolved(arm.name, arm.deployment, reason="ArmNotFound", message=message)
    revision, row = serving(mdep), _row(mdep)
    available, digest = int(row.get("available", 0)), str(row.get("digest", ""))
    if revision and available:
        return Resolved(arm.name, arm.deployment, revision, available, digest=digest)
    said = condition(mdep, "Ready").get("message", "the operator has not looked at it yet")
    message = f"arm {arm.name}: no pod of ModelDeployment {arm.deployment} answers requests: {said}"
    return Resolved(arm.name, arm.deployment, revision, available, "ArmNotReady", message, digest)


def _row(mdep: Object) -> Mapping[str, Any]:
    """What a deployment says of the revision that has its traffic."""
    status: dict[str, Any] = mdep.get("status", {})
    return next((row for row in status.get("revisions", ()) if row["name"] == status.get("serving")), {})
