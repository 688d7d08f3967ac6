"""What is read before a ModelDeployment is judged: its model's revisions and its own children. All from memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trimtab.core import metadata
from trimtab.core.objects import DEPLOYMENT, SERVICE, Object, Ref
from trimtab.core.platform import Platform
from trimtab.core.view import View
from trimtab.kinds.modeldeployment.api import ModelDeployment


@dataclass(frozen=True)
class Observed:
    """All that a decision about a ModelDeployment depends on, beside the object itself."""

    platform: Platform
    model: Object | None = None
    children: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    deployments: Mapping[str, Object] = field(default_factory=dict)
    """By revision, as their names tell it: labels can be edited by hand, names cannot."""

    def deployment(self, revision: str) -> Mapping[str, Any]:
        """The Deployment of a revision, or an empty mapping."""
        return self.deployments.get(revision, {})

    def selected(self, name: str) -> str:
        """The revision that the front Service sends traffic to, or an empty string."""
        for child in self.children:
            if child["kind"] == SERVICE.kind and child["metadata"]["name"] == name:
                return str(child["spec"].get("selector", {}).get(metadata.REVISION, ""))
        return ""


def model_ref(obj: Object) -> Ref:
    """The MLModel a ModelDeployment (a raw object) refers to."""
    return Ref("MLModel", obj["metadata"]["namespace"], str(obj.get("spec", {}).get("model", {}).get("name", "")))


async def observe(mdep: ModelDeployment, view: View, platform: Platform) -> Observed:
    """Gather the model, the children and their pods."""
    namespace, name = mdep.metadata["namespace"], mdep.metadata["name"]
    children = view.children(mdep.metadata["uid"])
    return Observed(
        platform=platform,
        model=view.get(Ref("MLModel", namespace, mdep.spec.model.name)) if mdep.spec.model else None,
        children=children,
        pods=view.pods(metadata.DEPLOYMENT, namespace, name),
        deployments={
            child["metadata"]["name"].removeprefix(f"{name}-"): child
            for child in children
            if child["kind"] == DEPLOYMENT.kind
        },
    )
