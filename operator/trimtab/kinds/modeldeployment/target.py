"""Which bundle the spec asks for: the model's current one, the pinned one, or none but a container's image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.core.conditions import Condition
from trimtab.core.objects import Object, condition
from trimtab.kinds.modeldeployment import container
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.container import Container
from trimtab.kinds.modeldeployment.template import Bundle


@dataclass(frozen=True)
class Target:
    """The bundle to serve, if it can be told, and the condition that says so.

    `pending` is True when waiting is the right thing to do: the model itself is still on its way.
    """

    bundle: Bundle | None
    resolved: Condition
    pending: bool = False


def target(mdep: ModelDeployment, model: Object | None) -> Target:
    """Resolve the model reference; when it cannot be resolved the reason names what to do."""
    if mdep.spec.model is None:
        return _image(mdep.spec.container)
    name = mdep.spec.model.name
    if model is None:
        return _unresolved("ModelNotFound", f"there is no MLModel {name} in this namespace; create it")
    status = model.get("status", {})
    wanted = mdep.spec.model.revision or status.get("current", "")
    if not wanted:
        why = condition(model, "Ready").get("message", "it was not looked at yet")
        pending = condition(model, "Stalled").get("status") != "True"
        return _unresolved("ModelNotReady", f"MLModel {name} has no current revision yet: {why}", pending)
    # The same bytes may have been imported as several versions; the one that is current, and approved, counts.
    same = [r for r in status.get("revisions", ()) if r["digest"] == wanted]
    entry = min(same, key=lambda r: (not r.get("approved"), r["version"] != status.get("version")), default=None)
    if entry is None:
        return _unresolved("RevisionNotFound", _missing(name, wanted, status))
    if not entry.get("approved"):
        return _unresolved("RevisionNotApproved", f"{wanted} of MLModel {name} is not approved; approve it there")
    bundle = Bundle(entry["digest"], entry["version"], "container" if mdep.spec.container else entry["runtime"])
    message = f"version {bundle.version} of MLModel {name} ({bundle.digest[:19]})"
    return Target(bundle, Condition("ModelResolved", "True", "RevisionFound", message))


def _image(own: Container | None) -> Target:
    """Without a model the image is what is served; with neither, a later release stored what this one cannot know."""
    if own is None:
        return _unresolved("ModelNotFound", "the spec names neither a model nor a container")
    message = f"no model is asked for; the image {own.image} serves"
    if not container.pinned(own.image):
        message += ", and what its tag stands for may differ between pods: name it by digest to be sure"
    bundle = Bundle(container.digest(own.image), container.version(own.image), "container")
    return Target(bundle, Condition("ModelResolved", "True", "ContainerGiven", message))


def _unresolved(reason: str, message: str, pending: bool = False) -> Target:
    return Target(None, Condition("ModelResolved", "False", reason, message), pending)


def _missing(name: str, wanted: str, status: Mapping[str, Any]) -> str:
    known = ", ".join(r["digest"] for r in status.get("revisions", ())[:5]) or "none"
    return f"MLModel {name} has no revision {wanted}; it has {known}"
