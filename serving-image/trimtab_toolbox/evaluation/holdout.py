"""The rows that both models are graded on: one CSV or Parquet file whose sha256 is known beforehand.

The pin matters more here than anywhere: whoever can change the holdout can make any model win.
"""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.evaluation.metrics import METRICS, Needs
from trimtab_toolbox.evaluation.settings import Settings
from trimtab_toolbox.evaluation.truth import Truth, class_names, coded
from trimtab_toolbox.request import Request
from trimtab_toolbox.sources import SOURCES
from trimtab_toolbox.sources.limits import check_pin, check_total

MIN_ROWS = 50
MAX_CELLS = 200_000_000
_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"


def fetch_holdout(settings: Settings, into: Path) -> Path:
    """Download the file and return its path. Raises what a source raises, and UnsupportedFormat for a model's."""
    scheme = urlsplit(settings.holdout).scheme
    source = _SOURCES.get(scheme)
    if source is None:
        message = (
            f"the holdout {settings.holdout!r} is of a kind that cannot be fetched; supported are "
            f"{', '.join(f'{name}://' for name in _SOURCES)}"
        )
        raise Failure(Reason.UNSUPPORTED_FORMAT, message)
    try:
        path = source(settings.request(settings.holdout, settings.digest), into)
    except Failure as failure:
        raise Failure(failure.reason, f"the holdout: {failure.message}") from failure
    if not path.is_file():
        raise _wrong(f"{settings.holdout} is a folder; name one CSV or Parquet file")
    return path


def _local(request: Request, into: Path) -> Path:
    source = Path(unquote(urlsplit(request.uri).path))
    if not source.is_file():
        raise Failure(Reason.SOURCE_NOT_FOUND, f"{request.uri} is no file of this container; check the path")
    check_total(request, request.uri, [source.stat().st_size])
    into.mkdir(parents=True, exist_ok=True)
    copied = Path(shutil.copyfile(source, into / source.name))
    with copied.open("rb") as file:
        check_pin(request, request.uri, hashlib.file_digest(file, "sha256").hexdigest(), copied.stat().st_size)
    return copied


_SOURCES: Mapping[str, Callable[[Request, Path], Path]] = {
    **{scheme: source for scheme, source in SOURCES.items() if scheme != "models"},
    "file": _local,
}


def read_table(path: Path, text: Collection[str]) -> pd.DataFrame:
    """All rows of the file; the columns named in `text` are read as text, whatever they look like.

    A CSV file has a header, commas and UTF-8, and what pandas takes for missing is missing.
    Raises HoldoutInvalid for a file that is neither, is broken, empty, too wide and long, or names a column twice.
    """
    with path.open("rb") as file:
        head = file.read(4)
    if head.startswith(_GZIP):
        raise _wrong(f"{path.name} is compressed; store CSV as it is, or Parquet, which is compressed inside")
    try:
        table = _parquet(path) if head == _PARQUET else _csv(path, text)
    except Failure:
        raise
    except Exception as error:
        kind = "Parquet" if head == _PARQUET else "CSV with a header, commas and UTF-8"
        problem = " ".join(str(error).split())[:300]
        raise _wrong(f"{path.name} cannot be read as {kind}: {type(error).__name__}: {problem}") from error
    table = table.set_axis([str(name) for name in table.columns], axis=1)
    twice = sorted({name for name in table.columns if (table.columns == name).sum() > 1})
    if twice:
        raise _wrong(f"{path.name} has the column {twice[0]!r} more than once; give each its own name")
    return table


def _parquet(path: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq

    described = pq.ParquetFile(path).metadata
    if described.num_rows * described.num_columns > MAX_CELLS:
        raise _too_many(path, described.num_rows, described.num_columns)
    return pd.read_parquet(path).reset_index(drop=True)


def _csv(path: Path, text: Collection[str]) -> pd.DataFrame:
    columns = pd.read_csv(path, nrows=0).columns
    kinds: Any = {name: str for name in columns if name in text}
    with warnings.catch_warnings():
        # Without an index, or pandas would take the first values of rows longer than the header for one and shift all
        # others; it warns of such rows then.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        table = pd.read_csv(path, dtype=kinds, low_memory=False, index_col=False)
    if table.size > MAX_CELLS:
        raise _too_many(path, *table.shape)
    return table


def truth_of(table: pd.DataFrame, settings: Settings, known: Mapping[str, tuple[str, ...] | None]) -> Truth:
    """The truth in the target column. `known` are the classes of each model (by its role), None if it names none.

    Raises HoldoutInvalid when the column is absent or has holes, for too few rows, for targets that are no numbers
    where the metric needs numbers, and for a class that no model has seen.
    """
    name = settings.target
    if name not in table.columns:
        raise _wrong(f"the holdout has no column {name!r} to be its target; it has {_listed(list(table.columns))}")
    target = table[name]
    holes = int(target.isna().sum())
    if holes:
        raise _wrong(f"the target {name!r} is missing in {holes} of {len(target)} rows; leave those rows out")
    if len(target) < MIN_ROWS:
        raise _wrong(f"the holdout has {len(target)} rows, which say nothing; at least {MIN_ROWS} are needed")
    if METRICS[settings.gate.metric].needs is Needs.NUMBERS:
        return Truth(np.empty(0, dtype=np.int64), _numbers(target, settings), ())
    names = class_names(target.to_numpy())
    classes = _classes(names, known)
    codes = coded(names, classes)
    if (codes < 0).any():
        unseen = sorted(set(names[codes < 0]))
        message = (
            f"the target {name!r} has the class {_listed(unseen)} in {int((codes < 0).sum())} rows, which no model was "
            f"trained on; the models know {_listed(classes)}"
        )
        raise _wrong(message)
    return Truth(codes, np.empty(0), classes)


def _classes(names: Any, known: Mapping[str, tuple[str, ...] | None]) -> tuple[str, ...]:
    """The classes of all models in the champion's order; those of the rows where no model names any."""
    said = [classes for classes in known.values() if classes]
    return tuple(dict.fromkeys(name for classes in said for name in classes)) or tuple(sorted(set(names)))


def _numbers(target: pd.Series[Any], settings: Settings) -> Any:
    try:
        values = target.to_numpy(dtype=np.float64)
    except (ValueError, TypeError) as error:
        message = f"the target {settings.target!r} is no number ({error}), and {settings.gate.metric} needs numbers"
        raise _wrong(message) from error
    if not np.isfinite(values).all():
        raise _wrong(f"the target {settings.target!r} is infinite in some rows; leave those rows out")
    return values


def _too_many(path: Path, rows: int, columns: int) -> Failure:
    message = f"{path.name} has {rows} rows of {columns} columns, and {MAX_CELLS} cells are allowed; draw a sample"
    return Failure(Reason.TOO_LARGE, message)


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(repr(name) for name in list(names)[:10])
    return shown + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _wrong(message: str) -> Failure:
    return Failure(Reason.HOLDOUT_INVALID, message)
