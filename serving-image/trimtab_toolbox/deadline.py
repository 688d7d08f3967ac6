"""The deadline of a whole program of this image, kept by a thread that ends the process.

A step may be deep inside a library that retries by itself, waits in native code or swallows exceptions, so
nothing that has to travel up the stack is sure to arrive. The thread says the last words itself, removes the
working directory and leaves. The store is safe from this: an object is there whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from trimtab_serving.outcome import Failure, Reason


class Deadline:
    """Ends the process with reason Timeout after `seconds`, unless the block is left before."""

    def __init__(
        self, seconds: float, step: Callable[[], str], tell: Callable[[Failure], None], workdir: Path, what: str
    ) -> None:
        """`step` names what is running in `what`, `tell` says the last words, `workdir` is removed."""
        self._seconds = seconds
        self._step = step
        self._tell = tell
        self._workdir = workdir
        self._what = what
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _expire(self) -> None:
        failure = Failure(
            Reason.TIMEOUT,
            f"the {self._what} was not done after {self._seconds:g} s (it was in the step {self._step()!r}); it will "
            "be tried again: give it more time (TRIMTAB_TIMEOUT_SECONDS) if the source is large or slow",
        )
        try:
            self._tell(failure)
            shutil.rmtree(self._workdir, ignore_errors=True)
        finally:
            sys.stderr.flush()
            os._exit(failure.exit_code)
