"""Objects for tests of the kinds, each with one line for what matters and defaults for the rest."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tests.memory_operator import PLATFORM, START, MemoryMonitor, MemorySources, drive
from trimtab.core import conditions
from trimtab.core.objects import API_VERSION, Object
from trimtab.core.platform import Platform
from trimtab.kinds.mlmodel import children as mlmodel_children
from trimtab.kinds.mlmodel import observe as mlmodel
from trimtab.kinds.mlmodel.api import MLModel
from trimtab.kinds.modeldeployment import children as modeldeployment_children
from trimtab.kinds.modeldeployment import observe as modeldeployment
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.template import Bundle, Revision, revision
from trimtab.runtime.store import Store

NOW = START
NOW_TEXT = "2030-01-02T03:04:05Z"
EARLIER_TEXT = "2030-01-02T03:00:00Z"
NAMESPACE = "team-a"


def digest(number: int) -> str:
    """The digest of the bundle with that number."""
    return f"sha256:{number:064x}"


def ago(seconds: float) -> str:
    """The timestamp of a moment before NOW."""
    return conditions.timestamp(NOW - timedelta(seconds=seconds))


def meta(name: str, **more: Any) -> Object:
    return {
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"uid-{name}",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": EARLIER_TEXT,
        **more,
    }


def condition(
    type_: str, status: str, reason: str, message: str = "", at: str = EARLIER_TEXT, generation: int = 1
) -> Object:
    """A condition as the operator writes it."""
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": at,
    }


# MLModel


def mlmodel_object(
    uri: str = "models:/credit@champion",
    *,
    name: str = "credit",
    source: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> Object:
    obj = {
        "apiVersion": API_VERSION,
        "kind": "MLModel",
        "metadata": meta(name, annotations=dict(annotations or {})),
        "spec": {"source": {"uri": uri, **(source or {})}, **spec},
    }
    return {**obj, "status": copy.deepcopy(dict(status))} if status is not None else obj


def model_revision(number: int, *, key: str = "", approved: bool = True, **more: Any) -> Object:
    """An entry of an MLModel's status.revisions: bundle and version `number`."""
    return {
        "importKey": key or f"key{number}",
        "digest": digest(number),
        "uri": f"models:/credit/{number}",
        "version": str(number),
        "format": "MLflow",
        "flavor": "sklearn",
        "runtime": "onnx",
        "inputs": [],
        "outputs": [],
        "sizeBytes": 1000,
        "importedAt": EARLIER_TEXT,
        "approved": approved,
        **more,
    }


def model_status(*revisions: Object, current: int | None = None, **more: Any) -> Object:
    """A status with these revisions, newest first; `current` is the number of the one that is served."""
    served = next((r for r in revisions if current is not None and r["digest"] == digest(current)), None)
    return {
        "observedGeneration": 1,
        "conditions": [],
        "current": served["digest"] if served else "",
        "version": served["version"] if served else "",
        "runtime": served["runtime"] if served else "",
        "resolvedUri": revisions[0]["uri"] if revisions else "",
        "revisions": list(revisions),
        **more,
    }


def resolved(number: int) -> mlmodel.Resolution:
    return mlmodel.Resolution(f"models:/credit/{number}")


def seen_model(
    resolution: mlmodel.Resolution, jobs: Sequence[Object] = (), pods: Sequence[Object] = ()
) -> mlmodel.Observed:
    return mlmodel.Observed(PLATFORM, resolution, jobs, pods)


def import_job(obj: Object, uri: str, **job_condition: Any) -> Object:
    """The import Job of that reference as the API server would show it."""
    job = mlmodel_children.import_job(MLModel.parse(obj), uri, PLATFORM)
    job["status"] = {"conditions": [job_condition]} if job_condition else {"active": 1}
    return job


def complete(seconds_ago: float = 0) -> dict[str, str]:
    """The condition of a Job that finished."""
    return {
        "type": "Complete",
        "status": "True",
        "reason": "CompletionsReached",
        "lastTransitionTime": ago(seconds_ago),
    }


