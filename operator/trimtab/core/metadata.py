"""Names, labels, annotations and owner references of everything the operator creates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from trimtab.core.objects import API_VERSION, GROUP, Object

MANAGER = "trimtab"
MANAGED_BY = "app.kubernetes.io/managed-by"
SELECTOR = f"{MANAGED_BY}={MANAGER}"
INSTANCE = "app.kubernetes.io/instance"

MODEL = f"{GROUP}/model"
DEPLOYMENT = f"{GROUP}/deployment"
REVISION = f"{GROUP}/revision"
ROUTER = f"{GROUP}/router"
SCHEDULE = f"{GROUP}/schedule"
DESIRED_HASH = f"{GROUP}/desired-hash"
ROUTED_CLUSTERS = f"{GROUP}/routed-clusters"
ROUTED_ROUTES = f"{GROUP}/routed-routes"
PAUSED = f"{GROUP}/paused"
APPROVE = f"{GROUP}/approve"
RETRY = f"{GROUP}/retry"
ROLLOUT_PAUSED = f"{GROUP}/rollout-paused"
PROMOTE = f"{GROUP}/promote"
ABORT = f"{GROUP}/abort"
RUN = f"{GROUP}/run"
APPROVE_RUN = f"{GROUP}/approve-run"
RESET_CIRCUIT = f"{GROUP}/reset-circuit"

# A pod has no owner reference to a custom resource (its ReplicaSet or Job stands between),
# so it names the resource it works for in a label. Two kinds have routers, and a label says no more than a name.
POD_OWNERS = {
    DEPLOYMENT: ("ModelDeployment",),
    MODEL: ("MLModel",),
    ROUTER: ("ModelDeployment", "ABTest"),
    SCHEDULE: ("RetrainSchedule",),
}


def fingerprint(value: Any, digits: int = 8) -> str:
    """A short, stable name for a JSON value: the first hex digits of its sha256."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def desired_hash(obj: Mapping[str, Any]) -> str:
    """The hash of the manifest an object was last applied from, or an empty string."""
    return str(obj["metadata"].get("annotations", {}).get(DESIRED_HASH, ""))


def labels(component: str, instance: str, **extra: str) -> dict[str, str]:
    """The recommended labels, plus our own; the label syntax of `extra` is the caller's care."""
    return {
        "app.kubernetes.io/name": f"trimtab-{component}",
        INSTANCE: instance,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "trimtab",
        MANAGED_BY: MANAGER,
        **extra,
    }


def owned(
    api_version: str, kind: str, name: str, owner: Mapping[str, Any], labels: Mapping[str, str], **body: Any
) -> Object:
    """A child manifest whose controller is `owner`: it lives in the same namespace and dies with it."""
    meta = owner["metadata"]
    reference = {
        "apiVersion": API_VERSION,
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    manifest = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": dict(labels),
            "ownerReferences": [reference],
        },
        **body,
    }
    manifest["metadata"]["annotations"] = {DESIRED_HASH: fingerprint(manifest, 16)}
    return manifest
