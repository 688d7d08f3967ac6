"""The rows a recipe learns from, and those it keeps apart to measure on.

With a column of times what is kept apart is later than all that is learnt from, as in production; without one it is a
random part. Neither is the holdout of the gate, which the trainer must never see: `--until` ends the data before it.
Data that cannot be learnt from is said to be bad here, before an hour is spent on it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from trimtab_serving.outcome import EXIT_PERMANENT, Failure
from trimtab_toolbox.evaluation.metrics import METRICS, Needs
from trimtab_toolbox.job import BadData
from trimtab_toolbox.recipes.options import Options
from trimtab_toolbox.request import Request

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS = 100
MAX_CLASSES = 100


class Rows(NamedTuple):
    """Features [n, columns] and targets [n]; in time order when `in_order`."""

    features: pd.DataFrame
    target: Any
    in_order: bool
    times: Any = None
    """The dates and times of the rows [n]; None where some are missing, or bare numbers, which may be of anything."""

    def part(self, rows: Any) -> Rows:
        """Some of the rows, by position."""
        times = None if self.times is None else self.times.iloc[rows]
        return Rows(self.features.iloc[rows], self.target[rows], self.in_order, times)


def is_regression(metric: str) -> bool:
    """Whether the metric is one of numbers and not of classes."""
    return METRICS[metric].needs is Needs.NUMBERS


def load(options: Options, seed: int) -> tuple[Rows, Rows]:
    """The rows to learn from and the later (or randomly chosen) ones to measure on; BadData says what is wrong."""
    rows = prepare(read(options), options)
    return split(rows, options.holdout_percent, seed, is_regression(options.metric))


def read(options: Options) -> pd.DataFrame:
    """The table as it is stored. BadData, or the Failure of the source it cannot be fetched from."""
    from trimtab_toolbox.evaluation.holdout import read_table
    from trimtab_toolbox.sources import SOURCES

    scheme = urlsplit(options.data).scheme
    with tempfile.TemporaryDirectory() as folder:
        path = Path(options.data)
        if scheme in SOURCES:
            request = Request(uri=options.data, store="", max_bytes=options.max_bytes)
            path = SOURCES[scheme](request, Path(folder, "fetched"))
        elif not path.is_file():
            raise BadData(f"{options.data} is no file here, and no https://, s3://, gs://, az:// or hf:// address")
        try:
            return read_table(path, ())
        except Failure as failure:
            if failure.exit_code != EXIT_PERMANENT:
                raise
            raise BadData(failure.message) from failure


def prepare(table: pd.DataFrame, options: Options) -> Rows:
    """Features and targets: rows without a target are left out, numbers are FP64 and may be missing."""
    import pandas as pd

    for name in filter(None, (options.target, options.time, *options.drop)):
        if name not in table.columns:
            raise BadData(f"there is no column {name!r}; there are {', '.join(map(repr, list(table.columns)[:20]))}")
    if options.time:
        times = _times(table[options.time], options.time)
        table = table.assign(**{options.time: times}).sort_values(options.time, kind="stable")
        if options.until:
            table = table[table[options.time] < _times(pd.Series([options.until]), "--until")[0]]
    table = table[table[options.target].notna()]
    if len(table) < MIN_ROWS:
        raise BadData(f"{len(table)} rows have the target {options.target!r}; at least {MIN_ROWS} are needed")
    features = table.drop(columns=[options.target, *filter(None, [options.time]), *options.drop])
    target = _target(table[options.target], options)
    times = table[options.time] if options.time else None
    dated = times is not None and pd.api.types.is_datetime64_any_dtype(times) and times.notna().all()
    return Rows(_features(features), target, bool(options.time), times if dated else None)


def split(rows: Rows, percent: int, seed: int, regression: bool) -> tuple[Rows, Rows]:
    """The first rows and the last `percent` of them; by chance, and by class, where they are in no order."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    count = len(rows.target)
    if rows.in_order:
        cut = count - count * percent // 100
        return rows.part(np.arange(cut)), rows.part(np.arange(cut, count))
    classes = None if regression else rows.target
    few = classes is not None and np.unique(classes, return_counts=True)[1].min() < 2
    learn, measure = train_test_split(
        np.arange(count), test_size=percent / 100, random_state=seed, stratify=None if few else classes
    )
    return rows.part(learn), rows.part(measure)


def _times(column: pd.Series[Any], name: str) -> Any:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return column.astype(float)
    try:
        return pd.to_datetime(column, utc=True, format="ISO8601")
    except (ValueError, TypeError) as error:
        raise BadData(f"{name!r} must hold numbers or times as 2026-01-31T12:00:00Z: {error}") from error


def _features(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers as FP64 and texts as objects; dates and columns without any value are refused."""
    import pandas as pd

    ready = {}
    for name, column in table.items():
        if column.isna().all():
            raise BadData(f"the column {name!r} has no values at all; mend the data, or leave it out (--drop)")
        if pd.api.types.is_datetime64_any_dtype(column):
            raise BadData(f"the column {name!r} holds dates; make numbers of them, or leave it out (--drop)")
        numeric = pd.api.types.is_numeric_dtype(column)
        texts = column.astype(object).where(column.notna(), float("nan"))
        ready[str(name)] = column.astype(float) if numeric else texts
    return pd.DataFrame(ready)


def _target(column: pd.Series[Any], options: Options) -> Any:
    """Numbers for a regression; for classes whole numbers or texts."""
    import numpy as np
    import pandas as pd

    numeric = pd.api.types.is_numeric_dtype(column)
    if is_regression(options.metric):
        if not numeric or not np.isfinite(column.to_numpy(float)).all():
            raise BadData(f"the target {options.target!r} is no finite number, and {options.metric} needs one")
        return column.to_numpy(float)
    if numeric and not (column == column.round()).all():
        raise BadData(f"the target {options.target!r} has fractions; for a regression choose mae, rmse or r2")
    target = column.to_numpy(np.int64) if numeric else column.astype(str).to_numpy(object)
    count = len(np.unique(target))
    if not 2 <= count <= MAX_CLASSES:
        raise BadData(f"the target {options.target!r} has {count} classes; there must be 2 to {MAX_CLASSES}")
    return target
