"""One feature of the drift profile: the cells of its values, as the server will count them.

Edges come from quantiles, so that each cell holds about as many rows; the ends are cut finer, because what goes wrong
in production goes wrong in the tails. A category of fewer than five rows might be a person: it is not named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab_serving.bundle import Tensor
from trimtab_serving.counting.profile import (
    MAX_CATEGORIES,
    MAX_REST,
    Boolean,
    Category,
    Feature,
    Numeric,
    rest_hash,
)
from trimtab_toolbox.table import Tensors, column_names, is_matrix

MIN_CATEGORY_ROWS = 5
_BEYOND = 5
_HALF = 0.5
_DECILES = np.arange(1, 10) / 10
_POINTS = np.unique(np.concatenate([np.arange(1, 64) / 64, _DECILES, [0.001, 0.01, 0.99, 0.999]]))


def profile_features(tensors: Tensors, inputs: Sequence[Tensor]) -> tuple[Feature, ...]:
    """The features of the rows in `tensors`, in the order of the inputs' columns."""
    if not is_matrix(inputs):
        return tuple(_feature(tensor.name, tensor, None, tensors[tensor.name][:, 0]) for tensor in inputs)
    matrix = tensors[inputs[0].name]
    names = column_names(inputs)
    return tuple(_feature(name, inputs[0], index, matrix[:, index]) for index, name in enumerate(names))


class Numbers:
    """The numbers of a column [n], sorted once: edges and counts are cheap to read off their order."""

    def __init__(self, values: NDArray[Any]) -> None:
        ordered = np.sort(values)
        # NaN comes last, after infinity.
        first, last = ordered.searchsorted(-np.inf, "right"), ordered.searchsorted(np.inf)
        self.ordered = ordered[: ordered.searchsorted(np.nan)]
        """In growing order, NaN left out."""
        self.finite = ordered[first:last].astype(np.float64)
        """Those of them that are finite."""
        self.ends = ordered[first:last][[0, -1]] if last > first else ordered[:0]
        """The least and the largest of these, as they came; none where none is finite."""
        # In the order they came in: sums in another one would round otherwise.
        exact = (values if len(self.finite) == len(values) else values[np.isfinite(values)]).astype(np.float64)
        self.mean = float(exact.mean()) if len(exact) else 0.0
        self.deviation = deviation_of(exact)

    def quantiles(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """The quantiles of the finite ones at `points` between 0 and 1; none where none is finite.

        Between the two nearest (definition 7 of Hyndman and Fan, 1996), to the last bit as numpy has them.
        """
        if not len(self.finite):
            return np.empty(0)
        places = points * (len(self.finite) - 1)
        lower = np.floor(places).astype(np.int64)
        low, high = self.finite[lower], self.finite[np.minimum(lower + 1, len(self.finite) - 1)]
        part, step = places - lower, high - low
        found: NDArray[np.float64] = np.where(part < _HALF, low + step * part, high - step * (1 - part))
        return found

    def edges(self) -> NDArray[np.float64]:
        """The edges for numbers like these, in growing order; NaN and infinite ones say nothing about them."""
        if not len(self.finite):
            return np.zeros(1)
        low, high = self.ends
        above = high + 1 if high.dtype.kind in "iu" else np.nextafter(high, np.array(np.inf, dtype=high.dtype))
        beyond = [self.deviation * 2.0**power for power in range(_BEYOND)]
        outer = [*(float(low) - far for far in beyond), *(float(high) + far for far in beyond)]
        inner = self.quantiles(_POINTS)
        edges: NDArray[np.float64] = np.unique(np.concatenate([inner, [float(low), float(above)], outer]))
        return np.extract(np.isfinite(edges), edges)


def cells_of(ordered: NDArray[Any], edges: NDArray[np.float64]) -> tuple[int, ...]:
    """How many of the values, which are in growing order and without NaN, are in each of the cells."""
    below = ordered.astype(np.float64).searchsorted(edges)
    return tuple(np.diff(below, prepend=0, append=len(ordered)).tolist())


def deviation_of(values: NDArray[Any]) -> float:
    """The standard deviation of `values`; 1 for a constant."""
    deviation = float(np.std(values.astype(np.float64))) if len(values) else 0.0
    return deviation if np.isfinite(deviation) and deviation > 0 else 1.0


def _feature(name: str, tensor: Tensor, column: int | None, values: NDArray[Any]) -> Feature:
    if tensor.datatype == "BYTES":
        return _category(name, tensor.name, column, values.tolist())
    if tensor.datatype == "BOOL":
        true = int(values.sum())
        return Boolean(name, tensor.name, (len(values) - true, true), len(values), 0, column)
    return _numeric(name, tensor.name, column, values)


def _numeric(name: str, source: str, column: int | None, values: NDArray[Any]) -> Numeric:
    numbers = Numbers(values)
    edges = numbers.edges()
    ends = numbers.ends.astype(np.float64) if len(numbers.ends) else edges[[0, 0]]
    first, last = edges.searchsorted(ends, side="right")
    return Numeric(
        name=name,
        input=source,
        edges=tuple(edges.tolist()),
        counts=cells_of(numbers.ordered, edges),
        deciles=tuple(sorted({int(place) for place in np.searchsorted(edges, numbers.quantiles(_DECILES))})),
        inside=(int(first), int(last)),
        n=len(values),
        missing=len(values) - len(numbers.ordered),
        mean=numbers.mean,
        deviation=numbers.deviation,
        column=column,
    )


def _category(name: str, source: str, column: int | None, values: Iterable[Any]) -> Category:
    given = list(values)
    present = Counter(value for value in given if isinstance(value, str) and value)
    ranked = sorted(present.items(), key=lambda entry: (-entry[1], entry[0]))
    named = [(value, count) for value, count in ranked if count >= MIN_CATEGORY_ROWS][:MAX_CATEGORIES]
    others = ranked[len(named) :]
    return Category(
        name=name,
        input=source,
        categories=tuple(value for value, _ in named),
        counts=(*(count for _, count in named), sum(count for _, count in others), 0),
        n=len(given),
        missing=len(given) - present.total(),
        rest=tuple(sorted({rest_hash(value) for value, _ in others})) if len(others) <= MAX_REST else None,
        column=column,
    )
