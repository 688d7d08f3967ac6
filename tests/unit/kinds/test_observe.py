"""What is read before deciding: references as the registry tells them, and children, pods and models from memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.memory_operator import PLATFORM, MemoryNotifier, MemoryRegistry, MemorySources, MemoryTracking, drive
from tests.unit.kinds import kubelet, retrain_lab
from tests.unit.kinds.builders import (
    NAMESPACE,
    front,
    import_job,
    mdep_object,
    mlmodel_object,
    seen_mdep,
    workload,
)
from trimtab.core.objects import Object, Ref
from trimtab.evidence.sources import RouterReport
from trimtab.kinds.mlmodel import observe as mlmodel
from trimtab.kinds.mlmodel.api import MLModel
from trimtab.kinds.modeldeployment import observe as modeldeployment
from trimtab.kinds.retrainschedule import observe as retrainschedule
from trimtab.kinds.retrainschedule.api import RetrainSchedule
from trimtab.runtime.store import Store


class Asked(MemoryRegistry):
    """A registry that notes what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.versions = {("credit", "champion"): "7", ("credit", None): "12"}
        self.questions: list[tuple[str, str | None, float]] = []

    async def version(self, name: str, alias: str | None, max_age_seconds: float) -> str:
        self.questions.append((name, alias, max_age_seconds))
        return await super().version(name, alias, max_age_seconds)


def observed(uri: str, registry: Asked, store: Store | None = None) -> mlmodel.Observed:
    model = MLModel.parse(mlmodel_object(uri, source={"pollSeconds": 60}))
    return drive(mlmodel.observe(model, store or Store({}), PLATFORM, registry))


@pytest.mark.parametrize(
    ("uri", "resolved", "question"),
    [
        ("models:/credit@champion", "models:/credit/7", ("credit", "champion", 30)),
        ("models:/credit/latest", "models:/credit/12", ("credit", None, 30)),
        ("models:/credit/3", "models:/credit/3", None),
        ("https://example.com/latest", "https://example.com/latest", None),
    ],
)
def test_only_moving_references_are_asked_for(
    uri: str, resolved: str, question: tuple[str, str | None, float] | None
) -> None:
    registry = Asked()
    assert observed(uri, registry).resolution == mlmodel.Resolution(resolved)
    assert registry.questions == ([question] if question else [])


@pytest.mark.parametrize(("down", "reason"), [(True, "RegistryUnreachable"), (False, "SourceNotFound")])
def test_a_registry_that_does_not_tell_is_a_fact_too(down: bool, reason: str) -> None:
    registry = Asked()
    registry.down = down
    found = observed("models:/credit@unknown", registry).resolution
    assert (found.uri, found.reason) == ("", reason)
    assert found.message


def schedule(name: str, uri: str = "", model: str = "credit", **meta: Any) -> Object:
    """A RetrainSchedule as far as a model reads it."""
    status = {"candidate": {"version": uri[-1], "uri": uri, "run": f"{name}-run"}} if uri else {}
    meta = {"namespace": NAMESPACE, "name": name, "uid": name, "resourceVersion": "5", **meta}
    body = {"metadata": meta, "spec": {"model": model}, "status": status}
    return {"apiVersion": "trimtab.dev/v1alpha1", "kind": "RetrainSchedule", **body}


def followed(uri: str, *schedules: Object, registry: Asked | None = None, before: str = "") -> mlmodel.Resolution:
    store = Store({"RetrainSchedule": lambda obj: tuple(mlmodel.told_by(obj))})
    for item in schedules:
        store.absorb(item)
    obj = mlmodel_object(uri)
    obj["status"] = {"resolvedUri": before}
    return drive(mlmodel.observe(MLModel.parse(obj), store, PLATFORM, registry or Asked())).resolution


ALIAS = "models:/credit@champion"


def test_a_candidate_is_followed_in_the_alias_s_place_whatever_the_registry_says() -> None:
    registry = Asked()
    registry.down = True
    found = followed(ALIAS, schedule("weekly", "models:/credit/9"), registry=registry)
    assert found == mlmodel.Resolution("models:/credit/9", candidate="weekly (run weekly-run)")
    assert registry.questions == []


def test_a_schedule_without_a_candidate_or_of_another_model_or_on_its_way_out_changes_nothing() -> None:
    others = (
        schedule("a"),
        schedule("b", "models:/credit/9", model="fraud"),
        schedule("c", "models:/credit/8", deletionTimestamp="2030-01-01T00:00:00Z"),
    )
    assert followed(ALIAS, *others) == mlmodel.Resolution("models:/credit/7")


@pytest.mark.parametrize(
    ("source", "candidate", "why"),
    [
        (ALIAS, "models:/fraud/9", "it is no version of credit"),
        (ALIAS, "models:/credit@challenger", "it is no version of credit"),
        (ALIAS, "runs:/abc/model", "it is no version of credit"),
        ("models:/credit/3", "models:/credit/9", "the source is no alias"),
        ("models:/credit/latest", "models:/credit/9", "the source is no alias"),
        ("https://example.com/a", "models:/credit/9", "the source is no alias"),
    ],
)
def test_a_candidate_that_does_not_fit_the_source_is_ignored_and_said(source: str, candidate: str, why: str) -> None:
    found = followed(source, schedule("weekly", candidate))
    assert found.candidate == ""
    assert found.uri == followed(source).uri
    assert found.ignored == f"{candidate} of RetrainSchedule weekly is not followed: {why}"


