"""Lets one command at a time change a thing; the next one waits and says so."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hack.progress import say


@contextmanager
def exclusive(lock: Path, what: str) -> Iterator[None]:
    """Hold `lock` while the body runs. The kernel lets go of it when we die, so a kill leaves nothing to clean up."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another command that works on {what}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