def failed(reason: str = "PodFailurePolicy", message: str = "", seconds_ago: float = 0) -> dict[str, str]:
    """The condition of a Job that gave up."""
    at = ago(seconds_ago)
    return {"type": "Failed", "status": "True", "reason": reason, "message": message, "lastTransitionTime": at}


def import_result(number: int, **more: Any) -> Object:
    """What the import container says when it succeeds, by the contract."""
    return {
        "schema": 1,
        "digest": digest(number),
        "format": "MLflow",
        "flavor": "sklearn",
        "runtime": "onnx",
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "label", "datatype": "INT64", "shape": [-1]}],
        "parity": {"rows": 100, "maxAbsDiff": "1.2e-07", "mismatchPercent": "0"},
        "sizeBytes": 1000,
        **more,
    }


# ModelDeployment


def mdep_object(
    name: str = "risk",
    *,
    model: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None,
    generation: int = 1,
    **spec: Any,
) -> Object:
    obj = {
        "apiVersion": API_VERSION,
        "kind": "ModelDeployment",
        "metadata": meta(name, generation=generation),
        "spec": {"model": {"name": "credit", **(model or {})}, "replicas": 2, **spec},
    }
    return {**obj, "status": copy.deepcopy(dict(status))} if status is not None else obj


def bundle(number: int, runtime: str = "onnx") -> Bundle:
    return Bundle(digest(number), str(number), runtime)


def revision_of(obj: Object, number: int, platform: Platform = PLATFORM) -> Revision:
    """The revision that this ModelDeployment makes of the bundle with that number."""
    return revision(ModelDeployment.parse(obj), bundle(number), platform)


def workload(obj: Object, number: int, *, pods: int = 2, available: int | None = None, **status: Any) -> Object:
    """The Deployment of a revision as the API server would show it, with so many pods, so many of them available."""
    child = modeldeployment_children.workload(ModelDeployment.parse(obj), revision_of(obj, number))
    child["metadata"].update(uid=f"uid-workload-{number}", generation=1, resourceVersion="1")
    ready = pods if available is None else available
    child["status"] = {"observedGeneration": 1, "replicas": pods, "availableReplicas": ready, **status}
    return child


def front(obj: Object, number: int) -> Object:
    """The front Service when it selects that revision."""
    return modeldeployment_children.front(ModelDeployment.parse(obj), revision_of(obj, number).name)


def row(obj: Object, number: int, weight: int = 100, replicas: int = 2, available: int = 2) -> Object:
    """An entry of a ModelDeployment's status.revisions."""
    return {
        "name": revision_of(obj, number).name,
        "digest": digest(number),
        "version": str(number),
        "runtime": "onnx",
        "weight": weight,
        "replicas": replicas,
        "available": available,
    }


def serving(obj: Object, number: int, *rows: Object, **more: Any) -> Object:
    """The same ModelDeployment with a status that says the revision of that number has the traffic."""
    status = {
        "observedGeneration": 1,
        "conditions": [],
        "serving": revision_of(obj, number).name,
        "version": str(number),
        "revisions": [row(obj, number), *rows],
        **more,
    }
    return {**obj, "status": status}


def seen_mdep(
    obj: Object,
    model: Object | None,
    children: Sequence[Object] = (),
    pods: Sequence[Object] = (),
    counts: MemorySources | None = None,
    monitor: MemoryMonitor | None = None,
) -> modeldeployment.Observed:
    """What `observe` finds when this is all there is in the cluster, and pods answer that."""
    store = Store({})
    for item in (*([model] if model else []), *children, *pods):
        store.absorb(item)
    sources = counts or MemorySources()
    return drive(
        modeldeployment.observe(ModelDeployment.parse(obj), store, PLATFORM, sources, monitor or MemoryMonitor())
    )
