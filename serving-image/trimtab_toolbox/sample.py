"""The rows on which a converted model must agree with the original, and the rows of the bundle's example.

They are the logged example, rows drawn from the ranges seen by the model and a little beyond, and rows at the
edges: differences between FP32 and FP64 live where a value is far out or exactly on a threshold. The seed is
fixed, because the evidence is part of the bundle and the same source must give the same bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.evidence import observed_categories, observed_ranges
from trimtab_toolbox.opened import Estimator, Schema
from trimtab_toolbox.table import column_datatypes, column_names

DRAWN_ROWS = 4096
MAX_CELLS = 4_000_000
"""Wide models get fewer rows, so that the sample's size does not depend on the model's."""
MAX_LOGGED_ROWS = 1000
MAX_EDGE_COLUMNS = 128
EXAMPLE_ROWS = 3
_BEYOND = 0.05
_SEED = 20240229


@dataclass(frozen=True, slots=True)
class _Column:
    """One feature: its range or its known values, and whether it may be missing."""

    name: str
    datatype: str
    low: float
    high: float
    values: tuple[Any, ...]
    optional: bool


def sample_rows(opened: Estimator, schema: Schema, accepts: Callable[[pd.DataFrame], object]) -> pd.DataFrame:
    """The rows to compare on, the logged example first. `accepts` raises for rows the model cannot predict.

    Raises LoadFailed when the model predicts neither its own example nor any row made up for it.
    """
    logged = _logged_rows(opened, schema)
    failure: Exception | None = None
    for rows in _candidates(opened, schema, logged):
        try:
            accepts(rows)
            return rows
        except Exception as error:
            failure = error
    what = "rows made up from what it remembers of its training data" if logged is None else "its own input example"
    text = " ".join(str(failure).split())[:400]
    raise Failure(
        Reason.LOAD_FAILED,
        f"{type(opened.model).__name__} cannot predict {what}: {type(failure).__name__}: {text}; log it with a "
        "signature and an input example that it can predict",
    )


def example_rows(opened: Estimator, schema: Schema, rows: pd.DataFrame) -> pd.DataFrame:
    """One to three whole rows (nothing missing or infinite) for the bundle's example request."""
    logged = _logged_rows(opened, schema)
    numbers = [name for name, kind in _kinds(schema).items() if kind in ("FP32", "FP64")]
    for candidate in (logged, rows):
        if candidate is None:
            continue
        finite = np.isfinite(candidate[numbers].to_numpy(float)).all(axis=1)
        whole = candidate[finite & candidate.notna().all(axis=1).to_numpy()]
        if len(whole):
            return whole.head(EXAMPLE_ROWS)
    return rows.head(1)


def _candidates(opened: Estimator, schema: Schema, logged: pd.DataFrame | None) -> Iterator[pd.DataFrame]:
    """Rows to compare on, the most telling first: made-up rows may break a rule that the training data keep."""
    columns = _columns(opened, schema, logged)
    # Values that were seen, in new company: where they are few, ties are many.
    seen = [] if logged is None else [_recombined(logged)]
    drawn = pd.concat([_drawn(columns), *seen, _edges(columns)], ignore_index=True)
    yield _assemble(schema, logged, drawn)
    numbers = [name for name, kind in _kinds(schema).items() if kind not in ("BYTES", "BOOL")]
    # No number is negative where something takes logarithms or roots.
    yield _assemble(schema, logged, drawn.assign(**{name: drawn[name].astype(float).abs() for name in numbers}))
    if logged is not None:
        # A date as text, or a code from a list: only values that were seen will do.
        yield _assemble(schema, logged, _recombined(logged))
        yield logged


def _kinds(schema: Schema) -> dict[str, str]:
    return dict(zip(column_names(schema.inputs), column_datatypes(schema.inputs), strict=True))


def _logged_rows(opened: Estimator, schema: Schema) -> pd.DataFrame | None:
    """The logged example with the schema's columns, or None when there is none that fits."""
    if opened.example is None or not len(opened.example):
        return None
    names = column_names(schema.inputs)
    table = opened.example.head(MAX_LOGGED_ROWS).reset_index(drop=True)
    table = table.set_axis([str(name) for name in table.columns], axis=1)
    return table[names] if set(names) <= set(table.columns) else None


