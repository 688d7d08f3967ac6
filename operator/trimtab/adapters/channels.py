"""Where messages can go: a mounted Secret whose keys are channels and whose values are apprise URLs, one a line.

The Secret is a volume of the operator's own pod, so no right to read Secrets is needed, and a change of it arrives
without a restart. The URLs hold tokens: they are passed on to apprise and to nothing else.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)
LARGEST = 1 << 16
URL = re.compile(r"^[A-Za-z][A-Za-z0-9.+-]*://\S+$")

Urls = Mapping[str, tuple[str, ...]]


class Channels:
    """The channels in one directory; None stands for an installation that has none."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._seen: tuple[tuple[str, int, int], ...] = ()
        self._urls: Urls = {}

    def urls(self) -> Urls:
        """The URLs by channel as they are now. A file that holds anything else is no channel, and is named once."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            read = {name: self._read(name) for name, _, _ in seen}
            self._urls = {name: urls for name, urls in read.items() if urls}
        return self._urls

    def _look(self) -> tuple[tuple[str, int, int], ...]:
        """What tells a change: the kubelet swaps a link to all files at once, and an editor changes a file's time."""
        if self._directory is None:
            return ()
        try:
            found = [(path.name, path.stat()) for path in self._directory.iterdir() if not path.name.startswith(".")]
        except OSError:  # in the middle of a swap, or optional and not there
            return ()
        return tuple(sorted((name, stat.st_mtime_ns, stat.st_size) for name, stat in found))

    def _read(self, name: str) -> tuple[str, ...]:
        assert self._directory is not None
        try:
            with (self._directory / name).open("rb") as file:
                text = file.read(LARGEST + 1)
            lines = [line.strip() for line in text.decode().splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            return _unusable(name, type(error).__name__)
        urls = tuple(line for line in lines if line and not line.startswith("#"))
        wrong = [number for number, line in enumerate(lines, 1) if line in urls and not URL.match(line)]
        if len(text) > LARGEST or wrong or not urls:
            return _unusable(name, f"line {wrong[0]} is no URL" if wrong else "it is empty, or larger than 64 KiB")
        return urls


def _unusable(name: str, why: str) -> tuple[str, ...]:
    log.warning("a notification channel cannot be used", extra={"channel": name, "why": why})
    return ()
