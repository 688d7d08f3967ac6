"""For any spec: what is wanted comes to be, stays as it is, and comes back whatever is taken away or spoilt."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import crdcheck
from tests.memory_cluster import MemoryCluster
from tests.memory_operator import MemoryOperator
from tests.property import strategies
from tests.thorough import examples
from trimtab.core.objects import Object, Ref, controller_of

few = settings(max_examples=examples(20), derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
COUNTED = ("resourceVersion", "generation", "uid", "creationTimestamp")


@st.composite
def clusters(draw: st.DrawFn) -> MemoryOperator:
    """A ModelDeployment of any spec, with its model there and imported."""
    obj = draw(strategies.objects("ModelDeployment"))
    # An operator without the Gateway API says that it cannot do what such a rollout asks for.
    obj["spec"]["rollout"].pop("gateway", None)
    wanted = obj["spec"].get("model", {"name": "credit", "revision": ""})
    pinned = wanted["revision"] or f"sha256:{1:064x}"
    entry = {"digest": pinned, "version": "1", "runtime": draw(st.sampled_from(["onnx", "python"])), "approved": True}
    meta = {"name": wanted["name"], "namespace": obj["metadata"]["namespace"]}
    status = {"current": pinned, "version": "1", "revisions": [entry]}
    # Its own source is nobody's business here, so it is no MLModel that the operator would look at.
    model: Object = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "MLModel", "metadata": meta, "status": status}
    cluster = MemoryCluster()
    cluster.put(model)
    cluster.put(obj)
    operator = MemoryOperator(cluster)
    operator.look()
    operator.dirty = set(operator.store.refs("ModelDeployment"))
    return operator


def settle(operator: MemoryOperator) -> None:
    """Let everybody work until there is nothing left to do."""
    for _ in range(3):
        _work(operator)
        for ref in [ref for ref in operator.cluster.objects if ref.kind == "Deployment"]:
            scaler = operator.cluster.objects.get(ref._replace(kind="HorizontalPodAutoscaler"))
            operator.cluster.edit(ref, lambda obj, scaler=scaler: _start(obj, scaler))  # type: ignore[misc]
        operator.hear()
        _work(operator)
        operator.clock.advance(11)


def _work(operator: MemoryOperator) -> None:
    operator.enqueue(operator.store.refs("ModelDeployment"))
    operator.dirty -= set(operator.store.refs("MLModel"))
    operator.work()


def _start(obj: Object, scaler: Object | None) -> None:
    """Autoscaler, Deployment controller and kubelets at work."""
    if scaler is not None:
        obj["spec"]["replicas"] = scaler["spec"]["minReplicas"]
    wanted = obj["spec"]["replicas"]
    obj["status"] = {"observedGeneration": 1, "replicas": wanted, "availableReplicas": wanted}


def children(cluster: MemoryCluster) -> dict[Ref, Object]:
    """What the operator wants, without what the API server and other controllers make of it."""
    found = {
        ref: obj for ref, obj in cluster.objects.items() if ref.kind not in ("MLModel", "ModelDeployment", "Event")
    }
    return {ref: _bare(obj) for ref, obj in found.items()}


def _bare(obj: Object) -> Object:
    meta = {key: value for key, value in obj["metadata"].items() if key not in COUNTED}
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": meta}


@given(clusters())
@few
def test_a_second_look_writes_nothing(operator: MemoryOperator) -> None:
    settle(operator)
    writes = len(operator.cluster.writes())
    operator.look()
    _work(operator)
    assert operator.cluster.writes()[writes:] == []
    again = MemoryOperator(operator.cluster, clock=operator.clock)
    again.look()
    _work(again)
    assert operator.cluster.writes()[writes:] == []


@given(clusters())
@few
def test_a_settled_object_is_ready_and_all_its_children_are_its_own(operator: MemoryOperator) -> None:
    settle(operator)
    (ref,) = operator.store.refs("ModelDeployment")
    obj = operator.cluster.objects[ref]
    assert crdcheck.violations(obj) == []
    assert obj["status"]["conditions"][0]["status"] == "True"
    routers = obj["spec"]["rollout"]["strategy"] == "Canary"
    assert len({ref.name for ref in children(operator.cluster)}) == 2 + routers, "its own name, that with the revision"
    for child in children(operator.cluster):
        owner = controller_of(operator.cluster.objects[child])
        assert owner is not None
        assert owner["uid"] == obj["metadata"]["uid"]


@given(clusters(), st.data())
@few
def test_whatever_is_taken_away_or_spoilt_comes_back(operator: MemoryOperator, data: st.DataObject) -> None:
    settle(operator)
    before = children(operator.cluster)
    refs = sorted(before)
    for ref in data.draw(st.lists(st.sampled_from(refs), unique=True), label="deleted"):
        operator.cluster.remove(ref)
    for ref in data.draw(st.lists(st.sampled_from(refs), unique=True), label="edited"):
        if ref in operator.cluster.objects:
            operator.cluster.edit(ref, lambda obj: _spoil(data, obj))
    operator.hear()
    settle(operator)
    assert children(operator.cluster) == before


def _spoil(data: st.DataObject, obj: Object) -> None:
    """Change or remove something that the operator wrote."""
    place: Any = obj["spec"]
    while True:
        key = data.draw(st.sampled_from(sorted(place)) if isinstance(place, dict) else st.integers(0, len(place) - 1))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        place = inner
    if isinstance(place, dict) and data.draw(st.booleans(), label="removed"):
        del place[key]
    elif isinstance(place[key], str | int):
        place[key] = type(place[key])(7)
