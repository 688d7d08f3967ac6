"""Filling the picture and checking it: what watches never told is found, counted and looked at."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest

from tests.memory_cluster import MemoryCluster
from tests.memory_operator import drive
from tests.unit.kinds.builders import mdep_object, mlmodel_object
from tests.virtual_time import clock, virtual_time
from trimtab.core.objects import HTTP_ROUTE, SERVICE, Object, Ref, Resource
from trimtab.kinds import KINDS
from trimtab.runtime.cluster import ApiError
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.picture import Picture
from trimtab.runtime.store import Store

MLMODEL, MDEP = (KINDS[name].resource for name in ("MLModel", "ModelDeployment"))
MODEL_REF = Ref("MLModel", "team-a", "credit")
MDEP_REF = Ref("ModelDeployment", "team-a", "risk")


class Setup:
    """A picture of an API server in memory, and whom it asked to look again."""

    def __init__(self, namespaces: Iterable[str] = ()) -> None:
        self.cluster = MemoryCluster()
        self.store = Store.of(KINDS)
        self.metrics = Metrics()
        self.dirty: list[Ref] = []
        resources = [MLMODEL, MDEP, SERVICE]
        self.picture = Picture(self.cluster, self.store, self.metrics, resources, tuple(namespaces), self.enqueue)

    def enqueue(self, refs: Iterable[Ref]) -> None:
        self.dirty += refs

    def repairs(self, kind: str) -> float | None:
        return self.metrics.registry.get_sample_value("trimtab_relist_repairs_total", {"kind": kind})


def service(name: str, managed: bool = True) -> Object:
    labels = {"app.kubernetes.io/managed-by": "trimtab"} if managed else {}
    owner = {"apiVersion": MDEP.api_version, "kind": MDEP.kind, "name": "risk", "uid": "uid-2", "controller": True}
    meta = {"name": name, "namespace": "team-a", "labels": labels, "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {}}


@pytest.fixture
def setup() -> Setup:
    made = Setup()
    made.cluster.put(mlmodel_object())
    made.cluster.put(mdep_object())
    made.cluster.put(service("risk"))
    return made


class TestCheck:
    def test_the_first_look_finds_everything_of_ours(self, setup: Setup) -> None:
        for name in ("b", "c", "d"):
            setup.cluster.put(service(name))
        setup.cluster.put(service("theirs", managed=False))
        drive(setup.picture.check())
        assert setup.store.count() == {"MLModel": 1, "ModelDeployment": 1, "Service": 4}
        assert set(setup.dirty) == {MODEL_REF, MDEP_REF}
        assert setup.repairs("Service") is None, "a beginning is no repair"

    def test_a_kind_that_somebody_else_would_bring_may_be_missing(self, setup: Setup) -> None:
        """Without the Gateway API's definitions there are no routes, and everything else is seen all the same."""
        pages = setup.cluster.pages

        def missing(resource: Resource, *rest: Any) -> AsyncIterator[Object]:
            if resource == HTTP_ROUTE:
                raise ApiError(404, "NotFound", "the server could not find the requested resource")
            return pages(resource, *rest)

        setup.cluster.pages = missing  # type: ignore[method-assign,assignment]
        resources = [HTTP_ROUTE, MLMODEL]
        picture = Picture(setup.cluster, setup.store, setup.metrics, resources, (), setup.enqueue)
        drive(picture.check())
        assert setup.store.count() == {"MLModel": 1}
        assert picture.age() is not None

    def test_listed_objects_know_their_kind(self, setup: Setup) -> None:
        """Items of a list come without apiVersion and kind."""
        for obj in setup.cluster.objects.values():
            del obj["kind"], obj["apiVersion"]
        drive(setup.picture.check())
        found = setup.store.get(MDEP_REF)
        assert found is not None
        assert (found["apiVersion"], found["kind"]) == (MDEP.api_version, MDEP.kind)

    def test_a_look_at_what_is_known_repairs_nothing(self, setup: Setup) -> None:
        drive(setup.picture.check())
        setup.dirty.clear()
        drive(setup.picture.check())
        assert setup.dirty == []
        assert setup.repairs("Service") is None

    def test_what_watches_missed_is_repaired_counted_and_told(
        self, setup: Setup, caplog: pytest.LogCaptureFixture
    ) -> None:
        drive(setup.picture.check())
        setup.dirty.clear()
        setup.cluster.remove(Ref("Service", "team-a", "risk"))
        setup.cluster.put(service("new"))
        setup.cluster.edit(MODEL_REF, lambda obj: obj["spec"].update(format="ONNX"))
        with caplog.at_level(logging.WARNING):
            drive(setup.picture.check())
        assert set(setup.dirty) == {MDEP_REF, MODEL_REF}
        assert setup.store.refs("Service") == [Ref("Service", "team-a", "new")]
        assert (setup.repairs("Service"), setup.repairs("MLModel")) == (2, 1)
        assert {(vars(r)["kind"], vars(r)["missed"]) for r in caplog.records} == {("Service", 2), ("MLModel", 1)}

    def test_only_the_namespaces_asked_for_are_listed(self) -> None:
        setup = Setup(["team-a", "team-c"])
        asked: list[tuple[str, str]] = []
        setup.cluster.before = lambda verb, ref: asked.append((ref.kind, ref.namespace))
        setup.cluster.put(mdep_object())
        other = mdep_object()
        other["metadata"]["namespace"] = "team-b"
        setup.cluster.put(other)
        drive(setup.picture.check())
        drive(setup.picture.check())
        assert setup.store.refs("ModelDeployment") == [MDEP_REF]
        assert set(asked) == {(r.kind, n) for r in (MLMODEL, MDEP, SERVICE) for n in ("team-a", "team-c")}

    def test_its_age_is_known_after_the_first_whole_look(self, setup: Setup) -> None:
        assert setup.picture.age() is None
        setup.cluster.before = _fail_for(SERVICE)
        with pytest.raises(ApiError):
            drive(setup.picture.check())
        assert setup.picture.age() is None
        setup.cluster.before = lambda verb, ref: None
        drive(setup.picture.check())
        age = setup.picture.age()
        assert age is not None
        assert 0 <= age < 60

    def test_a_list_that_breaks_off_makes_nobody_forget(self, setup: Setup) -> None:
        drive(setup.picture.check())
        setup.cluster.remove(Ref("Service", "team-a", "risk"))
        setup.cluster.before = _fail_for(SERVICE)
        with pytest.raises(ApiError):
            drive(setup.picture.check())
        assert setup.store.refs("Service") == [Ref("Service", "team-a", "risk")]


