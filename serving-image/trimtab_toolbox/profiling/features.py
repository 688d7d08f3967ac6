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
_DECILES = np.arange(1, 10) / 10
_POINTS = np.unique(np.concatenate([np.arange(1, 64) / 64, _DECILES, [0.001, 0.01, 0.99, 0.999]]))


def profile_features(tensors: Tensors, inputs: Sequence[Tensor]) -> tuple[Feature, ...]:
    """The features of the rows in `tensors`, in the order of the inputs' columns."""
    if not is_matrix(inputs):
        return tuple(_feature(tensor.name, tensor, None, tensors[tensor.name][:, 0]) for tensor in inputs)
    matrix = tensors[inputs[0].name]
    names = column_names(inputs)
    return tuple(_feature(name, inputs[0], index, matrix[:, index]) for index, name in enumerate(names))


def edges_of(values: NDArray[Any]) -> NDArray[np.float64]:
    """The edges for numbers like `values`, in growing order; NaN and infinite values say nothing about them."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.zeros(1)
    low, high = finite.min(), finite.max()
    above = high + 1 if values.dtype.kind in "iu" else np.nextafter(high, np.array(np.inf, dtype=values.dtype))
    step = deviation_of(finite)
    beyond = [step * 2.0**power for power in range(_BEYOND)]
    outer = [*(float(low) - far for far in beyond), *(float(high) + far for far in beyond)]
    inner = np.quantile(finite.astype(np.float64), _POINTS)
    edges: NDArray[np.float64] = np.unique(np.concatenate([inner, [float(low), float(above)], outer]))
    return np.extract(np.isfinite(edges), edges)


def cells_of(values: NDArray[Any], edges: NDArray[np.float64]) -> tuple[int, ...]:
    """How many of the `values`, none of them NaN, are in each of the cells."""
    places = np.searchsorted(edges, values.astype(np.float64), side="right")
    return tuple(int(count) for count in np.bincount(places, minlength=len(edges) + 1))


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
    present = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    finite = present[np.isfinite(present)]
    edges = edges_of(present)
    deciles = np.quantile(finite.astype(np.float64), _DECILES) if len(finite) else np.empty(0)
    ends = [finite.min(), finite.max()] if len(finite) else [edges[0], edges[0]]
    first, last = np.searchsorted(edges, np.array(ends, dtype=np.float64), side="right")
    return Numeric(
        name=name,
        input=source,
        edges=tuple(edges.tolist()),
        counts=cells_of(present, edges),
        deciles=tuple(sorted({int(place) for place in np.searchsorted(edges, deciles)})),
        inside=(int(first), int(last)),
        n=len(values),
        missing=len(values) - len(present),
        mean=float(finite.astype(np.float64).mean()) if len(finite) else 0.0,
        deviation=deviation_of(finite),
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
