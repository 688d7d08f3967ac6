"""What an object is, how it is named, and who owns it: raw dicts, addressed by frozen references.

Objects stay the dicts the API server sent. Wrapping thousands of children in classes would cost
memory and buy nothing, since the operator reads only a handful of their fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Object = dict[str, Any]

GROUP = "trimtab.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class Resource(NamedTuple):
    """One kind of API resource, as its URL and its manifests name it."""

    api_version: str
    kind: str
    plural: str

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version within the group."""
        return self.api_version.rpartition("/")[2]


class Ref(NamedTuple):
    """The address of one namespaced object."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


DEPLOYMENT = Resource("apps/v1", "Deployment", "deployments")
SERVICE = Resource("v1", "Service", "services")
AUTOSCALER = Resource("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
DISRUPTION_BUDGET = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
NETWORK_POLICY = Resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
HTTP_ROUTE = Resource("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes")
JOB = Resource("batch/v1", "Job", "jobs")
POD = Resource("v1", "Pod", "pods")


def ref_of(obj: Mapping[str, Any]) -> Ref:
    """The address written in a manifest."""
    meta = obj["metadata"]
    return Ref(obj["kind"], meta.get("namespace", ""), meta["name"])


def controller_of(obj: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The owner reference marked as controller, if there is one."""
    for owner in obj["metadata"].get("ownerReferences", ()):
        if owner.get("controller"):
            return owner  # type: ignore[no-any-return]
    return None


def condition(obj: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    """The condition of that type in an object's status, or an empty mapping."""
    for item in obj.get("status", {}).get("conditions", ()):
        if item["type"] == type_:
            return item  # type: ignore[no-any-return]
    return {}
