"""Batching: alone when free, together when they had to wait, and nobody pays for another's fault."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from trimtab_serving.batching import Batcher
from trimtab_serving.protocol.datatypes import Array
from trimtab_serving.runtimes import ModelRefused


class Doubler:
    """Doubles rows behind a gate and remembers how many came at a time."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.sizes: list[int] = []

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        self.sizes.append(len(inputs["x"]))
        assert self.gate.wait(10)
        if (inputs["x"] < 0).any():
            raise ModelRefused("negative")
        results = {"double": inputs["x"] * 2, "first": inputs["x"][:1]}
        return [results[name] for name in outputs]


@pytest.fixture
async def doubler() -> AsyncIterator[Doubler]:
    model = Doubler()
    yield model
    model.gate.set()


def batcher(model: Doubler, max_rows: int = 8, max_wait: float = 0.0) -> Batcher:
    return Batcher(model.run, ThreadPoolExecutor(1), 1, max_rows, max_wait)


def ask(
    queue: Batcher, *values: float, names: Sequence[str] = ("double",), kind: str = "f4"
) -> asyncio.Task[list[Array]]:
    array = np.array(values, kind).reshape(-1, 1)
    return asyncio.create_task(queue.predict({"x": array}, names, len(values)))


async def test_what_waits_goes_together_and_gets_its_own_rows(doubler: Doubler) -> None:
    queue = batcher(doubler)
    first = ask(queue, 1)
    await asyncio.sleep(0.01)
    waiting = [ask(queue, 2), ask(queue, 3, 4), ask(queue, 5)]
    await asyncio.sleep(0.01)
    assert queue.depth == 3
    doubler.gate.set()
    answers = [await task for task in (first, *waiting)]
    assert [answer[0].ravel().tolist() for answer in answers] == [[2], [4], [6, 8], [10]]
    assert doubler.sizes == [1, 4]
    assert queue.depth == 0


async def test_batches_end_at_their_size_and_at_what_is_not_alike(doubler: Doubler) -> None:
    queue = batcher(doubler, max_rows=3)
    tasks = [ask(queue, 0)]
    await asyncio.sleep(0.01)
    tasks += [ask(queue, 1, 2), ask(queue, 3, 4), ask(queue, 5), ask(queue, 6, kind="f8"), ask(queue, 7, 8, 9, 10)]
    await asyncio.sleep(0.01)
    doubler.gate.set()
    for task in tasks:
        await task
    assert doubler.sizes == [1, 2, 3, 1, 4]


async def test_a_refused_row_fails_its_own_request_only(doubler: Doubler) -> None:
    queue = batcher(doubler)
    tasks = [ask(queue, 0)]
    await asyncio.sleep(0.01)
    tasks += [ask(queue, 1), ask(queue, -1), ask(queue, 2)]
    doubler.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [list, list, ModelRefused, list]


async def test_a_model_that_does_not_answer_row_by_row_is_asked_alone(doubler: Doubler) -> None:
    queue = batcher(doubler)
    tasks = [ask(queue, 0, names=("first",))]
    await asyncio.sleep(0.01)
    tasks += [ask(queue, 1, names=("first",)), ask(queue, 2, names=("first",))]
    doubler.gate.set()
    answers = [await task for task in tasks]
    assert [answer[0].item() for answer in answers] == [0, 1, 2]


async def test_who_gave_up_is_not_computed(doubler: Doubler) -> None:
    queue = batcher(doubler)
    first = ask(queue, 1)
    await asyncio.sleep(0.01)
    gone, stays = ask(queue, 2), ask(queue, 3)
    await asyncio.sleep(0.01)
    gone.cancel()
    doubler.gate.set()
    await first
    assert (await stays)[0].item() == 6
    assert doubler.sizes == [1, 1]


async def test_a_wait_lets_a_batch_fill(doubler: Doubler) -> None:
    doubler.gate.set()
    queue = batcher(doubler, max_rows=2, max_wait=0.2)
    loop = asyncio.get_running_loop()
    start = loop.time()
    await ask(queue, 1)
    assert loop.time() - start < 0.1  # a free model waits for nobody
    doubler.gate.clear()
    tasks = [ask(queue, 1)]
    await asyncio.sleep(0.01)
    tasks.append(ask(queue, 2))
    await asyncio.sleep(0.01)
    doubler.gate.set()
    await tasks[0]
    await asyncio.sleep(0.01)
    assert not tasks[1].done()
    tasks.append(ask(queue, 3))
    assert (await tasks[2])[0].item() == 6
    assert doubler.sizes == [1, 1, 2]
