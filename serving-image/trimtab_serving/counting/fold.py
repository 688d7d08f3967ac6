"""From slots to counts: many rows at once, so that a row costs about a microsecond however it came in."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab_serving.counting.layout import (
    BUCKET,
    BUCKETS,
    CELL,
    CLASS,
    CODES,
    HEAD,
    KIND,
    KIND_ROW,
    LATENCIES,
    SCORE,
    SECONDS,
    FeaturePlan,
    Layout,
)
from trimtab_serving.counting.profile import MOMENT_CLIP

Block = NDArray[np.float64]
Whole = NDArray[np.int64]


class Counts(NamedTuple):
    """Both vectors of a layout."""

    whole: Whole
    sums: Block

    def add(self, other: Counts) -> None:
        """Add `other` in place."""
        np.add(self.whole, other.whole, out=self.whole)
        np.add(self.sums, other.sums, out=self.sums)


class Folder:
    """Turns blocks of slots into counts."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._plan = FeaturePlan(layout)
        self._score_edges = np.array(layout.score.edges) if layout.score else None

    def empty(self) -> Counts:
        """Nothing counted."""
        return Counts(np.zeros(self.layout.counters, np.int64), np.zeros(self.layout.sums))

    def fold(self, block: Block) -> Counts:
        """The counts of these slots."""
        counts, layout = self.empty(), self.layout
        counts.whole[layout.requests] = _tally(block[:, CELL], len(CODES) * LATENCIES)
        counts.sums[0] = block[:, SECONDS].sum()
        rows, kinds = block, block[:, KIND]
        known = kinds == KIND_ROW
        if not known.all():
            counts.whole[layout.type_errors] = _tally(-1.0 - kinds, len(layout.inputs))
            rows = block[known]
        if not len(rows):
            return counts
        counts.whole[layout.rows] = len(rows)
        counts.whole[layout.bucket_rows] = _tally(rows[:, BUCKET], BUCKETS)
        counts.whole[layout.predicted] = _tally(rows[:, CLASS], len(layout.classes))
        if self._score_edges is not None:
            scores = rows[:, SCORE][~np.isnan(rows[:, SCORE])]
            cells = np.searchsorted(self._score_edges, scores, side="right")
            counts.whole[layout.scores] = np.bincount(cells, minlength=len(self._score_edges) + 1)
        if layout.features:
            self._features(rows[:, HEAD:], counts)
        return counts

    def _features(self, values: Block, counts: Counts) -> None:
        plan, layout = self._plan, self.layout
        columns = np.ascontiguousarray(values.T)
        missing = np.isnan(columns).sum(axis=1)
        cells = counts.whole[layout.cells]
        for index, start, feature in plan.coded:
            codes = columns[index]
            cells[start : start + feature.cells] = _tally(codes, feature.cells)
        if layout.moments:
            self._moments(columns, missing, counts)
        if plan.numeric:
            columns.sort(axis=1)
            # How many values are below each edge says how many are between two of them. To sort first and look
            # the edges up is several times cheaper than to look every value up. NaN is sorted behind everything.
            below = np.concatenate([columns[index].searchsorted(edges) for index, edges in plan.numeric])
            between = below.copy()
            between[1:] -= below[:-1]
            between[plan.firsts] = below[plan.firsts]
            cells[plan.numeric_cells] = between
        counts.whole[layout.missing] = missing

    def _moments(self, columns: Block, missing: Whole, counts: Counts) -> None:
        plan, layout = self._plan, self.layout
        chosen = columns[plan.moment_columns]
        if missing.any():
            chosen = chosen[:, ~np.isnan(chosen).any(axis=0)]
        standard = chosen - plan.moment_means
        standard /= plan.moment_deviations
        np.minimum(np.maximum(standard, -MOMENT_CLIP, out=standard), MOMENT_CLIP, out=standard)
        counts.whole[layout.moment_rows] = standard.shape[1]
        counts.sums[layout.moment_sums] = standard.sum(axis=1)
        counts.sums[layout.moment_products] = (standard @ standard.T).ravel()


def _tally(values: Any, length: int) -> Any:
    if not length:
        return 0
    known = values[values >= 0].astype(np.int64)
    return np.bincount(known, minlength=length)[:length]
