"""A history as plain values, to be kept where a process cannot lose them: what it consists of, and how it gets small.

Counts of the hour that is under way stay as they are. Closed hours do for a day; older ones become sums of six hours,
and after two days sums of a day: a window that is resumed lets go of that much at a time. What comes back is not
trusted: `sound` says whether it can be what it claims to be.
"""

from __future__ import annotations

import math
import zlib
from array import array
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from trimtab.evidence.drift.window import SMALL, Window, packed, unpacked

Groups = list[list[float]]
Packed = tuple[bytes, bytes]
Parts = tuple[tuple[int, Packed], ...]
Ladder = tuple[tuple[int, int], ...]
"""Pairs (age, length), in hours: what ended so long ago is put together to so much; the largest length that applies."""
LADDERS: tuple[Ladder, ...] = (((0, 1), (24, 6), (48, 24)), ((0, 1), (6, 6), (24, 24)), ((0, 1), (0, 6), (0, 24)))
"""From the finest to the coarsest, for what would take too much room."""
KINDS = "".join(code for code, _ in SMALL) + "q"


class Scale(NamedTuple):
    """How each hour, or day, differed from the one before it; by feature, the last two by group."""

    start: int
    growing: Groups
    before: Groups
    ratios: list[list[float]]


class Kept(NamedTuple):
    """All that a history needs to go on. Times are seconds since the epoch."""

    begun: int
    end: int
    parts: Parts
    """What was counted from a time on, in the order of time; the buckets of the last hour are the last parts."""
    tests: list[list[tuple[float, int]]]
    """Of the hours before the last one, by feature: the statistic and its degrees of freedom."""
    scales: list[Scale]


class Coarse:
    """Puts parts together by age, each sum once. `hour` is the length in seconds of what is an hour here."""

    def __init__(self, hour: int) -> None:
        self._hour = hour
        self._known: dict[tuple[int, int], Packed] = {}

    def parts(self, closed: Iterable[tuple[int, Packed]], end: int, ladder: Ladder, like: Window) -> Parts:
        """The closed hours, or what they are put together to already; all of them ended before `end`."""
        groups = [(begin, list(group)) for begin, group in groupby(closed, lambda part: self._begin(part, end, ladder))]
        # The first part tells a block from what is left of it when its older parts are forgotten.
        self._known = {
            (group[0][0], len(group)): self._known.get((group[0][0], len(group)))
            or _joined([content for _, content in group], like)
            for _, group in groups
        }
        return tuple((begin, self._known[group[0][0], len(group)]) for begin, group in groups)

    def _begin(self, part: tuple[int, Packed], end: int, ladder: Ladder) -> int:
        """When the longest block began that the part is in and that is old enough."""
        blocks = [(part[0] - part[0] % (self._hour * length), age + length) for age, length in ladder]
        old = [begin for begin, over in blocks if begin + self._hour * over <= end]
        return min(old, default=part[0])


def _joined(contents: Sequence[Packed], like: Window) -> Packed:
    if len(contents) == 1:
        return contents[0]
    first, *others = (unpacked(content, like) for content in contents)
    return packed(sum(others, first))


def sound(content: Packed, like: Window) -> Window:
    """The window in a packed content of unknown origin; ValueError when it is none with the cells of `like`."""
    size = len(like.moments[1]) if like.moments else 0
    whole = 1 + sum(map(len, (like.missing, like.hours, like.wrong, *like.cells)))
    floats = 1 + size + size * (size + 1) // 2 + sum(map(len, like.sums))
    numbers, sums = _numbers(content[0], KINDS, whole), _numbers(content[1], "d", floats)
    if min(numbers) < 0 or not all(map(math.isfinite, sums)):
        raise ValueError("counts are negative, or sums are no numbers")
    window = unpacked(content, like)
    if any(sum(cells) > window.rows for cells in window.cells):
        raise ValueError("a feature has more values than there are rows")
    return window


def _numbers(content: bytes, kinds: str, count: int) -> Sequence[float]:
    """What is packed there: so many numbers of one of these types, and never more memory than they take."""
    kind = content[:1].decode("latin-1")
    if not kind or kind not in kinds:
        raise ValueError("the numbers are of an unknown type")
    size = array(kind).itemsize * count
    inflating = zlib.decompressobj()
    try:
        found = inflating.decompress(content[1:], size + 1)
    except zlib.error as error:
        raise ValueError(f"the numbers cannot be unpacked: {error}") from None
    if len(found) != size or not inflating.eof:
        raise ValueError("the numbers are of other cells")
    return array(kind, found)
