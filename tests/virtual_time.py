"""An event loop whose clock jumps to the next appointment when nobody has anything to do.

A test of minutes takes microseconds and always comes out the same. Where everybody waits for something that can never
come, the loop says so instead of hanging. Sockets and threads have no place in it: their time is real.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time begins at 1,000 seconds, so that a clock read as a truth value or compared with 0 shows itself."""

    def __init__(self) -> None:
        self.now = 1_000.0
        super().__init__(_Selector(self))
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self.now


class _Selector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("everybody waits, and nothing is on its way")
        if not ready and timeout:
            self._loop.now += timeout
        return ready


def virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an asynchronous test in virtual time; what it leaves running is cancelled."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def clock() -> float:
    """The running loop's time, in seconds."""
    return asyncio.get_running_loop().time()


async def settle() -> None:
    """Let everybody do what can be done without time passing."""
    for _ in range(50):
        await asyncio.sleep(0)
