"""From a request's arrays and a model's answers to slots: values as numbers, categories as the numbers of cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any, NamedTuple

import numpy as np

from trimtab_serving.bundle import BundleInfo
from trimtab_serving.counting.fold import Block
from trimtab_serving.counting.layout import CLASS, HEAD, KIND, KIND_ROW, SCORE, Layout, category_codes
from trimtab_serving.counting.profile import Boolean, Category, Feature, Numeric, rest_hash
from trimtab_serving.protocol.datatypes import Array

NAN = math.nan
PROBABILITIES = "probabilities"
FEW = 32
"""So many rows are looked at one by one for less than it costs to enter numpy a few times."""

Many = Array | list[Any]
"""A number for each row."""


class Seen(NamedTuple):
    """What one request showed: its inputs, the outputs it asked for, and the model's answers."""

    arrays: Mapping[str, Array]
    names: Sequence[str]
    results: Sequence[Array]


class Verdict(NamedTuple):
    """What the model said of one row: the predicted class (-1: not known) and the score (NaN: not known)."""

    label: int
    score: float


class RowReader:
    """Reads rows and verdicts for one layout."""

    def __init__(self, layout: Layout, info: BundleInfo) -> None:
        self._features = [_Column(feature) for feature in layout.features]
        self._classes = {value: index for index, value in enumerate(layout.classes)}
        # Whole numbers, unlike texts, are looked up all at once.
        self._whole = bool(layout.classes) and all(type(value) is int for value in layout.classes)
        numbers = np.array(layout.classes if self._whole else (), np.int64)
        self._order = numbers.argsort(kind="stable")
        self._ordered = numbers[self._order]
        self._kind = layout.score.kind if layout.score else None
        self._width = layout.width
        self._matrix = _plain_matrix(layout, info)
        self._places: dict[Sequence[str], tuple[int | None, int | None]] = {}
        # Only what has a row for each row says something of it.
        batch = [tensor.shape[:1] for tensor in info.inputs[:1]]
        self._ranks = {tensor.name: len(tensor.shape) for tensor in info.outputs if tensor.shape[:1] in batch}

    def fill(self, values: Block, seen: Seen) -> None:
        """Write the features of a request's rows into the `values` (rows, features) of their slots."""
        rows = len(values)
        if self._matrix is not None:
            values[...] = seen.arrays[self._matrix]
        elif rows == 1 and self._features:
            arrays = seen.arrays
            values[0] = [column.value(arrays[column.input].item(column.place)) for column in self._features]
        else:
            for index, column in enumerate(self._features):
                values[:, index] = column.values(seen.arrays[column.input].reshape(rows, -1)[:, column.place])

    def block(self, seen: Seen, rows: int) -> Block:
        """The slots of a request of many rows; their heads still lack the request's own figures."""
        block = np.empty((rows, self._width))
        block[:, KIND] = KIND_ROW
        block[:, CLASS], block[:, SCORE] = self.verdicts(seen, rows)
        self.fill(block[:, HEAD:], seen)
        return block

    def verdict(self, seen: Seen) -> Verdict:
        """What the model said of the only row."""
        answer, chances = self._places.get(seen.names) or self._find(seen.names)
        label, score = -1, NAN
        if chances is not None:
            row = seen.results[chances].tolist()[0]
            score = row[1] if self._is_binary(row) else max(row)
            if answer is None:
                label = row.index(max(row))
        if answer is not None:
            given = seen.results[answer].item()
            if self._classes:
                label = self._label(given)
            elif isinstance(given, int | float):
                score = given
        return Verdict(label, score)

    def verdicts(self, seen: Seen, rows: int) -> tuple[Many, Many]:
        """The classes and the scores of all rows, as `verdict` has them of one."""
        answer, chances = self._places.get(seen.names) or self._find(seen.names)
        labels: Many = [-1] * rows
        scores: Many = [NAN] * rows
        if chances is not None:
            table = seen.results[chances]
            scores = table[:, 1] if self._is_binary(table[0]) else table.max(axis=1)
            if answer is None:
                labels = table.argmax(axis=1)
        if answer is not None:
            given = seen.results[answer]
            if self._classes:
                whole = self._whole and given.dtype.kind == "i" and rows > FEW
                labels = self._numbered(given) if whole else self._labels(given.tolist())
            elif given.dtype.kind in "iuf":
                scores = given
        return labels, scores

    def _is_binary(self, row: Sized) -> bool:
        return self._kind == "positive" or (self._kind is None and len(row) == 2)

    def _label(self, value: Any) -> int:
        return self._classes.get(value.decode() if isinstance(value, bytes) else value, -1)

    def _labels(self, values: list[Any]) -> list[int]:
        if values and isinstance(values[0], bytes):
            values = [value.decode() for value in values]
        known = self._classes.get
        return [known(value, -1) for value in values]

    def _numbered(self, values: Array) -> Array:
        """The places of whole numbers among the classes."""
        places = self._ordered.searchsorted(values)
        found = np.take(self._ordered, places, mode="clip") == values
        return np.where(found, np.take(self._order, places, mode="clip"), -1)

    def _find(self, names: Sequence[str]) -> tuple[int | None, int | None]:
        chances = names.index(PROBABILITIES) if PROBABILITIES in names and self._ranks.get(PROBABILITIES) == 2 else None
        answers = [index for index, name in enumerate(names) if self._ranks.get(name) == 1]
        place = self._places[names] = (answers[0] if answers else None, chances)
        return place


