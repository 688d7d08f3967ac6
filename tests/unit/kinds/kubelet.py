"""Pods and containers as kubelet, scheduler and controllers describe them, word for word in the forms that matter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.core import metadata
from trimtab.core.objects import Object
from trimtab.kinds.mlmodel.children import IMPORT_KEY

NAMESPACE = "team-a"
IMAGE = "registry.example/trimtab-server:1"
STARTED = {"running": {"startedAt": "2030-01-02T03:00:00Z"}}
NOT_FOUND = f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": {IMAGE}: not found'
SCHEDULED = {"type": "PodScheduled", "status": "True"}


def pod(
    name: str,
    labels: Mapping[str, str],
    *containers: Object,
    init: Sequence[Object] = (),
    phase: str = "Pending",
    conditions: Sequence[Object] = (SCHEDULED,),
    deleting: bool = False,
) -> Object:
    """One pod with these container statuses."""
    meta: Object = {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "resourceVersion": "1"}
    meta["labels"] = {metadata.MANAGED_BY: metadata.MANAGER, **labels}
    if deleting:
        meta["deletionTimestamp"] = "2030-01-02T03:04:00Z"
    status = {
        "phase": phase,
        "conditions": list(conditions),
        "initContainerStatuses": list(init),
        "containerStatuses": list(containers),
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "status": status}


def server_pod(name: str, deployment: str, revision: str, *containers: Object, **more: Any) -> Object:
    """A pod of a ModelDeployment's revision."""
    return pod(name, {metadata.DEPLOYMENT: deployment, metadata.REVISION: revision}, *containers, **more)


def import_pod(name: str, model: str, key: str, *containers: Object, **more: Any) -> Object:
    """A pod of an MLModel's import Job."""
    return pod(name, {metadata.MODEL: model, IMPORT_KEY: key}, *containers, **more)


def container(
    state: Mapping[str, Any], *, name: str = "server", last: Mapping[str, Any] | None = None, **more: Any
) -> Object:
    """One container status; not ready unless it says so."""
    return {
        "name": name,
        "image": IMAGE,
        "ready": False,
        "restartCount": 1 if last else 0,
        "state": dict(state),
        "lastState": dict(last or {}),
        **more,
    }


def waiting(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def ended(exit_code: int, message: str = "", reason: str = "") -> Object:
    why = reason or ("Completed" if exit_code == 0 else "Error")
    said = {"message": message} if message else {}
    times = {"startedAt": "2030-01-02T03:00:00Z", "finishedAt": "2030-01-02T03:00:09Z"}
    return {"terminated": {"exitCode": exit_code, "reason": why, **said, **times}}


def words(reason: str, message: str) -> str:
    """Last words by the contract."""
    return json.dumps({"schema": 1, "reason": reason, "message": message})


def pulling_failed(cause: str = NOT_FOUND) -> Object:
    """The moment a pull failed."""
    return waiting("ErrImagePull", cause)


def pulling_later(cause: str = NOT_FOUND, error: str = "ErrImagePull", image: str = IMAGE) -> Object:
    """The pause before the next pull."""
    return waiting("ImagePullBackOff", f'Back-off pulling image "{image}": {error}: {cause}')


def crash_looping(last: Mapping[str, Any], *, name: str = "server") -> Object:
    """The pause before the next start."""
    text = f"back-off 10s restarting failed container={name} pod=risk-1_team-a(uid)"
    return container(waiting("CrashLoopBackOff", text), name=name, last=last)


def unschedulable(message: str) -> Object:
    return {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}


def evicted(message: str) -> Object:
    """The condition of a pod that kubelet took away."""
    return {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": message}
