"""The last seven days of counts, and the shortest window of them that is long enough to judge.

Buckets of 5 minutes, kept packed; the sums of the windows are carried on, so that a look costs what came and went since
the last one. Versions are never mixed: each has a history of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from trimtab.evidence.drift.judge import LEAST_ROWS
from trimtab.evidence.drift.reference import Reference
from trimtab.evidence.drift.significance import Spread, Test, design_effect, succession, typical
from trimtab.evidence.drift.window import Window, empty, packed, unpacked

BUCKET = 300
HOUR, DAY = 3_600, 86_400
LENGTHS = (HOUR, 6 * HOUR, DAY, 7 * DAY)
DAILY = (DAY, 7 * DAY)
"""The windows for traffic with a daily cycle, where the reference does not know the hours of the day."""
SPREAD_OVER = 6
"""Buckets are compared within each of the last six hours: a shift between hours must not look like dependent rows."""

Groups = list[list[float]]


class Chosen(NamedTuple):
    """A window, how long it is in seconds, and the design effect of each feature in it."""

    seconds: int
    window: Window
    effects: tuple[float, ...]


class Successions:
    """How each hour, or day, differs from the one before it, by feature."""

    def __init__(self, scale: int, over: int, features: int) -> None:
        self.scale = scale
        self._start = -1
        self._growing: Groups = []
        self._before: Groups = []
        self._ratios: list[deque[float]] = [deque(maxlen=over // scale - 1) for _ in range(features)]
        self.effects = [1.0] * features

    def add(self, start: int, groups: Groups) -> None:
        """Take in a bucket; a sub-window is compared when the next one begins."""
        own = start - start % self.scale
        if own == self._start:
            pairs = zip(self._growing, groups, strict=True)
            self._growing = [[a + b for a, b in zip(x, y, strict=True)] for x, y in pairs]
            return
        if self._before:
            for ratios, first, second in zip(self._ratios, self._before, self._growing, strict=True):
                if (ratio := succession(first, second)) is not None:
                    ratios.append(ratio)
            self.effects = [typical(ratios) for ratios in self._ratios]
        self._before, self._growing, self._start = self._growing, groups, own


class History:
    """Counts of one model version by bucket. Times are seconds since the epoch, and never go back."""

    def __init__(self, reference: Reference, lengths: Sequence[int] = LENGTHS) -> None:
        self._features = reference.features
        self._like = empty(reference)
        self._buckets: dict[int, tuple[bytes, bytes]] = {}
        self._sums = {length: (deque[int](), self._like) for length in lengths}
        self._hour = -1
        self._spread: list[Spread] = []
        self._tests: list[deque[Test]] = [deque(maxlen=SPREAD_OVER - 1) for _ in self._features]
        self._scales = [Successions(HOUR, DAY, len(self._features)), Successions(DAY, 7 * DAY, len(self._features))]

    def add(self, start: int, counted: Window) -> None:
        """Take in the counts of the bucket that began at `start`, which must be later than all before it."""
        self._like = counted
        self._buckets[start] = packed(counted)
        groups = [f.grouped(cells) for f, cells in zip(self._features, counted.cells, strict=True)]
        if self._hour != start // HOUR:
            for tests, spread in zip(self._tests, self._spread, strict=False):
                tests.append(spread.test())
            self._hour = start // HOUR
            self._spread = [Spread(len(part)) for part in groups]
        for spread, part in zip(self._spread, groups, strict=True):
            spread.take(part)
        for scale in self._scales:
            scale.add(start, groups)
        for length, (starts, whole) in self._sums.items():
            starts.append(start)
            self._sums[length] = (starts, whole + counted)
        self._forget(start + BUCKET)

    def choose(self) -> Chosen:
        """The shortest window with 200 effective rows, or the longest one."""
        for length, (_, window) in self._sums.items():
            effects = self.effects(length)
            if window.rows >= LEAST_ROWS * (median(effects) if effects else 1.0):
                break
        return Chosen(length, window, effects)

    def effects(self, length: int) -> tuple[float, ...]:
        """The design effect of each feature in windows of this length, the largest that any scale up to it shows."""
        now = zip(self._tests, self._spread, strict=True)
        shown = [[design_effect([*tests, spread.test()]) for tests, spread in now]]
        shown += [scale.effects for scale in self._scales if scale.scale <= length]
        return tuple(max(effects) for effects in zip(*shown, strict=True))

    def _forget(self, now: int) -> None:
        for length, (starts, whole) in self._sums.items():
            while starts[0] < now - length:
                whole -= unpacked(self._buckets[starts.popleft()], self._like)
            self._sums[length] = (starts, whole)
        for start in [*self._buckets]:
            if start >= now - max(self._sums):
                break
            del self._buckets[start]
