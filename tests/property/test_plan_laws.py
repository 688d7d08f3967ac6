"""Laws of the plans, for any spec, any status and whatever is found in the cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import crdcheck, pod_security
from tests.kubernetes_schema import validate_strictly
from tests.memory_operator import PLATFORM, START, MemoryMonitor, MemorySources, drive
from tests.property import strategies
from tests.thorough import examples
from trimtab.core import metadata
from trimtab.core.conditions import timestamp
from trimtab.core.objects import Object, ref_of
from trimtab.core.plan import Plan
from trimtab.kinds.mlmodel import children as imports
from trimtab.kinds.mlmodel import observe as mlmodel
from trimtab.kinds.mlmodel.api import MLModel
from trimtab.kinds.mlmodel.plan import plan as plan_model
from trimtab.kinds.modeldeployment import children, observe
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.plan import plan as plan_deployment
from trimtab.kinds.modeldeployment.template import Bundle, Revision, revision
from trimtab.runtime.store import Store

REVISION = "trimtab.dev/revision"
quick = settings(max_examples=examples(30), deadline=None, suppress_health_check=list(HealthCheck))
versions = st.integers(1, 4)
counts = st.integers(0, 6)
times = st.integers(-100, 100).map(lambda seconds: START + timedelta(seconds=seconds))
nonsense = st.one_of(st.none(), st.text(max_size=20), st.integers(), st.lists(st.integers(), max_size=2))


def bundle(version: int) -> Bundle:
    return Bundle(f"sha256:{version:064x}", str(version), "onnx" if version % 2 else "python")


@st.composite
def models(draw: st.DrawFn, name: str, namespace: str) -> Object:
    """An MLModel with some versions, one of them perhaps current."""
    entries = [bundle(version) for version in draw(st.lists(versions, unique=True, max_size=4))]
    made = [{**vars(entry), "approved": draw(st.booleans()), "uri": "models:/m/1"} for entry in entries]
    current = draw(st.sampled_from(["", *(entry["digest"] for entry in made)]))
    meta = {"name": name, "namespace": namespace, "uid": "model", "resourceVersion": "1", "generation": 1}
    status = {"current": current, "revisions": made, "conditions": []}
    return {"apiVersion": "trimtab.dev/v1alpha1", "kind": "MLModel", "metadata": meta, "spec": {}, "status": status}


@st.composite
def workloads(draw: st.DrawFn, mdep: ModelDeployment, made: Revision) -> list[Object]:
    """The children of one revision, as far as they are there, edited by whoever likes to."""
    workload = children.workload(mdep, made)
    ready, there = sorted((draw(counts), draw(counts)))
    workload["status"] = draw(
        st.sampled_from([{}, {"observedGeneration": 1, "replicas": there, "availableReplicas": ready}])
    )
    headless = children.headless(mdep, made.name)
    scaler = children.autoscaler(mdep, made.name, 0)
    found = draw(st.lists(st.sampled_from([workload, headless, *([scaler] if scaler else [])]), unique_by=ref_of))
    for item in found:
        if draw(st.booleans()):
            item["metadata"]["labels"].pop(REVISION, None)
        if draw(st.booleans()):
            notes = st.dictionaries(st.sampled_from(["trimtab.dev/digest", "a"]), st.text())
            item["metadata"]["annotations"] = draw(notes)
    return found


@st.composite
def deployments(draw: st.DrawFn, serving: bool = False) -> tuple[Object, Store]:
    """A ModelDeployment somewhere in its life, and what the operator remembers of the cluster.

    With `serving` one of its revisions has traffic by its status, and a Deployment.
    """
    obj = draw(strategies.objects("ModelDeployment"))
    mdep, store = ModelDeployment.parse(obj), Store({})
    known = [bundle(v) for v in draw(st.lists(versions, unique=True, min_size=int(serving), max_size=4))]
    made = [revision(mdep, item, PLATFORM) for item in known]
    there = [item for one in made for item in draw(workloads(mdep, one))]
    fronted: bool = draw(st.booleans())
    if made and fronted:
        there.append(children.front(mdep, draw(st.sampled_from(made)).name))
    if serving:
        there = [children.workload(mdep, made[0]), *there]
        there[0]["status"] = {"observedGeneration": 1, "availableReplicas": draw(counts)}
    for number, item in enumerate(there):
        item["metadata"].update(uid=f"child-{number}", resourceVersion="1", generation=1)
        store.absorb(item)
    if mdep.spec.model is not None and draw(st.booleans()):
        store.absorb(draw(models(mdep.spec.model.name, obj["metadata"]["namespace"])))
    told = sensible_statuses(made[:1] if serving else made, made)
    return {**obj, "status": draw(told if serving else st.one_of(st.just({}), told, NONSENSE))}, store


NONSENSE = strategies.statuses("ModelDeployment")


def sensible_statuses(serving: list[Revision], known: list[Revision]) -> st.SearchStrategy[Object]:
    rows = [{"name": made.name, "weight": 0, **vars(made.bundle)} for made in known]
    fields = {
        "serving": st.sampled_from([made.name for made in serving] or [""]),
        "revisions": st.just(rows),
        "switchedAt": times.map(timestamp),
    }
    return st.fixed_dictionaries(fields)


def decide(obj: Object, store: Store) -> Plan:
    mdep = ModelDeployment.parse(obj)
    return plan_deployment(mdep, drive(observe.observe(mdep, store, PLATFORM, MemorySources(), MemoryMonitor())), START)


@given(deployments())
@quick
def test_a_deployment_always_gets_the_same_plan_and_a_status_the_api_server_takes(life: tuple[Object, Store]) -> None:
    obj, store = life
    made = decide(obj, store)
    assert made == decide(obj, store)
    assert crdcheck.violations({**obj, "status": made.status}) == []
    assert ModelDeployment.parse({**obj, "status": made.status}).status.dump() == made.status
    assert made.requeue_after is None or made.requeue_after > timedelta(0)


@given(deployments())
@quick
def test_children_have_names_of_their_own_and_are_not_both_wanted_and_merely_kept(life: tuple[Object, Store]) -> None:
    obj, store = life
    made = decide(obj, store)
    refs = [ref_of(child) for child in made.apply]
    assert len(refs) == len(set(refs))
    assert not set(refs) & made.keep
    for ref in refs:
        assert len(ref.name) <= 63
        assert ref.namespace == obj["metadata"]["namespace"]


@given(deployments())
@quick
def test_numbers_of_pods_have_one_owner(life: tuple[Object, Store]) -> None:
    obj, store = life
    made = decide(obj, store)
    by_kind: dict[str, list[Object]] = {}
    for child in made.apply:
        if metadata.ROUTER not in child["metadata"]["labels"]:
            by_kind.setdefault(child["kind"], []).append(child)
    scaled = "autoscaling" in obj["spec"]
    for workload in by_kind.get("Deployment", []):
        assert ("replicas" in workload["spec"]) is not scaled
    assert len(by_kind.get("HorizontalPodAutoscaler", [])) == (len(by_kind.get("Deployment", [])) if scaled else 0)


@given(deployments())
@quick
def test_traffic_goes_where_the_plan_says_and_what_serves_is_never_taken_away(life: tuple[Object, Store]) -> None:
    obj, store = life
    made = decide(obj, store)
    fronts = [c for c in made.apply if c["kind"] == "Service" and c["metadata"]["name"] == obj["metadata"]["name"]]
    if not fronts:
        assert made.apply == ()
        assert made.status["serving"] == ""
        return
    (front,) = fronts
    chosen = front["spec"]["selector"][REVISION]
    spared = {ref_of(child) for child in made.apply} | made.keep
    for child in store.children(obj["metadata"]["uid"]):
        if child["metadata"]["name"].endswith(f"-{chosen}") and child["kind"] != "HorizontalPodAutoscaler":
            assert ref_of(child) in spared
    assert made.status["serving"] in (chosen, obj["status"].get("serving"))


@given(deployments(serving=True))
@quick
def test_no_revision_gets_traffic_while_a_better_one_has_it(life: tuple[Object, Store]) -> None:
    """`enough` is what the spec asks for; without one that has enough, nobody loses traffic to one that has less."""
    obj, store = life
    mdep = ModelDeployment.parse(obj)
    seen = drive(observe.observe(mdep, store, PLATFORM, MemorySources(), MemoryMonitor()))
    serving = mdep.status.serving
    made = decide(obj, store)
    (front,) = (c for c in made.apply if c["kind"] == "Service" and c["metadata"]["name"] == obj["metadata"]["name"])
    chosen = front["spec"]["selector"][REVISION]
    have = {name: workload.get("status", {}).get("availableReplicas", 0) for name, workload in seen.deployments.items()}
    enough = mdep.spec.replicas if mdep.spec.autoscaling is None else mdep.spec.autoscaling.min_replicas
    assert chosen == serving or have[chosen] >= enough or have[chosen] >= have[serving] == 0


@given(strategies.objects("ModelDeployment"), versions)
@settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
def test_children_are_valid_and_as_restricted_as_can_be(obj: Object, version: int) -> None:
    store = Store({})
    wanted = obj["spec"].get("model", {"name": "credit", "revision": ""})
    model = {"name": wanted["name"], "namespace": obj["metadata"]["namespace"], "resourceVersion": "1"}
    entry = {**vars(bundle(version)), "approved": True}
    current = wanted["revision"] or entry["digest"]
    status = {"current": current, "revisions": [{**entry, "digest": current}]}
    store.absorb({"kind": "MLModel", "metadata": model, "status": status})
    made = decide(obj, store)
    assert made.apply
    for child in made.apply:
        validate_strictly(child)
        if child["kind"] == "Deployment":
            assert pod_security.violations(_with_requests(child["spec"]["template"]["spec"])) == []


def _with_requests(pod: Object) -> Object:
    """What a pod may use is the user's to say; the standard does not care."""
    resources = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}
    containers = [{**container, "resources": resources} for container in pod["containers"]]
    return {**pod, "containers": containers}


