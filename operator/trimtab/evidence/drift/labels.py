"""Labels that came back: predictions whose truth is known, as sums that can be added and subtracted, and the newest."""

from __future__ import annotations

import math
import zlib
from array import array
from collections import deque
from dataclasses import dataclass
from itertools import accumulate, pairwise

from trimtab.evidence.drift.reference import Cells

Values = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Labels:
    """Sums over labelled predictions of one model version; what a model does not have is empty."""

    scored: Cells = ()
    """Labels by cell of the score."""
    right: Cells = ()
    """Of these, the truly positive of two classes, or the rightly classed of several."""
    confusion: Cells = ()
    """Labels by predicted and true class, row by row."""
    errors: Values = ()
    """Of a regression: labels, and the sums of truth less prediction, of its absolute value, and of its square."""
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

    def __add__(self, other: Labels) -> Labels:
        return self._with(other, 1)

    def __sub__(self, other: Labels) -> Labels:
        return self._with(other, -1)

    def _with(self, other: Labels, sign: int) -> Labels:
        return Labels(
            _whole(self.scored, other.scored, sign),
            _whole(self.right, other.right, sign),
            _whole(self.confusion, other.confusion, sign),
            _joined(self.errors, other.errors, sign),
            _whole(self.delays, other.delays, sign),
        )

    def alike(self, other: Labels) -> bool:
        """Whether both have the same parts of the same sizes."""
        return all(len(a) == len(b) for a, b in zip(_parts(self), _parts(other), strict=True))


def _parts(labels: Labels) -> tuple[Values, ...]:
    return labels.scored, labels.right, labels.confusion, labels.errors, labels.delays


def _joined(left: Values, right: Values, sign: int) -> Values:
    if not left or not right:
        return left or tuple(sign * value for value in right)
    return tuple(a + sign * b for a, b in zip(left, right, strict=True))


def _whole(left: Cells, right: Cells, sign: int) -> Cells:
    return tuple(int(value) for value in _joined(left, right, sign))


class Newest:
    """The newest labels: as few whole buckets as hold `least` of them, none older than `longest` seconds."""

    def __init__(self, least: int, longest: int) -> None:
        self._least, self._longest = least, longest
        self._kept: deque[tuple[int, int, bytes]] = deque()
        self._like = Labels()
        self.sum = Labels()

    def add(self, start: int, labels: Labels) -> None:
        """Take in a bucket, later than all before it."""
        if not labels.alike(self._like):
            self._like = labels
            self._kept.clear()
            self.sum = labels - labels
        self.sum += labels
        self._kept.append((start, labels.count, _packed(labels)))
        while self._kept[0][0] < start - self._longest or self.sum.count - self._kept[0][1] >= self._least:
            self.sum -= _unpacked(self._kept.popleft()[2], self._like)

    @property
    def since(self) -> int:
        """When the oldest bucket began; 0 without one."""
        return self._kept[0][0] if self._kept else 0


def _packed(labels: Labels) -> bytes:
    return zlib.compress(array("d", [value for part in _parts(labels) for value in part]).tobytes(), 1)


def _unpacked(content: bytes, like: Labels) -> Labels:
    values = array("d", zlib.decompress(content)).tolist()
    ends = list(accumulate(map(len, _parts(like)), initial=0))
    scored, right, confusion, errors, delays = (values[a:b] for a, b in pairwise(ends))
    cells = [tuple(map(int, part)) for part in (scored, right, confusion, delays)]
    return Labels(cells[0], cells[1], cells[2], tuple(errors), cells[3])
