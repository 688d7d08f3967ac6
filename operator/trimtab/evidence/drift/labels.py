"""Labels that came back: predictions whose truth is known, as sums that can be added and subtracted, and the newest."""

from __future__ import annotations

import math
import zlib
from array import array
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import NamedTuple

from trimtab.evidence.drift.reference import Cells
from trimtab.evidence.drift.window import joined

Values = tuple[float, ...]
MOST_KEPT = 48
"""Parts of the newest labels that are kept beyond a process."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Sums over labelled predictions of one model version; what a model does not have is empty."""

    edges: Values = ()
    """Of the score's cells. Labels in other cells are not added to these."""
    scored: Cells = ()
    """Labels by cell of the score."""
    right: Cells = ()
    """Of these, the truly positive of two classes, or the rightly classed of several."""
    confusion: Cells = ()
    """Labels by predicted and true class, row by row."""
    errors: Values = ()
    """Of a regression: labels, and the sums of truth less prediction, of its absolute value, and of its square; and of
    its fourth power, where that is counted."""
    delays: Cells = ()
    """Labels of any version by the time they took."""

    @property
    def count(self) -> int:
        """How many labels."""
        return int(self.errors[0]) if self.errors else max(sum(self.confusion), sum(self.scored))

    @property
    def classes(self) -> int:
        """How many classes the confusion has."""
        return math.isqrt(len(self.confusion))

    @property
    def growing(self) -> dict[str, Values]:
        """The parts of which nothing can become less in further labels, by name: all but the sum of errors, signed."""
        return {
            "scores": self.scored,
            "right scores": self.right,
            "outcomes": self.confusion,
            "errors": (*self.errors[:1], *self.errors[2:]),
            "delays": self.delays,
        }

    def __add__(self, other: Labels) -> Labels:
        return self._with(other, 1)

    def __sub__(self, other: Labels) -> Labels:
        return self._with(other, -1)

    def _with(self, other: Labels, sign: int) -> Labels:
        return Labels(
            self.edges or other.edges,
            _whole(self.scored, other.scored, sign),
            _whole(self.right, other.right, sign),
            _whole(self.confusion, other.confusion, sign),
            joined(self.errors, other.errors, sign),
            _whole(self.delays, other.delays, sign),
        )

    def alike(self, other: Labels) -> bool:
        """Whether they can be added: the parts that both have are of the same cells."""
        same = all(len(a) == len(b) or not a or not b for a, b in zip(_parts(self), _parts(other), strict=True))
        return same and (self.edges == other.edges or not self.edges or not other.edges)

    def without_scores(self) -> Labels:
        """The same labels, were their scores not known."""
        return replace(self, edges=(), scored=(), right=())


def _parts(labels: Labels) -> tuple[Values, ...]:
    return labels.scored, labels.right, labels.confusion, labels.errors, labels.delays


def _whole(left: Cells, right: Cells, sign: int) -> Cells:
    return tuple(int(value) for value in joined(left, right, sign))


class Newest:
    """The newest labels: as few whole buckets as hold `least` of them, none older than `longest` seconds."""

    def __init__(self, least: int, longest: int) -> None:
        self._least, self._longest = least, longest
        self._kept: deque[_Kept] = deque()
        self.sum = Labels()

    def add(self, start: int, labels: Labels) -> None:
        """Take in a bucket, later than all before it."""
        if not labels.alike(self.sum):
            self._kept.clear()
            self.sum = Labels()
        self.sum += labels
        self._kept.append(_packed(start, labels))
        while self._kept[0].start < start - self._longest or self.sum.count - self._kept[0].labels >= self._least:
            self.sum -= _unpacked(self._kept.popleft(), labels.edges)

    def kept(self) -> list[tuple[int, Labels]]:
        """When each bucket began, and its labels; of very many buckets neighbours are put together."""
        parts = [(kept.start, _unpacked(kept, self.sum.edges)) for kept in self._kept]
        while len(parts) > MOST_KEPT:
            pairs = (parts[place : place + 2] for place in range(0, len(parts), 2))
            parts = [(pair[0][0], sum((labels for _, labels in pair[1:]), pair[0][1])) for pair in pairs]
        return parts

    def resume(self, parts: Iterable[tuple[int, Labels]]) -> None:
        """Go on from these, before anything is added; ValueError when they are not of the same cells."""
        for start, labels in parts:
            if not labels.alike(self.sum):
                raise ValueError("the labels are of different cells")
            self.sum += labels
            self._kept.append(_packed(start, labels))

    @property
    def since(self) -> int:
        """When the oldest bucket began; 0 without one."""
        return self._kept[0].start if self._kept else 0


class _Kept(NamedTuple):
    """A bucket in few bytes."""

    start: int
    labels: int
    sizes: tuple[int, ...]
    content: bytes


def _packed(start: int, labels: Labels) -> _Kept:
    parts = _parts(labels)
    content = array("d", [value for part in parts for value in part]).tobytes()
    return _Kept(start, labels.count, tuple(map(len, parts)), zlib.compress(content, 1))


def _unpacked(kept: _Kept, edges: Values) -> Labels:
    values = array("d", zlib.decompress(kept.content)).tolist()
    ends = list(accumulate(kept.sizes, initial=0))
    scored, right, confusion, errors, delays = (values[a:b] for a, b in pairwise(ends))
    cells = [tuple(map(int, part)) for part in (scored, right, confusion, delays)]
    return Labels(edges, cells[0], cells[1], cells[2], tuple(errors), cells[3])
