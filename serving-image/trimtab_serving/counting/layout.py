"""Where every count lives: one vector of whole numbers, one of sums, and one slot a row that was just seen.

The layout follows from the bundle alone. Two processes with one bundle agree on it without a word, and its
fingerprint is part of the name of the directory that holds the counts, so that a file is never read with
another layout than it was written with.
"""

from __future__ import annotations

import hashlib

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab_serving.bundle import BundleInfo
from trimtab_serving.counting.profile import Category, Feature, Moments, Numeric, Profile, Score

VERSION = 3

CODES = (200, 400, 401, 403, 404, 405, 406, 408, 409, 411, 413, 415, 422, 429, 499, 500, 501, 503, 504, 599)
"""The status codes told apart; 499 and 599 stand for any other of their class."""

LATENCY_EDGES = (
    *(0.0001, 0.0002, 0.0003, 0.0005, 0.00075),
    *(0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075),
    *(0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)
"""Seconds, from 100 µs: predictions of small models live far below the usual first bucket of 5 ms. The alerts ask what
is above 1 s and above 2 s, which only edges there can tell."""

LATENCIES = len(LATENCY_EDGES) + 1
BUCKETS = 100
"""Users are told apart no finer than this: enough for a variance over clusters, too few to follow anybody."""

CELL, SECONDS, CLASS, SCORE, BUCKET, KIND = range(6)
"""The head of a slot: request cell (-1: not the first row of its request), seconds, predicted class (-1: not
known), score (NaN: not known), user bucket (-1: none), and what the slot is."""
HEAD = 6

KIND_REQUEST = 0.0
KIND_ROW = 1.0
"""A slot of kind -1 - i is a request refused because input i had values of a wrong type."""

_STATUS_INDEX = {code: index for index, code in enumerate(CODES)}


def status_index(status: int) -> int:
    """The place of a status code in CODES."""
    found = _STATUS_INDEX.get(status)
    if found is not None:
        return found
    return _STATUS_INDEX[200 if status < 400 else 499 if status < 500 else 599]


class Layout:
    """The sections of both vectors, from what a bundle says of itself."""

    def __init__(self, info: BundleInfo, profile: Profile | None) -> None:
        self.inputs = info.inputs
        self.classes = info.classes or ()
        self.features = profile.features if profile else ()
        self.score: Score | None = profile.score if profile else None
        self.moments: Moments | None = profile.moments if profile else None
        self.width = HEAD + len(self.features)
        self._counters = 0
        self.requests = self._section(len(CODES) * LATENCIES)
        self.predicted = self._section(len(self.classes))
        self.scores = self._section(len(self.score.edges) + 1 if self.score else 0)
        self.bucket_rows = self._section(BUCKETS)
        self.type_errors = self._section(len(self.inputs))
        self.rows = self._section(1)
        self.moment_rows = self._section(1)
        self.missing = self._section(len(self.features))
        self.cells = self._section(sum(feature.cells for feature in self.features))
        self.counters = self._counters
        size = len(self.moments.features) if self.moments else 0
        self.moment_sums = slice(1, 1 + size)
        self.moment_products = slice(1 + size, 1 + size + size * size)
        self.sums = 1 + size + size * size
        self.fingerprint = self._fingerprint()

    def _section(self, length: int) -> slice:
        start, self._counters = self._counters, self._counters + length
        return slice(start, self._counters)

    def _fingerprint(self) -> str:
        parts = (VERSION, CODES, LATENCY_EDGES, BUCKETS, self.classes, self.score, self.moments, self.features)
        content = msgspec.json.encode([*parts, self.inputs])
        return hashlib.sha256(content).hexdigest()[:12]


class FeaturePlan:
    """The features of a block of slots, prepared for counting many rows at once."""

    def __init__(self, layout: Layout) -> None:
        self.numeric: list[tuple[int, NDArray[np.float64]]] = []
        """Column and edges of the numbers, and NaN as the last edge: what is missing is behind it."""
        self.coded: list[tuple[int, int, Feature]] = []
        places: dict[str, tuple[int, Numeric]] = {}
        start = 0
        cells: list[range] = []
        for index, feature in enumerate(layout.features):
            if isinstance(feature, Numeric):
                self.numeric.append((index, np.array([*feature.edges, np.nan])))
                cells.append(range(start, start + feature.cells))
                places[feature.name] = (index, feature)
            else:
                self.coded.append((index, start, feature))
            start += feature.cells
        self.numeric_cells = np.array([place for feature in cells for place in feature], np.int64)
        """Where the cells of the numbers are among those of all features."""
        self.firsts = np.cumsum([0, *map(len, cells)])[:-1]
        """Where each number's first cell is among those of the numbers."""
        chosen = [places[name] for name in layout.moments.features] if layout.moments else []
        self.moment_columns = np.array([index for index, _ in chosen], np.int64)
        self.moment_means = np.array([[feature.mean] for _, feature in chosen])
        self.moment_deviations = np.array([[feature.deviation] for _, feature in chosen])


def category_codes(feature: Category) -> dict[str, int]:
    """The cell of each category the profile lists by name."""
    return {category: index for index, category in enumerate(feature.categories)}
