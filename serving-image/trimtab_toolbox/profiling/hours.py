"""What the training data and the model's scores looked like by hour of the day, in the profile's own cells.

With it the operator compares an hour of traffic with the same hour of training, so that a daily cycle is no drift.
Times are taken in UTC, as traffic is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab_serving.bundle import Tensor
from trimtab_serving.counting.dated import HOURS, MAX_DATED, Slots
from trimtab_serving.counting.profile import Category, Feature, Numeric, Predictions, Score
from trimtab_toolbox.profiling.scores import Verdicts, predictions_of, score_of
from trimtab_toolbox.table import Tensors, is_matrix

Whole = NDArray[np.int64]
_UNITS = ((1e14, "us"), (1e11, "ms"), (0.0, "s"))
"""Numbers beyond these are in this unit since 1970."""


def hours_of_day(times: Any, rows: int, what: str) -> Whole:
    """The hour of the day, UTC, of each of the `times` [rows]; `what` names them in the ValueError for what is no time.

    Dates and times, ISO 8601 texts (UTC where they do not say), or numbers: seconds, milliseconds or microseconds
    since 1970.
    """
    import pandas as pd

    given = pd.Series(times).reset_index(drop=True)
    if len(given) != rows:
        raise ValueError(f"{what}: there are {len(given)} times for {rows} rows: each row needs its own")
    if pd.api.types.is_numeric_dtype(given):
        largest = float(given.abs().max()) if rows else 0.0
        unit = next(unit for limit, unit in _UNITS if largest > limit or not limit)
        found = pd.to_datetime(given, unit=unit, utc=True, errors="coerce")
    else:
        texts = pd.api.types.is_object_dtype(given) or pd.api.types.is_string_dtype(given)
        more = {"format": "ISO8601"} if texts else {}
        found = pd.to_datetime(given, utc=True, errors="coerce", **more)
    if found.isna().any():
        first = int(found.isna().to_numpy().argmax())
        raise ValueError(
            f"{what}: {int(found.isna().sum())} of {rows} are no times, first {given[first]!r} in row {first}"
        )
    hours: Whole = found.dt.hour.to_numpy(np.int64)
    return hours


def features_by_hour(
    features: Sequence[Feature], tensors: Tensors, inputs: Sequence[Tensor], hours: Whole
) -> dict[str, Slots]:
    """The counts of the rows in `tensors` by hour, of the 256 most important features."""
    ranked = sorted(range(len(features)), key=lambda index: -(features[index].importance or 0.0))[:MAX_DATED]
    return {features[index].name: _slots(features[index], _column(tensors, inputs, index), hours) for index in ranked}


def verdicts_by_hour(
    model: Any, verdicts: Verdicts, score: Score | None, predictions: Predictions | None
) -> tuple[Slots | None, Slots | None]:
    """The counts of `score` and `predictions` by hour; None where there are none, or the verdicts have no hours."""
    if verdicts.hours is None:
        return None, None
    parts = [verdicts.part(verdicts.hours == hour) for hour in range(HOURS)]
    told = [predictions_of(part, model.classes_) for part in parts] if predictions else []
    return _scored(model, parts, score) if score else None, tuple(part.counts for part in told if part) or None


def _scored(model: Any, parts: Sequence[Verdicts], score: Score) -> Slots:
    """The cells of probabilities are the same for any rows; those of numbers are the profile's."""
    if score.kind == "value":
        edges = np.array(score.edges)
        values = [part.answers[~np.isnan(part.answers.astype(np.float64))] for part in parts]
        return tuple(
            _tally(edges.searchsorted(part.astype(np.float64), side="right"), len(edges) + 1) for part in values
        )
    found = [score_of(model, part) for part in parts]
    return tuple(part.counts for part in found if part is not None)


def _slots(feature: Feature, values: NDArray[Any], hours: Whole) -> Slots:
    """A feature's counts, 24 rows of them."""
    cells, present = _cells(feature, values)
    places = _tally(hours[present] * feature.cells + cells[present], HOURS * feature.cells)
    return tuple(places[start : start + feature.cells] for start in range(0, len(places), feature.cells))


def _cells(feature: Feature, values: NDArray[Any]) -> tuple[Whole, NDArray[np.bool_]]:
    """The cell of each value, and whether there is a value."""
    if isinstance(feature, Numeric):
        numbers = values.astype(np.float64)
        return np.asarray(feature.edges).searchsorted(numbers, side="right"), ~np.isnan(numbers)
    if isinstance(feature, Category):
        known = {category: place for place, category in enumerate(feature.categories)}
        other = len(known)
        found = [known.get(value, other) if isinstance(value, str) and value else -1 for value in values.tolist()]
        cells = np.array(found, np.int64)
        return cells, cells >= 0
    return values.astype(np.int64), np.ones(len(values), bool)


def _tally(places: Whole, size: int) -> tuple[int, ...]:
    return tuple(np.bincount(places, minlength=size).tolist())


def _column(tensors: Tensors, inputs: Sequence[Tensor], index: int) -> NDArray[Any]:
    return tensors[inputs[0].name][:, index] if is_matrix(inputs) else tensors[inputs[index].name][:, 0]
