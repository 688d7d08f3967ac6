"""The work queue under any sequence of calls: no key is lost, none is held twice, none waits for nothing."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.virtual_time import VirtualLoop, clock
from trimtab.runtime.metrics import Metrics, QueueMetrics
from trimtab.runtime.queue import LAST_DELAY, Queue

KEYS = "abc"
METRICS = Metrics()
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["add", "later"]), st.sampled_from(KEYS), st.integers(0, 50)),
        st.tuples(st.just("pause"), st.just(""), st.integers(0, 70)),
    ),
    max_size=30,
)
endings = st.lists(st.sampled_from(["done", "retry", "again"]), min_size=1, max_size=20)


class Crew:
    """Workers that take keys, work for a while and let go of them, each time with the next of some endings."""

    def __init__(self, endings: list[str]) -> None:
        self.queue = Queue[str](QueueMetrics(METRICS, "crew"), jitter=lambda: 0.5)
        self.endings = endings
        self.held: set[str] = set()
        self.begun: dict[str, float] = {}
        self.retries: dict[str, float] = {}

    async def work(self) -> None:
        while (key := await self.queue.take()) is not None:
            assert key not in self.held, "held by two workers"
            self.held.add(key)
            self.begun[key] = clock()
            await asyncio.sleep(1)
            ending = self.endings.pop(0) if self.endings else "done"
            if ending == "done":
                self.queue.forget(key)
            else:
                delay = self.queue.retry(key) if ending == "retry" else 7.0
                assert delay <= LAST_DELAY
                self.queue.add_after(key, delay)
            self.held.discard(key)
            self.queue.done(key)

    async def live(self, steps: list[tuple[str, str, int]], workers: int) -> None:
        tasks = [asyncio.create_task(self.work()) for _ in range(workers)]
        wanted: dict[str, float] = {}
        for what, key, seconds in steps:
            if what == "pause":
                await asyncio.sleep(seconds)
            elif what == "add":
                self.queue.add(key)
                wanted[key] = clock()
            else:
                self.queue.add_after(key, seconds)
                wanted[key] = max(wanted.get(key, 0), clock())
        await asyncio.sleep(1_000)
        assert self.held == set()
        assert len(self.queue) == 0
        for key, moment in wanted.items():
            assert self.begun.get(key, -1) >= moment, f"{key} was asked for at {moment} and not looked at since"
        self.queue.close()
        await asyncio.gather(*tasks)


@given(steps, endings, st.integers(1, 3))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_every_wish_is_followed_by_a_look(steps: list[tuple[str, str, int]], endings: list[str], workers: int) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(Crew(endings).live(steps, workers))