def _columns(opened: Estimator, schema: Schema, logged: pd.DataFrame | None) -> list[_Column]:
    kinds = _kinds(schema)
    ranges = observed_ranges(opened.model, len(kinds))
    categories: Mapping[str, list[Any]] = observed_categories(opened.model, list(kinds))
    columns = []
    for (name, kind), (low, high) in zip(kinds.items(), ranges, strict=True):
        seen = [] if logged is None else list(logged[name].dropna().unique())
        values = list(dict.fromkeys([*categories.get(name, []), *(seen if kind == "BYTES" else [])]))
        if kind not in ("BYTES", "BOOL") and seen:
            low, high = np.fmin(low, min(seen)), np.fmax(high, max(seen))
        optional = name in schema.optional
        columns.append(_Column(name, kind, *_widened(low, high), tuple(values), optional))
    return columns


def _widened(low: float, high: float) -> tuple[float, float]:
    if not (np.isfinite(low) and np.isfinite(high)):
        return -3.0, 3.0
    if high <= low:
        return low - max(abs(low) / 2, 1.0), high + max(abs(high) / 2, 1.0)
    return float(low), float(high)


def _drawn(columns: list[_Column]) -> pd.DataFrame:
    rng = np.random.default_rng(_SEED)
    rows = _rows(len(columns))
    drawn: dict[str, Any] = {}
    for column in columns:
        if column.values:
            values = np.array(column.values, dtype=object)[rng.integers(len(column.values), size=rows)]
        else:
            beyond = _BEYOND * (column.high - column.low)
            values = _fit(rng.uniform(column.low - beyond, column.high + beyond, rows), column)
        if column.optional and column.datatype in ("FP32", "FP64", "BYTES"):
            values[rng.random(rows) < 0.05] = None if column.datatype == "BYTES" else np.nan
        drawn[column.name] = values
    return pd.DataFrame(drawn)


def _rows(width: int) -> int:
    return max(256, min(DRAWN_ROWS, MAX_CELLS // width))


def _edges(columns: list[_Column]) -> pd.DataFrame:
    """All low, all high, all middle, all zero, and each of the first columns alone at its low and its high."""
    low = {column.name: _edge(column, column.low) for column in columns}
    high = {column.name: _edge(column, column.high) for column in columns}
    middle = {column.name: _edge(column, (column.low + column.high) / 2) for column in columns}
    zero = {column.name: _edge(column, 0.0) for column in columns}
    alone = [middle | {name: side[name]} for name in list(low)[:MAX_EDGE_COLUMNS] for side in (low, high)]
    return pd.DataFrame([low, high, middle, zero, *alone])


def _edge(column: _Column, value: float) -> Any:
    return column.values[0] if column.values else _fit(np.array([value]), column)[0]


def _fit(values: Any, column: _Column) -> Any:
    """Numbers of the column's kind. Text of which no value is known gets one that no model has seen."""
    if column.datatype == "BYTES":
        return np.full(len(values), "unknown", dtype=object)
    if column.datatype == "BOOL":
        return values > (column.low + column.high) / 2
    return values if column.datatype in ("FP32", "FP64") else np.round(values)


def _recombined(logged: pd.DataFrame) -> pd.DataFrame:
    picks = np.random.default_rng(_SEED).integers(len(logged), size=(_rows(logged.shape[1]), logged.shape[1]))
    return pd.DataFrame({name: logged[name].to_numpy()[picks[:, i]] for i, name in enumerate(logged.columns)})


def _assemble(schema: Schema, logged: pd.DataFrame | None, rows: pd.DataFrame) -> pd.DataFrame:
    """All rows with the schema's columns, each row once: a row that comes again proves nothing more."""
    tables = [rows] if logged is None else [logged, rows]
    return pd.concat(tables, ignore_index=True)[column_names(schema.inputs)].drop_duplicates(ignore_index=True)