class _Column:
    """Where a feature's values are, and what becomes of them."""

    def __init__(self, feature: Feature) -> None:
        self.input = feature.input
        self.place = feature.column or 0
        self.value: Callable[[Any], float] = _number
        self._numeric = isinstance(feature, Numeric)
        if isinstance(feature, Category):
            self.value = _Coder(feature)
        elif isinstance(feature, Boolean):
            self.value = _truth

    def values(self, column: Array) -> Any:
        """The numbers of many rows."""
        if self._numeric and column.dtype != object:
            return column
        return [self.value(value) for value in column.tolist()]


class _Coder:
    """A category's cell; NaN for a missing one."""

    def __init__(self, feature: Category) -> None:
        self._codes: dict[Any, float] = dict(category_codes(feature))
        self._other, self._unseen = len(feature.categories), len(feature.categories) + 1
        self._rest = None if feature.rest is None else frozenset(feature.rest)

    def __call__(self, value: Any) -> float:
        code = self._codes.get(value)
        return self._unlisted(value) if code is None else code

    def _unlisted(self, value: Any) -> float:
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        elif isinstance(value, float):
            value = "" if value != value else str(int(value)) if value.is_integer() else repr(value)
        elif not isinstance(value, str):
            value = str(value)
        if not value:
            return NAN
        if value in self._codes:
            return self._codes[value]
        known = self._rest is None or rest_hash(value) in self._rest
        return self._other if known else self._unseen


def check_features(features: Sequence[Feature], info: BundleInfo) -> None:
    """ValueError when a feature of the profile is not in the model's inputs."""
    shapes = {tensor.name: tensor.shape for tensor in info.inputs}
    for feature in features:
        shape = shapes.get(feature.input)
        if shape is None:
            raise ValueError(f"feature {feature.name!r} is of input {feature.input!r}, which the model does not have")
        width = shape[1] if len(shape) == 2 else 1
        if len(shape) > 2 or (feature.column is None and width != 1) or not 0 <= (feature.column or 0) < width:
            raise ValueError(f"feature {feature.name!r}: input {feature.input!r} has no column {feature.column}")


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return NAN


def _truth(value: Any) -> float:
    return NAN if value is None or value != value else float(bool(value))


def _plain_matrix(layout: Layout, info: BundleInfo) -> str | None:
    """The input's name, when all features are the columns, in their order, of one matrix of numbers."""
    if len(info.inputs) != 1 or not layout.features:
        return None
    tensor = info.inputs[0]
    numeric = all(isinstance(feature, Numeric) for feature in layout.features)
    ordered = [feature.column for feature in layout.features] == list(range(len(layout.features)))
    whole = len(tensor.shape) == 2 and tensor.shape[1] == len(layout.features)
    return tensor.name if numeric and ordered and whole and tensor.datatype != "BYTES" else None