def test_an_event_is_taken_in_passed_on_and_counted(setup: Setup) -> None:
    assert set(setup.picture.absorb(setup.cluster.objects[MDEP_REF], False)) == {MDEP_REF}
    assert setup.dirty == [MDEP_REF]
    seen = setup.metrics.registry.get_sample_value("trimtab_watch_last_event_timestamp_seconds", {"kind": MDEP.kind})
    assert seen is not None
    assert seen > 0
    setup.picture.absorb(setup.cluster.objects[MDEP_REF], True)
    assert setup.store.get(MDEP_REF) is None


class TestWarm:
    @pytest.mark.parametrize(
        ("code", "hint"), [(404, "is the chart installed?"), (403, "are the operator's rights complete?")]
    )
    @virtual_time
    async def test_it_waits_for_a_cluster_that_cannot_be_listed(
        self, setup: Setup, caplog: pytest.LogCaptureFixture, code: int, hint: str
    ) -> None:
        tries: list[float] = []

        def fail(_: str, __: Ref) -> None:
            tries.append(clock())
            if len(tries) < 7:
                raise ApiError(code, "", "no")

        setup.cluster.before = fail
        with caplog.at_level(logging.WARNING):
            await setup.picture.warm()
        assert [b - a for a, b in itertools.pairwise(tries[:7])] == [1, 2, 4, 8, 15, 15]
        assert {vars(record)["hint"] for record in caplog.records} == {hint}
        assert setup.picture.age() is not None

    @virtual_time
    async def test_an_answer_it_cannot_read_is_not_taken_for_a_picture(self, setup: Setup) -> None:
        del setup.cluster.objects[MDEP_REF]["metadata"]["name"]
        with pytest.raises(KeyError):
            await setup.picture.warm()
        assert setup.picture.age() is None


class TestWatchOver:
    def looks(self, setup: Setup) -> list[float]:
        """When it listed; filled while it runs."""
        begun = clock()
        times: list[float] = []

        def note(_: str, ref: Ref) -> None:
            if ref.kind == MLMODEL.kind:
                times.append(clock() - begun)

        setup.cluster.before = note
        return times

    @pytest.mark.parametrize(("period", "expected"), [(600, [5, 30, 630, 1230]), (10, [5, 15, 25]), (2, [2, 4, 6])])
    @virtual_time
    async def test_it_looks_soon_after_the_watches_began_and_then_each_period(
        self, setup: Setup, period: float, expected: list[float]
    ) -> None:
        times = self.looks(setup)
        over = asyncio.create_task(setup.picture.watch_over(period))
        await asyncio.sleep(expected[-1] + 1)
        assert times == expected
        over.cancel()

    @pytest.mark.parametrize("error", [ApiError(503, "", "no"), KeyError("a bug")])
    @virtual_time
    async def test_a_look_that_failed_is_not_the_last(
        self, setup: Setup, caplog: pytest.LogCaptureFixture, error: Exception
    ) -> None:
        tries: list[float] = []

        def fail(_: str, __: Ref) -> None:
            tries.append(clock())
            raise error

        setup.cluster.before = fail
        over = asyncio.create_task(setup.picture.watch_over(10))
        await asyncio.sleep(30)
        assert len(tries) == 3
        assert not over.done()
        assert len(caplog.records) == 3
        over.cancel()


def _fail_for(resource: Resource) -> Callable[[str, Ref], None]:
    def fail(_: str, ref: Ref) -> None:
        if ref.kind == resource.kind:
            raise ApiError(503, "ServiceUnavailable", "no")

    return fail
