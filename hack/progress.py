"""Tells a person what a long command is doing and for how long.

On a terminal a running step shows a spinner and its elapsed time. Elsewhere (CI, a log file) each step is one plain
line when it ends, and a reminder line while it lasts, so that a silent quarter of an hour never looks like a hang.
Everything goes to standard error: standard output belongs to the command's result.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

FIRST_REMINDER_SECONDS = 10.0
REMINDER_SECONDS = 30.0

_console = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print one line of information."""
    _console.print(escape(text))


def elapsed(seconds: float) -> str:
    """Render a duration as a person reads it: `0.4 s`, `12.3 s`, `3 min 05 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show `title` while the body runs, then how long it took; a failure is marked and passed on."""
    began = time.monotonic()
    shown = _spinner(title) if _console.is_terminal else _reminders(title, began)
    try:
        with shown:
            yield
    except BaseException:
        say(f"✗ {title}  {elapsed(time.monotonic() - began)}")
        raise
    say(f"✓ {title}  {elapsed(time.monotonic() - began)}")


@contextmanager
def _spinner(title: str) -> Iterator[None]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=_console, transient=True) as bar:
        bar.add_task(escape(title), total=None)
        yield


@contextmanager
def _reminders(title: str, began: float) -> Iterator[None]:
    ended = threading.Event()

    def remind() -> None:
        pause = FIRST_REMINDER_SECONDS
        while not ended.wait(pause):
            say(f"… {title}  {elapsed(time.monotonic() - began)}")
            pause = REMINDER_SECONDS

    thread = threading.Thread(target=remind, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
