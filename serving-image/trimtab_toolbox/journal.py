"""The log of an import: one JSON line for each step, with what it found and how long it took.

Someone who looks at a slow or failed Job wants to know which step it is in and since when, so a step also
says that it begins. The lines go to stderr; stdout has the result alone.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any


class Journal:
    """Writes the lines and knows the step that is running."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self.step = "start"

    @contextmanager
    def record(self, step: str) -> Iterator[dict[str, Any]]:
        """Log a step when it begins and when it ends; what is put into the yielded dict goes into the line."""
        found: dict[str, Any] = {}
        self.step = step
        began = time.monotonic()
        self.line("begins", step=step)
        try:
            yield found
        except BaseException as error:
            self.line("failed", step=step, seconds=_round(time.monotonic() - began), error=type(error).__name__)
            raise
        known = {name: value for name, value in found.items() if value is not None}
        self.line("done", step=step, seconds=_round(time.monotonic() - began), **known)

    def line(self, event: str, **fields: Any) -> None:
        """Write one line; safe to call from any thread."""
        entry = {"event": event, "elapsedSeconds": _round(time.monotonic() - self._started), **fields}
        text = json.dumps(entry, ensure_ascii=False, default=str)
        with self._lock:
            self._stream.write(text + "\n")
            self._stream.flush()


def _round(seconds: float) -> float:
    return round(seconds, 3)