# MLModel


@st.composite
def words(draw: st.DrawFn, version: int) -> str:
    """Last words of an import: by the contract, or by nobody's."""
    good: Mapping[str, Any] = {
        "schema": 1,
        "digest": bundle(version).digest,
        "format": "MLflow",
        "runtime": "onnx",
        "sizeBytes": 1,
    }
    fields = draw(st.dictionaries(st.sampled_from(sorted({*good, "inputs", "parity", "approved", "reason"})), nonsense))
    return draw(st.sampled_from([json.dumps(good), json.dumps({**good, **fields}), draw(st.text(max_size=30))]))


@st.composite
def model_lives(draw: st.DrawFn, current: bool = False) -> tuple[Object, mlmodel.Observed]:
    """An MLModel somewhere in its life, what its source stands for, its Jobs and their pods.

    With `current` it has a current revision, and that one is approved.
    """
    obj = draw(strategies.objects("MLModel"))
    if draw(st.booleans()):
        obj["metadata"]["annotations"] = {"trimtab.dev/approve": bundle(draw(versions)).digest}
    told = with_current() if current else st.one_of(st.just({}), strategies.statuses("MLModel"))
    obj = {**obj, "status": draw(told)}
    model, version = MLModel.parse(obj), draw(versions)
    uri = f"models:/m/{version}"
    job = imports.import_job(model, uri, PLATFORM)
    kind = draw(st.sampled_from(["", "Complete", "Failed"]))
    ended = {"type": kind, "status": "True", "reason": "Done", "lastTransitionTime": timestamp(draw(times))}
    job["status"] = {"conditions": [ended]} if kind else {}
    code = draw(st.sampled_from([0, 10, 75, 137]))
    state = {"terminated": {"exitCode": code, "message": draw(words(version))}}
    container = {"name": "import", "ready": False, "state": state}
    pod = {"metadata": {"name": "p", "labels": job["spec"]["template"]["metadata"]["labels"]}}
    pod["status"] = {"phase": "Failed" if code else "Succeeded", "containerStatuses": [container]}
    found = mlmodel.Resolution(uri) if draw(st.booleans()) else mlmodel.Resolution(reason="Down", message="down")
    jobs, pods = draw(st.sampled_from([[], [job]])), draw(st.sampled_from([[], [pod]]))
    return obj, mlmodel.Observed(PLATFORM, found, jobs, pods)


