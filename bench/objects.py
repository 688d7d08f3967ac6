"""What the bench creates: a model per namespace, and ModelDeployments that serve it."""

from __future__ import annotations

from datetime import UTC, datetime

from trimtab.core.objects import API_VERSION, Object
from trimtab.core.platform import Platform
from trimtab.kinds import MLMODEL, MODELDEPLOYMENT
from trimtab.kinds.mlmodel.children import import_key
from trimtab.kinds.modeldeployment.observe import Observed

NAMESPACES = 10
MODEL = "credit-risk"
SOURCE = "https://models.example.org/credit-risk.onnx"
DIGEST = "sha256:" + "5e" * 32
SERVER_IMAGE, TOOLBOX_IMAGE = "trimtab-server:bench", "trimtab-toolbox:bench"
STORE = "http://store.bench.svc:5000/bundles"


def namespace(number: int) -> str:
    """The namespace that the object of that number lives in."""
    return f"bench-{number % NAMESPACES}"


def model(number: int) -> Object:
    """The MLModel of a namespace."""
    return _object(MLMODEL.name, MODEL, number, {"source": {"uri": SOURCE}})


def imported(obj: Object) -> Object:
    """The status that a finished import leaves. The bench measures serving; no Job has to run for it."""
    revision = {
        "importKey": import_key(MLMODEL.parse(obj), SOURCE),
        "digest": DIGEST,
        "uri": SOURCE,
        "version": DIGEST[7:19],
        "format": "ONNX",
        "runtime": "onnx",
        "sizeBytes": 1_000_000,
        "importedAt": "2026-01-01T00:00:00Z",
        "approved": True,
    }
    return {"current": DIGEST, "version": revision["version"], "runtime": "onnx", "revisions": [revision]}


def deployment(number: int) -> Object:
    """A ModelDeployment with one pod and without an autoscaler."""
    return _object(MODELDEPLOYMENT.name, f"scorer-{number:04}", number, {"model": {"name": MODEL}, "replicas": 1})


def children(number: int) -> list[Object]:
    """The children of that ModelDeployment as the operator would apply them, but owned by nobody."""
    owner = deployment(number)
    owner["metadata"] |= {"uid": "none", "generation": 1}
    source = {**model(number), "status": imported(model(number))}
    seen = Observed(platform=Platform(SERVER_IMAGE, TOOLBOX_IMAGE, STORE), model=source)
    manifests = MODELDEPLOYMENT.plan(MODELDEPLOYMENT.parse(owner), seen, datetime.now(UTC)).apply
    for manifest in manifests:
        del manifest["metadata"]["ownerReferences"]
    return list(manifests)


def is_ready(obj: Object) -> bool:
    """True for a ModelDeployment that says Ready=True of its present generation."""
    return any(
        condition["type"] == "Ready"
        and condition["status"] == "True"
        and condition["observedGeneration"] == obj["metadata"]["generation"]
        for condition in obj.get("status", {}).get("conditions", ())
    )


def _object(kind: str, name: str, number: int, spec: Object) -> Object:
    meta = {"name": name, "namespace": namespace(number)}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": meta, "spec": spec}
