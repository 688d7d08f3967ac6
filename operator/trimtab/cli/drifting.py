"""Files for `drift`: one compared with another, or a dated one gone through, and the answer as text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from trimtab.cli import text, wording
from trimtab.cli.csvfile import File, read
from trimtab.cli.errors import BadInput
from trimtab.evidence.drift import offline
from trimtab.evidence.drift.columns import Table
from trimtab.evidence.drift.table import Binning

EPOCH_LIMITS = ((1e14, 1e6), (1e11, 1e3))
"""Numbers beyond these are microseconds and milliseconds since the epoch."""
LATEST = 253_402_300_799.0
BASIC_DATE = 8
"""The digits of a date without hyphens."""
HEADS = ("FEATURE", "LEVEL", "PSI", "EXCESS", "P", "KS", "W/SD", "JS")


class Asked(NamedTuple):
    """The files and columns of one command."""

    reference: str
    current: str = ""
    categorical: tuple[str, ...] = ()
    time: str = ""
    replay: bool = False
    """Whether `current` is gone through look by look."""


def asked(
    *, reference: str | None, current: str | None, replay: str | None, time: str | None, categorical: str
) -> Asked:
    """What the options ask for; BadInput says which do not go together."""
    if bool(current) == bool(replay):
        raise BadInput(
            "give either --current, to compare two files, or --replay, to go through a dated one; or name mdep/NAME"
        )
    if replay and not time:
        raise BadInput("--replay needs --time: the rows need their times")
    if current and not reference:
        raise BadInput("--reference: name the file that --current is compared with")
    chosen = tuple(name.strip() for name in categorical.split(",") if name.strip())
    return Asked(reference or "", current or replay or "", chosen, time or "", bool(replay))


def answer(asked: Asked, *, as_json: bool) -> None:
    """Print what was found, and on stderr what was left out."""
    if asked.replay:
        looks, notes = replayed(asked)
    else:
        found, notes = compared(asked)
        looks = iter([found])
    for note in notes:
        click.echo(note, err=True)
    for look in looks:
        click.echo(json.dumps(look) if as_json or asked.replay else table(look))


def compared(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    """The comparison of two files, and notes on what was left out; BadInput names file, line and column.

    Where a column of times is named, both have it.
    """
    reference, before = _timed(read(asked.reference), asked.time)
    current, after = _timed(read(asked.current), asked.time)
    binning, notes = _binned(reference, reference.columns, asked.categorical, before)
    notes += _unmatched(binning, current)
    return offline.compare(binning, current.columns, after or ()), notes


def replayed(asked: Asked) -> tuple[Iterator[dict[str, Any]], list[str]]:
    """One answer for each look at a dated file, and notes; BadInput names file, line and column."""
    record, times = _dated(read(asked.current), asked.time)
    if asked.reference:
        given = read(asked.reference)
        given, own = _timed(given, asked.time if asked.time in given.columns else "")
        binning, notes = _binned(given, given.columns, asked.categorical, own)
        notes += _unmatched(binning, record)
        return offline.replay(binning, record.columns, times), notes
    place, first, rest = offline.split(record.columns, times)
    if not 0 < place < len(times):
        raise BadInput(f"{record.path}: it needs rows at two times or more: the first quarter is the reference")
    binning, notes = _binned(record, first, asked.categorical, times[:place])
    notes.insert(0, f"{record.path}: the reference is its first {place:,} of {len(times):,} rows")
    return offline.replay(binning, rest, times[place:]), notes


def _binned(
    file: File, columns: Table, categorical: Sequence[str], times: Sequence[float] | None
) -> tuple[Binning, list[str]]:
    for name in categorical:
        if name not in columns:
            raise BadInput(f"--categorical: {file.path} has no column {name}, only {', '.join(columns)}")
    try:
        binning = Binning(columns, categorical, times)
    except ValueError as error:
        raise BadInput(f"{file.path}: {error}") from None
    return binning, [f"{file.path}: {note}" for note in binning.notes.values()]


def _unmatched(binning: Binning, current: File) -> list[str]:
    """Notes on columns that only one of the files has."""
    wanted = [feature.name for feature in binning.reference.features]
    absent = [name for name in wanted if name not in current.columns]
    if len(absent) == len(wanted):
        raise BadInput(f"{current.path}: it has none of the reference's columns ({', '.join(wanted)})")
    more = [name for name in current.columns if name not in wanted and name not in binning.notes]
    notes = [f"{current.path}: column {name} is absent; its values count as missing" for name in absent]
    return notes + [f"{current.path}: column {name} is not in the reference; it is ignored" for name in more]


def _timed(file: File, column: str) -> tuple[File, list[float] | None]:
    """As `_dated`, where a column is named; the file as it is and None where none is."""
    return _dated(file, column) if column else (file, None)


def _dated(file: File, column: str) -> tuple[File, list[float]]:
    """The other columns in the order of time, and the times in seconds since the epoch."""
    if column not in file.columns:
        raise BadInput(f"--time: {file.path} has no column {column}, only {', '.join(file.columns)}")
    stamps = []
    values = file.columns[column]
    for stamp, value, line in zip(times(values), values, file.lines, strict=True):
        if stamp is None:
            what = "neither a date and time as 2030-01-31T12:00:00Z nor seconds since 1970"
            raise BadInput(f"{file.path}: line {line}: {column}: {value!r} is {what}")
        stamps.append(stamp)
    order = sorted(range(len(stamps)), key=stamps.__getitem__)
    columns = {name: [cells[row] for row in order] for name, cells in file.columns.items() if name != column}
    return file._replace(columns=columns), [stamps[row] for row in order]


def times(values: Sequence[str]) -> list[float | None]:
    """Seconds since the epoch of a column of times; None for what is none.

    Eight digits may be a date, as 20300131, or seconds: they are dates where all of the column are.
    """
    days = [_date_and_time(value) if len(value.strip()) == BASIC_DATE else None for value in values]
    if all(day is not None and day >= 0 for day in days):
        return days
    return [seconds(value) for value in values]


def seconds(value: str) -> float | None:
    """Seconds since the epoch of an ISO 8601 time, UTC if it does not say, or of a number; None for anything else."""
    try:
        stamp: float | None = _since_1970(float(value))
    except ValueError:
        stamp = _date_and_time(value)
    return stamp if stamp is not None and math.isfinite(stamp) and 0 <= stamp <= LATEST else None


def _date_and_time(value: str) -> float | None:
    try:
        found = datetime.fromisoformat(value.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _since_1970(number: float) -> float:
    unit = next((unit for limit, unit in EPOCH_LIMITS if abs(number) > limit), 1.0)
    return number / unit


def table(found: Mapping[str, Any]) -> str:
    """A comparison for a terminal of 100 columns."""
    lines = [f"State: {found['state']}, score {wording.score(found['score'])}, {wording.count(found['rows'])} rows"]
    for key, where in (("neededRows", "current data"), ("neededReferenceRows", "reference")):
        if found[key]:
            lines.append(f"{wording.count(found[key])} more rows are needed in the {where}")
    rows = [_row(name, told) for name, told in found["features"].items()]
    lines += ["", *text.table(HEADS, rows)]
    if (pair := found["pair"]) and pair["drifted"]:
        first, second = pair["features"]
        lines += ["", f"{first} and {second}: correlation {pair['before']:.2f}, now {pair['after']:.2f}"]
    if found["quality"]:
        lines += ["", *(f"{told['feature']}: {told['problem']}: {told['message']}" for told in found["quality"])]
    return "\n".join(lines)


def _row(name: str, told: Mapping[str, Any]) -> Sequence[str]:
    keys = ("psi", "excess", "pValue", "ks", "wasserstein", "jensenShannon")
    return (name, told["level"], *("" if told[key] is None else wording.score(told[key]) for key in keys))
