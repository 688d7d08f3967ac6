"""Workers: how many, on what, and what becomes of each end a pass can have."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.virtual_time import clock, settle, virtual_time
from trimtab.core.objects import Ref
from trimtab.runtime import logs
from trimtab.runtime.cluster import ApiError, NotLeader
from trimtab.runtime.controller import Controller
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.reconciler import Reconciler, Refused

A, B, C = (Ref("MLModel", "ns", name) for name in "abc")
Ending = Callable[[Ref], timedelta | None]


class Passes(Reconciler):
    """Passes that end as a test wants, after as many seconds as it wants."""

    def __init__(self) -> None:
        self.begun: list[tuple[float, Ref]] = []
        self.under_way: list[Ref] = []
        self.most = 0
        self.seconds = 0.0
        self.end: Ending = lambda _: None

    async def reconcile(self, ref: Ref) -> timedelta | None:
        assert ref not in self.under_way, "two workers on one object"
        self.begun.append((clock(), ref))
        self.under_way.append(ref)
        self.most = max(self.most, len(self.under_way))
        try:
            await asyncio.sleep(self.seconds)
            return self.end(ref)
        finally:
            self.under_way.remove(ref)

    def at(self) -> list[float]:
        """Seconds from the first pass to each."""
        return [round(moment - self.begun[0][0], 3) for moment, _ in self.begun]


@pytest.fixture
def passes() -> Passes:
    return Passes()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def controller(passes: Passes, metrics: Metrics) -> Controller:
    made = Controller("MLModel", passes, metrics, workers=2)
    made.queue._jitter = lambda: 0.5
    return made


def fail_with(error: Exception, times: int = 1_000) -> Ending:
    """A pass that raises so many times, then succeeds."""
    left = times

    def end(_: Ref) -> timedelta | None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error
        return None

    return end


def results(metrics: Metrics) -> dict[str, float]:
    (family,) = (f for f in metrics.registry.collect() if f.name == "controller_runtime_reconcile")
    return {s.labels["result"]: s.value for s in family.samples if s.name.endswith("_total")}


@virtual_time
async def test_followers_remember_and_leaders_work(controller: Controller, passes: Passes) -> None:
    controller.start()
    controller.add([A, B, A])
    await settle()
    assert passes.begun == []
    assert len(controller.queue) == 2
    controller.open()
    await settle()
    assert [ref for _, ref in passes.begun] == [A, B]


@virtual_time
async def test_no_more_workers_than_allowed(controller: Controller, passes: Passes) -> None:
    passes.seconds = 1
    controller.start()
    controller.open()
    controller.add([A, B, C])
    await asyncio.sleep(10)
    assert passes.most == 2
    assert passes.at() == [0, 0, 1]


@virtual_time
async def test_an_object_that_changes_during_a_pass_gets_another(controller: Controller, passes: Passes) -> None:
    passes.seconds = 1
    controller.start()
    controller.open()
    controller.add([A])
    await asyncio.sleep(0.5)
    controller.add([A])
    controller.add([A])
    await asyncio.sleep(10)
    assert passes.at() == [0, 1]


@virtual_time
async def test_a_pass_that_wants_to_come_again_does(controller: Controller, passes: Passes, metrics: Metrics) -> None:
    passes.end = lambda _: timedelta(seconds=30)
    controller.start()
    controller.open()
    controller.add([A])
    await asyncio.sleep(100)
    assert passes.at() == [0, 30, 60, 90]
    assert results(metrics) == {"requeue_after": 4}


@virtual_time
async def test_an_object_that_is_settled_or_gone_has_no_appointments(controller: Controller, passes: Passes) -> None:
    passes.end = lambda _: timedelta(seconds=30)
    controller.start()
    controller.open()
    controller.add([A])
    await asyncio.sleep(10)
    passes.end = lambda _: None
    controller.add([A])
    await asyncio.sleep(1_000)
    assert passes.at() == [0, 10]


@pytest.mark.parametrize(
    "error",
    [ApiError(500, "InternalError", "no"), Refused("QuotaExceeded", "full"), KeyError("a bug"), NotLeader("PATCH")],
    ids=lambda error: type(error).__name__,
)
@virtual_time
async def test_whatever_goes_wrong_is_tried_again_more_and_more_slowly(
    controller: Controller, passes: Passes, metrics: Metrics, error: Exception
) -> None:
    """A replica that may not write at the moment may still renew its lease in time: it must forget nothing either."""
    passes.end = fail_with(error, times=4)
    controller.start()
    controller.open()
    controller.add([A])
    await asyncio.sleep(1_000)
    assert passes.at() == [0, 1, 3, 7, 15]
    assert results(metrics) == {"error": 4, "success": 1}


@virtual_time
async def test_success_starts_the_count_of_failures_anew(controller: Controller, passes: Passes) -> None:
    passes.end = fail_with(ApiError(500, "InternalError", "no"), times=2)
    controller.start()
    controller.open()
    controller.add([A])
    await asyncio.sleep(100)
    passes.end = fail_with(ApiError(500, "InternalError", "no"), times=1)
    controller.add([A])
    await asyncio.sleep(100)
    assert passes.at() == [0, 1, 3, 100, 101]


@virtual_time
async def test_a_server_that_names_a_time_is_not_asked_before(controller: Controller, passes: Passes) -> None:
    passes.end = fail_with(ApiError(429, "TooManyRequests", "later", retry_after=20), times=1)
    controller.start()
    controller.open()
    controller.add([A])
    await asyncio.sleep(100)
    assert 20 <= passes.at()[1] <= 24


@virtual_time
async def test_one_bad_object_does_not_hold_up_another(controller: Controller, passes: Passes) -> None:
    def end(ref: Ref) -> timedelta | None:
        if ref == A:
            raise KeyError("a bug")
        return None

    passes.end = end
    controller.start()
    controller.open()
    controller.add([A, B])
    await settle()
    assert {ref for _, ref in passes.begun} == {A, B}


@virtual_time
async def test_stopping_lets_passes_finish(controller: Controller, passes: Passes) -> None:
    passes.seconds = 5
    controller.start()
    controller.open()
    controller.add([A, B, C])
    await asyncio.sleep(1)
    began = clock()
    await controller.stop(15)
    assert clock() - began == pytest.approx(4)
    assert [ref for _, ref in passes.begun] == [A, B], "nothing new is begun"


@virtual_time
async def test_stopping_does_not_wait_for_ever(controller: Controller, passes: Passes) -> None:
    passes.seconds = 1_000
    controller.start()
    controller.open()
    controller.add([A])
    await asyncio.sleep(1)
    began = clock()
    await controller.stop(15)
    assert clock() - began == pytest.approx(15)
    assert passes.under_way == [], "a pass that is too late is over when stop returns"


@virtual_time
async def test_a_follower_stops_at_once(controller: Controller, passes: Passes) -> None:
    controller.start()
    controller.add([A])
    began = clock()
    await controller.stop(15)
    assert clock() == began
    assert passes.begun == []


@virtual_time
async def test_a_controller_that_never_started_can_be_stopped(controller: Controller) -> None:
    await controller.stop(15)


@virtual_time
async def test_each_line_of_a_pass_names_the_object(
    controller: Controller, passes: Passes, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[dict[str, str]] = []

    def end(ref: Ref) -> timedelta | None:
        seen.append(logs.context.get())
        raise ApiError(500, "InternalError", "the server is on fire")

    passes.end = end
    with caplog.at_level(logging.WARNING):
        controller.start()
        controller.open()
        controller.add([A, B])
        await settle()
    assert [line["object"] for line in seen] == ["MLModel/ns/a", "MLModel/ns/b"]
    assert {line["controller"] for line in seen} == {"MLModel"}
    assert seen[0]["reconcile"] != seen[1]["reconcile"]
    assert [vars(record)["error"] for record in caplog.records] == ["the server is on fire"] * 2


@virtual_time
async def test_an_unexpected_error_is_logged_with_its_origin(
    controller: Controller, passes: Passes, caplog: pytest.LogCaptureFixture
) -> None:
    passes.end = fail_with(KeyError("a bug"), times=1)
    controller.start()
    controller.open()
    controller.add([A])
    await settle()
    assert any(record.exc_info for record in caplog.records)


@virtual_time
async def test_workers_are_counted(controller: Controller, passes: Passes, metrics: Metrics) -> None:
    def value(name: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"controller": "MLModel"})

    passes.seconds = 1
    controller.start()
    controller.open()
    controller.add([A, B])
    await settle()
    assert value("controller_runtime_active_workers") == 2
    assert value("controller_runtime_max_concurrent_reconciles") == 2
    await asyncio.sleep(2)
    assert value("controller_runtime_active_workers") == 0
    assert value("controller_runtime_reconcile_time_seconds_count") == 2
    assert value("controller_runtime_reconcile_errors_total") in (None, 0)
