"""Requests that wait for the same busy model go in together.

Nothing waits for company: a request that finds the model free runs at once and alone. Only what has had to queue
behind running predictions is joined, up to `max_rows`; and only when a wait is asked for does a free model wait
for a batch in the making to fill up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from trimtab_serving.protocol.datatypes import Array
from trimtab_serving.runtimes import ModelRefused

Run = Callable[[Mapping[str, Array], Sequence[str]], list[Array]]


class Waiting(NamedTuple):
    """A request in the queue."""

    arrays: Mapping[str, Array]
    names: Sequence[str]
    rows: int
    since: float
    answer: asyncio.Future[Sequence[Array]]


class Batcher:
    """Runs predictions on `slots` threads, joining those that wait. Belongs to one event loop."""

    def __init__(self, run: Run, executor: Executor, slots: int, max_rows: int = 1, max_wait: float = 0.0) -> None:
        self._run, self._executor = run, executor
        self._free = slots
        self._max_rows, self._max_wait = max_rows, max_wait
        self._queue: deque[Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def depth(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    async def predict(self, arrays: Mapping[str, Array], names: Sequence[str], rows: int) -> Sequence[Array]:
        """The model's answers; whatever the model raises."""
        loop = asyncio.get_running_loop()
        if self._free and not self._queue:
            self._free -= 1
            try:
                return await loop.run_in_executor(self._executor, self._run, arrays, names)
            finally:
                self._release()
        waiting = Waiting(arrays, names, rows, loop.time(), loop.create_future())
        self._queue.append(waiting)
        self._dispatch()
        return await waiting.answer

    def _release(self) -> None:
        self._free += 1
        self._dispatch()

    def _dispatch(self) -> None:
        while self._free and self._queue:
            batch = self._take()
            if not batch:
                return
            self._free -= 1
            task = asyncio.get_running_loop().create_task(self._answer(batch))
            task.add_done_callback(lambda _: self._release())

    def _take(self) -> list[Waiting]:
        """The next batch; none while it is worth waiting for more."""
        while self._queue and self._queue[0].answer.done():  # its client is gone
            self._queue.popleft()
        if not self._queue:
            return []
        first = self._queue[0]
        joined = [first]
        rows, alike = first.rows, kind(first.arrays, first.names)
        for other in list(self._queue)[1:]:
            if rows + other.rows > self._max_rows or alike != kind(other.arrays, other.names):
                break
            joined.append(other)
            rows += other.rows
        left = first.since + self._max_wait - asyncio.get_running_loop().time()
        if left > 0 and len(joined) == len(self._queue) and rows < self._max_rows:
            self._wait(left)
            return []
        for _ in joined:
            self._queue.popleft()
        return joined

    def _wait(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._dispatch()

    async def _answer(self, batch: list[Waiting]) -> None:
        live = [waiting for waiting in batch if not waiting.answer.done()]
        if len(live) > 1 and await self._answer_together(live):
            return
        loop = asyncio.get_running_loop()
        for waiting in live:
            if waiting.answer.done():  # its client has gone while those before it were tried
                continue
            try:
                answer = await loop.run_in_executor(self._executor, self._run, waiting.arrays, waiting.names)
            except Exception as error:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            else:
                _settle(waiting, answer)

    async def _answer_together(self, live: list[Waiting]) -> bool:
        """Whether all could be answered at once; when one of them is at fault, each alone says whose it is."""
        try:
            parts = await asyncio.get_running_loop().run_in_executor(self._executor, self._joined, live)
        except Exception:
            return False
        for waiting, part in zip(live, parts, strict=True):
            _settle(waiting, part)
        return True

    def _joined(self, batch: Sequence[Waiting]) -> list[Sequence[Array]]:
        results = self._run(join([waiting.arrays for waiting in batch]), batch[0].names)
        return split(results, [waiting.rows for waiting in batch])


def _settle(waiting: Waiting, answer: Sequence[Array]) -> None:
    if not waiting.answer.done():
        waiting.answer.set_result(answer)


def kind(arrays: Mapping[str, Array], names: Sequence[str]) -> object:
    """What requests must share to be joined: the inputs, their types and the shapes of a row, and the outputs."""
    return names, *[(name, array.dtype, array.shape[1:]) for name, array in arrays.items()]


def join(requests: Sequence[Mapping[str, Array]]) -> Mapping[str, Array]:
    """The rows of all requests, which are of one kind, in their order."""
    if len(requests) == 1:
        return requests[0]
    return {name: np.concatenate([arrays[name] for arrays in requests]) for name in requests[0]}


def split(results: Sequence[Array], rows: Sequence[int]) -> list[Sequence[Array]]:
    """Each request's part of the results, by its number of rows; ModelRefused when there are other numbers of rows."""
    if len(rows) == 1:
        return [results]
    ends = list(accumulate(rows))
    if any(len(result) != ends[-1] for result in results):
        raise ModelRefused("the model does not answer row by row; it cannot be batched")
    return [[result[end - count : end] for result in results] for count, end in zip(rows, ends, strict=True)]
