"""A table of rows as a reference, and rows of another table as windows: what the offline commands judge.

It is judged by the code that judges live counts. Rows of one time zone, UTC, are put into buckets of five minutes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from operator import mul

from trimtab.evidence.drift.columns import Coded, Column, Table, code, column_of
from trimtab.evidence.drift.history import HOUR
from trimtab.evidence.drift.reference import Cells, Feature, Moments, Reference
from trimtab.evidence.drift.season import HOURS
from trimtab.evidence.drift.window import Window

MOST_MOMENTS = 20


class Binning:
    """A reference made from a table. `notes` says of each column that was left out why, by its name."""

    def __init__(self, table: Table, categorical: Collection[str] = (), times: Sequence[float] | None = None) -> None:
        self.notes: dict[str, str] = {}
        self._columns: list[Column] = []
        for name, texts in table.items():
            try:
                self._columns.append(column_of(name, texts, categorical=name in categorical))
            except ValueError as error:
                self.notes[name] = f"column {name}: {error}; it is left out"
        if not self._columns:
            raise ValueError("no column of the reference can be compared")
        features = tuple(column.feature for column in self._columns)
        numeric = [i for i, feature in enumerate(features) if feature.kind == "numeric"]
        self._moments = numeric[:MOST_MOMENTS]
        self.reference = Reference(features)
        rows = Rows(self, table)
        whole = rows.window(0, rows.size)
        given = zip(rows.by_hour(times) if times else features, whole.sums, strict=True)
        summed = tuple(replace(feature, sums=sums) for feature, sums in given)
        self.reference = Reference(summed, self._second_moments(whole))

    def codes(self, table: Table, rows: int) -> list[Coded]:
        """Each feature's cells; a column that the table has not is missing in all rows."""
        return [code(column, table.get(column.feature.name, [""] * rows)) for column in self._columns]

    @property
    def moment_features(self) -> list[int]:
        """The features whose second moments are taken."""
        return self._moments

    def _second_moments(self, whole: Window) -> Moments | None:
        names = tuple(self.reference.features[i].name for i in self._moments)
        shell = Moments(names, 0, (), ())
        return whole.moments_of(shell) if whole.moments else None


class Rows:
    """The rows of a table in a reference's cells."""

    def __init__(self, binning: Binning, table: Table) -> None:
        self.size = len(next(iter(table.values()), ()))
        self._features = binning.reference.features
        self._coded = binning.codes(table, self.size)
        self._z = [self._coded[i].z for i in binning.moment_features]

    def window(self, start: int, stop: int, times: Sequence[float] = ()) -> Window:
        """The counts of rows `start` up to `stop`, by hour of the day where their `times` are given."""
        cells, missing, wrong, sums = [], [], [], []
        for feature, coded in zip(self._features, self._coded, strict=True):
            counts = _tally(coded.cells[start:stop], len(feature.counts) + 2)
            cells.append(tuple(counts[:-2]))
            missing.append(counts[-2])
            wrong.append(counts[-1])
            sums.append(_summed(coded.cells[start:stop], coded.far[start:stop], len(feature.counts)))
        hours = tuple(_tally(list(map(hour_of, times)), HOURS))
        moments = self._moments([column[start:stop] for column in self._z])
        return Window(stop - start, tuple(cells), tuple(missing), hours, tuple(wrong), moments, tuple(sums))

    def by_hour(self, times: Sequence[float]) -> tuple[Feature, ...]:
        """The reference's features with their counts by hour of the day."""
        places: list[list[int]] = [[] for _ in range(HOURS)]
        for row, time in enumerate(times):
            places[hour_of(time)].append(row)
        return tuple(
            replace(feature, hours=tuple(self._cells(coded, rows, len(feature.counts)) for rows in places))
            for feature, coded in zip(self._features, self._coded, strict=True)
        )

    @staticmethod
    def _cells(coded: Coded, rows: Sequence[int], size: int) -> Cells:
        return tuple(_tally([coded.cells[row] for row in rows], size + 2)[:-2])

    @staticmethod
    def _moments(columns: list[list[float]]) -> tuple[float, tuple[float, ...], tuple[float, ...]] | None:
        """Rows without a missing value, the sums of z and of z zᵀ; None without numbers."""
        if not columns:
            return None
        gaps = [row for row in zip(*columns, strict=True) if any(map(math.isnan, row))]
        if gaps:
            whole = [row for row in zip(*columns, strict=True) if not any(map(math.isnan, row))]
            columns = [list(column) for column in zip(*whole, strict=True)] or [[] for _ in columns]
        sums = tuple(map(sum, columns))
        products: dict[tuple[int, int], float] = {}
        for i, first in enumerate(columns):
            for j, second in enumerate(columns[: i + 1]):
                products[i, j] = products[j, i] = sum(map(mul, first, second))
        size = range(len(columns))
        return float(len(columns[0])), sums, tuple(products[i, j] for i in size for j in size)


def hour_of(time: float) -> int:
    """The hour of the day, UTC, of seconds since the epoch."""
    return int(time // HOUR) % HOURS


def _tally(cells: Sequence[int], size: int) -> list[int]:
    counts = [0] * size
    for cell in cells:
        counts[cell] += 1
    return counts


def _summed(cells: Sequence[int], values: Sequence[float], size: int) -> tuple[float, ...]:
    """The sum of the values in each cell; nothing for what has no values."""
    if not values:
        return ()
    sums = [0.0] * (size + 2)
    for cell, value in zip(cells, values, strict=True):
        sums[cell] += value
    return tuple(sums[:-2])