@given(model_lives())
@quick
def test_a_model_always_gets_the_same_plan_and_a_status_the_api_server_takes(
    life: tuple[Object, mlmodel.Observed],
) -> None:
    obj, seen = life
    made = plan_model(MLModel.parse(obj), seen, START)
    assert made == plan_model(MLModel.parse(obj), seen, START)
    assert crdcheck.violations({**obj, "status": made.status}) == []
    assert MLModel.parse({**obj, "status": made.status}).status.dump() == made.status
    assert made.requeue_after is None or made.requeue_after > timedelta(0)


@st.composite
def with_current(draw: st.DrawFn) -> Object:
    """A status with some revisions, of which one is current; the same bytes may be there more than once."""
    known = draw(st.lists(versions, min_size=1, max_size=5))
    common = {
        "format": "MLflow",
        "runtime": "onnx",
        "sizeBytes": 1,
        "importedAt": timestamp(START),
        "uri": "models:/m/1",
    }
    served = draw(st.sampled_from(known))
    approved = {version: version == served or draw(st.booleans()) for version in set(known)}
    entries = [
        {"importKey": f"k{place}", "digest": bundle(v).digest, "version": str(v), "approved": approved[v], **common}
        for place, v in enumerate(known)
    ]
    return {"current": bundle(served).digest, "version": str(served), "revisions": entries}


@given(model_lives(current=True))
@quick
def test_what_is_current_stays_current_or_gives_way_to_another_that_is_approved(
    life: tuple[Object, mlmodel.Observed],
) -> None:
    obj, seen = life
    made = plan_model(MLModel.parse(obj), seen, START)
    entries = [r for r in made.status["revisions"] if r["digest"] == made.status["current"]]
    assert entries
    assert all(r["approved"] for r in entries)


@given(model_lives())
@settings(max_examples=examples(20), deadline=None, suppress_health_check=list(HealthCheck))
def test_import_jobs_are_valid_and_as_restricted_as_can_be(life: tuple[Object, mlmodel.Observed]) -> None:
    obj, seen = life
    for job in plan_model(MLModel.parse(obj), seen, START).apply:
        validate_strictly(job)
        assert pod_security.violations(job["spec"]["template"]["spec"]) == []
        assert len(job["metadata"]["name"]) <= 63
