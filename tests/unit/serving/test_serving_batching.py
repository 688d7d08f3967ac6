"""Batching: alone when free, together when they had to wait, and nobody pays for another's fault."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import pytest

from tests.virtual_time import clock, settle, virtual_time
from trimtab_serving.batching import Batcher
from trimtab_serving.protocol.datatypes import Array
from trimtab_serving.runtimes import ModelRefused


class Doubler(Executor):
    """Doubles rows once its gate is open, and remembers how many came at a time. It is its own executor."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._held: list[Callable[[], None]] = []
        self._open = False

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        answer: Future[Any] = Future()

        def run() -> None:
            try:
                answer.set_result(work(*arguments, **named))
            except Exception as error:
                answer.set_exception(error)

        self._held.append(run)
        if self._open:
            self.open()
        return answer

    def step(self) -> None:
        """Run the oldest of what is held."""
        self._held.pop(0)()

    def open(self) -> None:
        """Run what is held, and all that comes."""
        self._open = True
        while self._held:
            self.step()

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        self.sizes.append(len(inputs["x"]))
        if (inputs["x"] < 0).any():
            raise ModelRefused("negative")
        results = {"double": inputs["x"] * 2, "first": inputs["x"][:1]}
        return [results[name] for name in outputs]


@pytest.fixture
def doubler() -> Doubler:
    return Doubler()


def batcher(model: Doubler, max_rows: int = 8, max_wait: float = 0.0) -> Batcher:
    return Batcher(model.run, model, 1, max_rows, max_wait)


def ask(
    queue: Batcher, *values: float, names: Sequence[str] = ("double",), kind: str = "f4"
) -> asyncio.Task[list[Array]]:
    array = np.array(values, kind).reshape(-1, 1)
    return asyncio.create_task(queue.predict({"x": array}, names, len(values)))


async def one_that_queued(queue: Batcher, model: Doubler) -> asyncio.Task[list[Array]]:
    """The second of two requests, after the first was answered and the model is free."""
    running = ask(queue, 1)
    await settle()
    queued = ask(queue, 2)
    await settle()
    model.open()
    await running
    return queued


@virtual_time
async def test_what_waits_goes_together_and_gets_its_own_rows(doubler: Doubler) -> None:
    queue = batcher(doubler)
    first = ask(queue, 1)
    await settle()
    waiting = [ask(queue, 2), ask(queue, 3, 4), ask(queue, 5)]
    await settle()
    assert queue.depth == 3
    doubler.open()
    answers = [await task for task in (first, *waiting)]
    assert [answer[0].ravel().tolist() for answer in answers] == [[2], [4], [6, 8], [10]]
    assert doubler.sizes == [1, 4]
    assert queue.depth == 0


@virtual_time
async def test_batches_end_at_their_size_and_at_what_is_not_alike(doubler: Doubler) -> None:
    queue = batcher(doubler, max_rows=3)
    tasks = [ask(queue, 0)]
    await settle()
    tasks += [ask(queue, 1, 2), ask(queue, 3, 4), ask(queue, 5), ask(queue, 6, kind="f8"), ask(queue, 7, 8, 9, 10)]
    await settle()
    doubler.open()
    for task in tasks:
        await task
    assert doubler.sizes == [1, 2, 3, 1, 4]


@virtual_time
async def test_a_refused_row_fails_its_own_request_only(doubler: Doubler) -> None:
    queue = batcher(doubler)
    tasks = [ask(queue, 0)]
    await settle()
    tasks += [ask(queue, 1), ask(queue, -1), ask(queue, 2)]
    await settle()
    doubler.open()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [list, list, ModelRefused, list]
    assert doubler.sizes == [1, 3, 1, 1, 1]


@virtual_time
async def test_a_model_that_does_not_answer_row_by_row_is_asked_alone(doubler: Doubler) -> None:
    queue = batcher(doubler)
    tasks = [ask(queue, 0, names=("first",))]
    await settle()
    tasks += [ask(queue, 1, names=("first",)), ask(queue, 2, names=("first",))]
    await settle()
    doubler.open()
    answers = [await task for task in tasks]
    assert [answer[0].item() for answer in answers] == [0, 1, 2]


@virtual_time
async def test_who_gave_up_is_not_computed(doubler: Doubler) -> None:
    queue = batcher(doubler)
    first = ask(queue, 1)
    await settle()
    gone, stays = ask(queue, 2), ask(queue, 3)
    await settle()
    gone.cancel()
    doubler.open()
    await first
    assert (await stays)[0].item() == 6
    assert doubler.sizes == [1, 1]


@virtual_time
async def test_who_gave_up_while_all_were_tried_together_is_not_tried_alone(doubler: Doubler) -> None:
    queue = batcher(doubler)
    first = ask(queue, 0)
    await settle()
    refused, gone, stays = ask(queue, -1), ask(queue, 2), ask(queue, 3)
    await settle()
    doubler.step()
    await first
    await settle()
    gone.cancel()
    doubler.open()
    assert (await stays)[0].item() == 6
    with pytest.raises(ModelRefused):
        await refused
    assert doubler.sizes == [1, 3, 1, 1]


@virtual_time
async def test_a_free_model_waits_for_nobody(doubler: Doubler) -> None:
    doubler.open()
    start = clock()
    await ask(batcher(doubler, max_rows=2, max_wait=60), 1)
    assert clock() == start


@virtual_time
async def test_a_wait_lets_a_batch_fill(doubler: Doubler) -> None:
    queue = batcher(doubler, max_rows=2, max_wait=60)
    start, queued = clock(), await one_that_queued(queue, doubler)
    await asyncio.sleep(30)
    assert not queued.done()
    assert (await ask(queue, 3))[0].item() == 6
    assert (await queued)[0].item() == 4
    assert clock() == start + 30
    assert doubler.sizes == [1, 2]


@virtual_time
async def test_a_wait_for_others_ends(doubler: Doubler) -> None:
    queue = batcher(doubler, max_rows=2, max_wait=60)
    start, queued = clock(), await one_that_queued(queue, doubler)
    assert (await queued)[0].item() == 4
    assert clock() == pytest.approx(start + 60)
    assert doubler.sizes == [1, 1]
