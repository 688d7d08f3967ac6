"""What is read before deciding: references as the registry tells them, and children, pods and models from memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.memory_operator import PLATFORM, MemoryRegistry, MemorySources, drive
from tests.unit.kinds import kubelet
from tests.unit.kinds.builders import (
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
