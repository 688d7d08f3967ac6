"""The promises of the work queue, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from tests.virtual_time import settle, virtual_time
from trimtab.runtime.metrics import Metrics, QueueMetrics
from trimtab.runtime.queue import FIRST_DELAY, LAST_DELAY, Queue


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def queue(metrics: Metrics) -> Queue[str]:
    return Queue(QueueMetrics(metrics, "q"), jitter=lambda: 0.5)


@virtual_time
async def test_keys_come_in_the_order_they_were_added_each_once(queue: Queue[str]) -> None:
    for key in "abacb":
        queue.add(key)
    assert len(queue) == 3
    assert [await queue.take() for _ in range(3)] == ["a", "b", "c"]
    assert len(queue) == 0


@virtual_time
async def test_a_key_at_work_is_not_given_out_again_but_comes_once_more_afterwards(queue: Queue[str]) -> None:
    queue.add("a")
    await queue.take()
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert len(queue) == 1
    await queue.take()
    queue.done("a")
    assert len(queue) == 0


@virtual_time
async def test_waiting_workers_are_woken_one_for_each_key(queue: Queue[str]) -> None:
    workers = [asyncio.create_task(queue.take()) for _ in range(3)]
    await settle()
    queue.add("a")
    queue.add("b")
    await settle()
    assert {task.result() for task in workers if task.done()} == {"a", "b"}
    queue.close()
    assert {await task for task in workers} == {"a", "b", None}


@virtual_time
async def test_a_closed_queue_gives_out_nothing(queue: Queue[str]) -> None:
    queue.add("a")
    queue.add_after("b", 1)
    waiting = asyncio.create_task(queue.take())
    assert await waiting == "a"
    queue.close()
    queue.add("c")
    await asyncio.sleep(10)
    assert await queue.take() is None


@virtual_time
async def test_an_appointment_is_kept(queue: Queue[str]) -> None:
    queue.add_after("a", 10)
    await asyncio.sleep(9.9)
    assert len(queue) == 0
    await asyncio.sleep(0.1)
    assert await queue.take() == "a"


@pytest.mark.parametrize("delays", [(10, 5), (5, 10), (5, 5)])
@virtual_time
async def test_of_several_appointments_the_earliest_counts(queue: Queue[str], delays: tuple[int, int]) -> None:
    for delay in delays:
        queue.add_after("a", delay)
    await asyncio.sleep(5)
    assert await queue.take() == "a"
    queue.done("a")
    await asyncio.sleep(100)
    assert len(queue) == 0


def test_an_appointment_within_the_same_millisecond_is_one_like_others(queue: Queue[str]) -> None:
    """The operator's loop gives no timer for it, but a plain call, which does not know its time."""

    async def twice() -> str | None:
        queue.add_after("a", 1e-5)
        queue.add_after("a", 60)
        return await queue.take()

    assert uvloop.run(twice()) == "a"


@virtual_time
async def test_a_kept_appointment_makes_room_for_the_next(queue: Queue[str]) -> None:
    for _ in range(3):
        queue.add_after("a", 10)
        await asyncio.sleep(10)
        assert await queue.take() == "a"
        queue.done("a")


@virtual_time
async def test_failures_in_a_row_wait_twice_as_long_each_time(queue: Queue[str]) -> None:
    delays = []
    for _ in range(9):
        delays.append(queue.retry("a"))
        await asyncio.sleep(delays[-1])
        assert await queue.take() == "a"
        queue.done("a")
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert (FIRST_DELAY, LAST_DELAY) == (1, 60)


@virtual_time
async def test_success_forgets_failures(queue: Queue[str]) -> None:
    for _ in range(5):
        queue.retry("a")
    queue.forget("a")
    assert queue.retry("a") == FIRST_DELAY
    assert queue.retry("b") == FIRST_DELAY


@pytest.mark.parametrize(("chance", "delay"), [(0.0, 0.8), (1.0, 1.2)])
@virtual_time
async def test_delays_are_spread(metrics: Metrics, chance: float, delay: float) -> None:
    assert Queue[str](QueueMetrics(metrics, "q"), jitter=lambda: chance).retry("a") == pytest.approx(delay)


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
@virtual_time
async def test_a_server_that_names_a_time_is_not_asked_before(metrics: Metrics, chance: float) -> None:
    queue = Queue[str](QueueMetrics(metrics, "q"), jitter=lambda: chance)
    assert 10 <= queue.retry("a", 10) <= 14


@virtual_time
async def test_a_failing_key_that_changed_does_not_wait(queue: Queue[str]) -> None:
    queue.add("a")
    await queue.take()
    queue.add("a")
    queue.retry("a")
    queue.done("a")
    assert await queue.take() == "a"


@virtual_time
async def test_what_is_gone_has_no_appointments(queue: Queue[str]) -> None:
    queue.retry("a")
    queue.drop("a")
    queue.drop("never seen")
    await asyncio.sleep(1_000)
    assert len(queue) == 0
    assert queue.retry("a") == FIRST_DELAY


@virtual_time
async def test_the_longest_work_is_told(queue: Queue[str]) -> None:
    assert queue.longest() == 0
    queue.add("a")
    queue.add("b")
    await queue.take()
    await asyncio.sleep(5)
    await queue.take()
    await asyncio.sleep(1)
    assert queue.longest() == 6
    queue.done("a")
    assert queue.longest() == 1


@virtual_time
async def test_everything_is_counted(queue: Queue[str], metrics: Metrics) -> None:
    queue.add("a")
    queue.add("a")
    await asyncio.sleep(3)
    await queue.take()
    await asyncio.sleep(2)
    queue.retry("a")
    queue.done("a")
    value = {
        sample.name: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.labels.get("name") == "q" and not sample.name.endswith(("_bucket", "_created"))
    }
    assert value == {
        "workqueue_adds_total": 1,
        "workqueue_depth": 0,
        "workqueue_queue_duration_seconds_count": 1,
        "workqueue_queue_duration_seconds_sum": 3,
        "workqueue_work_duration_seconds_count": 1,
        "workqueue_work_duration_seconds_sum": 2,
        "workqueue_retries_total": 1,
    }
