"""A work queue with client-go's promises.

A key is held by at most one worker; an add during work runs it once more afterwards; failures back off per key and
success forgets; of several delayed adds only the earliest counts. Nothing here knows what a key means.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from trimtab.runtime.metrics import QueueMetrics

K = TypeVar("K")

FIRST_DELAY = 1.0
LAST_DELAY = 60.0


class Queue(Generic[K]):
    """Keys waiting for work, in the order they came, each at most once. Delays are in seconds."""

    def __init__(self, metrics: QueueMetrics, jitter: Callable[[], float] = random.random) -> None:
        self._metrics = metrics
        self._jitter = jitter
        self._waiting: OrderedDict[K, float] = OrderedDict()
        self._working: dict[K, float] = {}
        self._dirty: set[K] = set()
        self._failures: dict[K, int] = {}
        # Beside each timer the time it is due: what uvloop gives for a time that is all but now does not know it.
        self._timers: dict[K, tuple[float, asyncio.Handle]] = {}
        self._wakeups: set[asyncio.Future[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: K) -> None:
        """Ask for work on a key, now."""
        if key in self._working:
            self._dirty.add(key)
        elif key not in self._waiting:
            self._waiting[key] = _clock()
            self._metrics.added(len(self._waiting))
            self._wake()

    def add_after(self, key: K, delay: float) -> None:
        """Ask for work on a key later; an earlier appointment stands."""
        due = _clock() + delay
        held = self._timers.get(key)
        if held is not None and held[0] <= due:
            return
        if held is not None:
            held[1].cancel()
        self._timers[key] = due, asyncio.get_running_loop().call_later(delay, self._due, key)

    async def take(self) -> K | None:
        """Wait for a key and hold it until `done`; None once the queue is closed."""
        while not self._waiting and not self._closed:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._wakeups.add(future)
            try:
                await future
            finally:
                self._wakeups.discard(future)
        if self._closed:
            return None
        key, since = self._waiting.popitem(last=False)
        self._working[key] = _clock()
        self._metrics.taken(len(self._waiting), _clock() - since)
        return key

    def close(self) -> None:
        """Hand out no more keys."""
        self._closed = True
        for _, timer in self._timers.values():
            timer.cancel()
        for future in self._wakeups:
            if not future.done():
                future.set_result(None)

    def done(self, key: K) -> None:
        """Let go of a key; if it was added meanwhile, it comes again."""
        self._metrics.worked(_clock() - self._working.pop(key))
        if key in self._dirty:
            self._dirty.discard(key)
            self.add(key)

    def retry(self, key: K, at_least: float | None = None) -> float:
        """Ask for work on a key after a failure; the delay, which doubles with each failure in a row."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay: float = min(FIRST_DELAY * 2 ** min(count, 10), LAST_DELAY) * (0.8 + 0.4 * self._jitter())
        if at_least is not None:  # a time the server named: spread after it, never before
            delay = max(delay, at_least * (1 + 0.2 * self._jitter()))
        self._metrics.retried()
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """A key succeeded: its next failure is its first again."""
        self._failures.pop(key, None)

    def drop(self, key: K) -> None:
        """A key needs no further look, because all is well or its object is gone: nor does it any appointment."""
        self.forget(key)
        held = self._timers.pop(key, None)
        if held is not None:
            held[1].cancel()

    def longest(self) -> float:
        """Seconds the longest work now under way has taken."""
        return max((_clock() - since for since in self._working.values()), default=0.0)

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _wake(self) -> None:
        for future in self._wakeups:
            if not future.done():
                future.set_result(None)
                return


def _clock() -> float:
    return asyncio.get_running_loop().time()