def test_of_two_candidates_the_one_under_way_goes_on() -> None:
    both = schedule("a", "models:/credit/8"), schedule("b", "models:/credit/9")
    assert followed(ALIAS, *both).uri == "models:/credit/8"
    found = followed(ALIAS, *both, before="models:/credit/9")
    assert (found.uri, found.candidate) == ("models:/credit/9", "b (run b-run)")
    assert found.ignored == "models:/credit/8 of RetrainSchedule a is not followed: another one is tried"


def test_an_import_is_seen_with_its_pods() -> None:
    obj, store = mlmodel_object(), Store({})
    job = import_job(obj, "models:/credit/7")
    pod = kubelet.import_pod("p", "credit", "key")
    for item in (job, pod, kubelet.import_pod("other", "fraud", "key")):
        store.absorb(item)
    found = observed("models:/credit@champion", Asked(), store)
    assert [j["metadata"]["name"] for j in found.jobs] == [job["metadata"]["name"]]
    assert [p["metadata"]["name"] for p in found.pods] == ["p"]


class Patient(MemorySources):
    """Sources that note how old answers may be."""

    def __init__(self) -> None:
        super().__init__()
        self.ages: list[float] = []

    async def routers(self, pods: Sequence[Object], max_age_seconds: float) -> Mapping[str, RouterReport]:
        self.ages.append(max_age_seconds)
        return await super().routers(pods, max_age_seconds)


ROUTED = {"trimtab.dev/router": "risk"}


class TestModelDeployment:
    obj = mdep_object()

    def test_deployments_are_told_apart_by_their_names(self) -> None:
        one, two = workload(self.obj, 1), workload(self.obj, 2)
        del two["metadata"]["labels"]["trimtab.dev/revision"]
        found = seen_mdep(self.obj, None, [one, two, front(self.obj, 1)])
        names = {child["metadata"]["name"].removeprefix("risk-") for child in (one, two)}
        assert set(found.deployments) == names
        assert found.deployment("unheard-of") == {}

    @pytest.mark.parametrize(("selector", "revision"), [({"trimtab.dev/revision": "abc"}, "abc"), ({}, ""), (None, "")])
    def test_the_front_tells_whom_it_selects(self, selector: dict[str, str] | None, revision: str) -> None:
        service = front(self.obj, 1)
        service["spec"] = {"selector": selector} if selector is not None else {}
        assert seen_mdep(self.obj, None, [service]).selected("risk") == revision

    @pytest.mark.parametrize(("selector", "fresh"), [({"trimtab.dev/revision": "abc"}, True), (ROUTED, False)])
    def test_routers_that_the_front_waits_for_are_asked_again_and_again(
        self, selector: dict[str, str], fresh: bool
    ) -> None:
        """They say only later that they have found the pods; old answers would keep the front from them."""
        arm = {"name": "r1", "host": "risk-1.team-a.svc", "port": 8080, "reserved": 0, "revision": "1", "weight": 10000}
        told = {"salt": "s", "header": "x", "arms": [arm], "control": "r1"}
        obj = mdep_object(rollout={"strategy": "Canary"}) | {"status": {"router": told}}
        service, counts = front(obj, 1), Patient()
        service["spec"]["selector"] = selector
        seen_mdep(obj, None, [service], counts=counts)
        assert [age < 1 for age in counts.ages] == [fresh]

    def test_without_a_front_nobody_is_selected(self) -> None:
        assert seen_mdep(self.obj, None).selected("risk") == ""

    @pytest.mark.parametrize(
        ("spec", "name"), [({"model": {"name": "credit"}}, "credit"), ({"model": {}}, ""), ({}, ""), (None, "")]
    )
    def test_whoever_is_referred_to_is_known_before_the_object_is_understood(
        self, spec: dict[str, object] | None, name: str
    ) -> None:
        obj = {k: v for k, v in self.obj.items() if k != "spec"} | ({"spec": spec} if spec is not None else {})
        assert modeldeployment.model_ref(obj) == Ref("MLModel", "team-a", name)


def test_a_candidate_is_followed_by_deployments_that_are_neither_pinned_nor_on_their_way_out() -> None:
    """What is being deleted is not looked at any more, and would be waited for as long as something holds it up."""
    follows, pinned, goes = (retrain_lab.deployment_object(1, name) for name in ("follows", "pinned", "goes"))
    pinned["spec"]["model"]["revision"] = "sha256:" + "00" * 32
    goes["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    store = Store({"ModelDeployment": lambda obj: (modeldeployment.model_ref(obj),)})
    for obj in (follows, pinned, goes):
        store.absorb(obj)
    schedule = RetrainSchedule.parse(retrain_lab.schedule_object())
    tracking = MemoryTracking(MemoryRegistry())
    seen = drive(retrainschedule.observe(schedule, store, PLATFORM, tracking, MemoryNotifier()))
    assert [obj["metadata"]["name"] for obj in seen.followers] == ["follows"]
