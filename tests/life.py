"""A full life of one model and its deployment, as a user would lead it, and what is compared afterwards.

    create ─► served ─► new version ─► switched and retired ─► scaled ─► autoscaled ─► not autoscaled ─► deleted

Each step ends when the resources say that they are settled. What is left then is written down without what may differ
between two lives that went the same way: times, uids, versions, the namespace.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.kube import Kube, Object, condition, until
from tests.kubelet import digest_of

MANAGED = "app.kubernetes.io/managed-by=trimtab"
CHILDREN = ("Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "Job")
STEP_SECONDS = 240.0
UNTOLD = "no pod has told its counts yet"
# Given by the server, differently each time; and what is a hash of one of these.
CHANCE = frozenset({"clusterIP", "clusterIPs", "trimtab.dev/desired-hash", "uid", "lastTransitionTime"})


def uri(name: str, version: int) -> str:
    """The reference of one version; immutable, so that no registry is needed."""
    return f"models:/{name}/{version}"


def model(namespace: str, name: str = "m", version: int = 1) -> Object:
    """An MLModel of one version."""
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "MLModel",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"source": {"uri": uri(name, version)}},
    }


def deployment(namespace: str, name: str = "d", model_name: str = "m", **spec: Any) -> Object:
    """A ModelDeployment of a model, with two pods unless told otherwise."""
    requests = {"cpu": "100m", "memory": "64Mi"}
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": {"name": model_name}, "replicas": 2, "resources": {"requests": requests}, **spec},
    }


AUTOSCALING = {"minReplicas": 2, "maxReplicas": 5, "metrics": [{"type": "CPU", "targetPercent": 70}]}


class Life:
    """One model `m` and one deployment `d`, by default, in one namespace."""

    def __init__(self, kube: Kube, namespace: str, model_name: str = "m", name: str = "d") -> None:
        self.kube = kube
        self.namespace = namespace
        self.model_name = model_name
        self.name = name

    async def lead(self) -> dict[str, Any]:
        """All steps; what was left after each."""
        left = {"served": await self.create(), "switched": await self.switch()}
        left["scaled"] = await self.scale(3)
        left["autoscaled"] = await self.autoscale(AUTOSCALING, 3)
        left["not autoscaled"] = await self.autoscale(None, 3)
        await self.delete()
        return left

    async def begin(self) -> None:
        """Create both."""
        await self.kube.create(model(self.namespace, self.model_name))
        await self.kube.create(deployment(self.namespace, self.name, self.model_name))

    async def create(self) -> Object:
        """Create both and wait until version 1 is served by two pods."""
        await self.begin()
        return await self.settled(version=1, pods=2)

    async def switch(self) -> Object:
        """Ask for version 2 and wait until it serves and version 1 is gone."""
        change = {"spec": {"source": {"uri": uri(self.model_name, 2)}}}
        await self.kube.patch("MLModel", self.namespace, self.model_name, change)
        return await self.settled(version=2, pods=2)

    async def scale(self, replicas: int, version: int = 2) -> Object:
        """`kubectl scale`, and wait until as many pods are available."""
        change = {"spec": {"replicas": replicas}}
        await self.kube.patch("ModelDeployment", self.namespace, self.name, change, sub="scale")
        return await self.settled(version, pods=replicas)

    async def autoscale(self, wanted: Object | None, pods: int, version: int = 2) -> Object:
        """Turn autoscaling on or off, and wait until that is done and `pods` pods are available."""
        await self.kube.patch("ModelDeployment", self.namespace, self.name, {"spec": {"autoscaling": wanted}})
        return await self.settled(version, pods, scalers=1 if wanted else 0)

    async def delete(self) -> None:
        """Delete both and wait until nothing is left of them."""
        await self.kube.delete("ModelDeployment", self.namespace, self.name)
        await self.kube.delete("MLModel", self.namespace, self.model_name)

        async def gone() -> bool:
            left = [f"{o['kind']} {o['metadata']['name']}" for k in (*CHILDREN, "Pod") for o in await self._own(k)]
            assert not left, f"still there: {left}"
            return True

        await until(gone, STEP_SECONDS, f"all gone from {self.namespace}")

    async def settled(self, version: int, pods: int, scalers: int = 0) -> Object:
        """Wait until both resources say that all is as asked, and nothing but that is there; then what is left."""

        async def check() -> Object:
            mlm = await self.kube.get("MLModel", self.namespace, self.model_name)
            mdep = await self.kube.get("ModelDeployment", self.namespace, self.name)
            assert mlm is not None
            assert mdep is not None
            for obj in (mlm, mdep):
                status = obj.get("status", {})
                assert status.get("observedGeneration") == obj["metadata"]["generation"], status
                assert condition(obj, "Ready").get("status") == "True", status
                assert not condition(obj, "Reconciling"), status
                assert status["version"] == str(version), status
            status = mdep["status"]
            assert (status["replicas"], status["available"], len(status["revisions"])) == (pods, pods, 1), status
            digest = digest_of(uri(self.model_name, version))
            assert status["revisions"][0]["digest"] == digest, status
            # Who serves is asked for counts in the pass after the one that said so; pretended pods have none to tell.
            drift = status.get("drift", {})
            assert (drift.get("digest"), drift.get("message")) == (digest, UNTOLD), status
            children = [child for kind in CHILDREN for child in await self._own(kind)]
            count = [sum(child["kind"] == kind for child in children) for kind in CHILDREN]
            assert count == [1, 2, scalers, 1, 1, 0], dict(zip(CHILDREN, count, strict=True))
            return self._write_down(mlm, mdep, children)

        return await until(check, STEP_SECONDS, f"{self.name} in {self.namespace} settled")

    async def _own(self, kind: str) -> list[Object]:
        """What belongs to this life, by the operator's own labels."""
        found = await self.kube.list(kind, self.namespace, MANAGED if kind != "Pod" else "")
        instances = (self.name, self.model_name)
        return [o for o in found if o["metadata"].get("labels", {}).get("app.kubernetes.io/instance") in instances]

    def _write_down(self, mlm: Object, mdep: Object, children: list[Object]) -> Object:
        left = {"model": mlm["status"], "deployment": mdep["status"]}
        for child in children:
            meta = child["metadata"]
            left[f"{child['kind']} {meta['name']}"] = {
                "spec": child["spec"],
                "labels": meta["labels"],
                "annotations": meta["annotations"],
                "owners": meta["ownerReferences"],
                "ours": _fields(meta["managedFields"], "trimtab"),
            }
        text = json.dumps(_without_chance(left), sort_keys=True)
        for part, stand_in in (
            (self.namespace, "NAMESPACE"),
            (mlm["metadata"]["uid"], "UID"),
            (mdep["metadata"]["uid"], "UID"),
        ):
            text = text.replace(part, stand_in)
        return dict(json.loads(text))


def _fields(managed: list[Object], manager: str) -> list[Object]:
    """The fields that one manager holds, however it came to them."""
    own = [{key: item[key] for key in ("operation", "fieldsV1")} for item in managed if item["manager"] == manager]
    return sorted(own, key=lambda item: str(item["operation"]))


def _without_chance(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_chance(v) for k, v in value.items() if k not in CHANCE and not k.endswith("At")}
    if isinstance(value, list):
        return [_without_chance(item) for item in value]
    return value
