"""What was counted in a stretch of time: the same cells as the reference, additive and subtractable."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from operator import add, sub
from typing import Any, TypeVar

from trimtab.evidence.drift.reference import Cells, Moments, Reference
from trimtab.evidence.drift.season import HOURS

T = TypeVar("T", int, float)
SMALL = (("B", 1 << 8), ("H", 1 << 16), ("I", 1 << 32))
"""The types of whole numbers in few bytes, and what they hold."""


@dataclass(frozen=True, slots=True)
class Window:
    """Counts of one model version; `cells` and `missing` are in the order of the reference's features."""

    rows: int
    cells: tuple[Cells, ...]
    missing: Cells
    hours: Cells = (0,) * HOURS
    """Rows by hour of the day, UTC."""
    wrong: Cells = ()
    """Values of a wrong type, by feature; none where they are not counted."""
    moments: tuple[float, tuple[float, ...], tuple[float, ...]] | None = None
    """Rows, the sums of z and those of z zᵀ row by row."""
    sums: tuple[tuple[float, ...], ...] = ()
    """The sums of z by cell, for each feature; none where they are not counted, as in pods."""

    def __add__(self, other: Window) -> Window:
        return self._with(other, 1)

    def __sub__(self, other: Window) -> Window:
        return self._with(other, -1)

    def _with(self, other: Window, sign: int) -> Window:
        return Window(
            self.rows + sign * other.rows,
            tuple(joined(a, b, sign) for a, b in zip(self.cells, other.cells, strict=True)),
            joined(self.missing, other.missing, sign),
            joined(self.hours, other.hours, sign),
            joined(self.wrong, other.wrong, sign),
            self._moments(other, sign),
            tuple(joined(a, b, sign) for a, b in zip_longest(self.sums, other.sums, fillvalue=())),
        )

    def _moments(self, other: Window, sign: int) -> tuple[float, tuple[float, ...], tuple[float, ...]] | None:
        if self.moments is None or other.moments is None:
            return self.moments if other.moments is None else other.moments if sign > 0 else None
        (n, sums, products), (m, other_sums, other_products) = self.moments, other.moments
        return n + sign * m, _added(sums, other_sums, sign), _added(products, other_products, sign)

    def moments_of(self, reference: Moments) -> Moments | None:
        """The means of z and z zᵀ; None when no row was counted for them."""
        if self.moments is None or self.moments[0] <= 0:
            return None
        n, sums, products = self.moments
        size = len(reference.features)
        rows = tuple(tuple(p / n for p in products[i * size : (i + 1) * size]) for i in range(size))
        return Moments(reference.features, n, tuple(s / n for s in sums), rows)


def joined(left: tuple[T, ...], right: tuple[T, ...], sign: int) -> tuple[T, ...]:
    """The sum or difference cell by cell; where one side was not counted, what the other one has."""
    if not left or not right:
        return left or tuple(sign * b for b in right)
    return _added(left, right, sign)


def _added(left: tuple[T, ...], right: tuple[T, ...], sign: int) -> tuple[T, ...]:
    if len(left) != len(right):
        raise ValueError(f"{len(left)} cells and {len(right)} are of different profiles")
    # Most of what a replay does is this, and a map over an operator takes less than half a generator's time.
    return tuple(map(add if sign > 0 else sub, left, right))


def empty(reference: Reference) -> Window:
    """Nothing counted."""
    return Window(0, tuple((0,) * len(f.counts) for f in reference.features), (0,) * len(reference.features))


def total(reference: Reference, windows: Iterable[Window]) -> Window:
    """All of them together."""
    return sum(windows, empty(reference))


def read_counts(reference: Reference, document: Mapping[str, Any], hour: int | None = None) -> Window:
    """A window from the answer of GET /trimtab/v1/counts; ValueError when it is of another profile.

    Readings are cumulative: a stretch of time is the difference of two. `hour` is the hour of the day, UTC, that the
    rows are put down to.
    """
    told: dict[tuple[str, str], tuple[Cells, int]] = {
        ("input", entry["name"]): (tuple(entry["counts"]), entry["missing"]) for entry in document.get("features", ())
    }
    for role, key in (("score", "score"), ("prediction", "predictions")):
        if given := document.get(key):
            told[role, key.removesuffix("s")] = (tuple(given["counts"]), 0)
    found = [_found(told, f.role, f.name, len(f.counts)) for f in reference.features]
    rows = int(document["rows"])
    hours = tuple(rows if at == hour else 0 for at in range(HOURS))
    return Window(rows, tuple(c for c, _ in found), tuple(m for _, m in found), hours, (), _read_moments(document))


def _found(told: Mapping[tuple[str, str], tuple[Cells, int]], role: str, name: str, cells: int) -> tuple[Cells, int]:
    entry = told.get((role, name), ((), 0))
    if len(entry[0]) != cells:
        raise ValueError(
            f"{role} {name}: the counts have {len(entry[0])} cells, the profile {cells}; they are of another profile"
        )
    return entry


def _read_moments(document: Mapping[str, Any]) -> tuple[float, tuple[float, ...], tuple[float, ...]] | None:
    given = document.get("moments")
    if not given:
        return None
    rows: Sequence[Sequence[float]] = given["products"]
    return given["n"], tuple(given["sum"]), tuple(value for row in rows for value in row)


def packed(window: Window) -> tuple[bytes, bytes]:
    """The window in about as many bytes as it has cells that are not empty."""
    whole = [window.rows, *window.missing, *window.hours, *window.wrong, *(n for cells in window.cells for n in cells)]
    n, sums, products = window.moments or (0.0, (), ())
    size = len(sums)
    # Products are the same both ways round.
    lower = (products[row * size + column] for row in range(size) for column in range(row + 1))
    floats = [n, *sums, *lower, *(z for cells in window.sums for z in cells)]
    kind = next((code for code, limit in SMALL if min(whole) >= 0 and max(whole) < limit), "q")
    return _pressed(kind, whole), _pressed("d", floats)


def _pressed(kind: str, values: Sequence[float]) -> bytes:
    return kind.encode() + zlib.compress(array(kind, values).tobytes(), 1)


def _loosened(content: bytes) -> Iterator[Any]:
    return iter(array(chr(content[0]), zlib.decompress(content[1:])))


def unpacked(content: tuple[bytes, bytes], like: Window) -> Window:
    """The window again; `like` is one of the same reference, with the same parts."""
    given, sums = map(_loosened, content)
    rows = next(given)
    missing, hours, wrong, *cells = (
        tuple(islice(given, len(part))) for part in (like.missing, like.hours, like.wrong, *like.cells)
    )
    n, size = next(sums), len(like.moments[1]) if like.moments else 0
    means = tuple(islice(sums, size))
    lower = [list(islice(sums, row + 1)) for row in range(size)]
    products = tuple(lower[max(i, j)][min(i, j)] for i in range(size) for j in range(size))
    moments = (n, means, products) if like.moments else None
    by_cell = tuple(tuple(islice(sums, len(part))) for part in like.sums)
    return Window(rows, tuple(cells), missing, hours, wrong, moments, by_cell)
