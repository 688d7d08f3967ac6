"""CSV files, read strictly: what is judged is what the file says, and what cannot be read is named by its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from trimtab.cli.errors import BadInput


class File(NamedTuple):
    """A table and the line in which each of its rows ends."""

    path: str
    columns: dict[str, list[str]]
    lines: list[int]


def read(path: str) -> File:
    """The columns of a CSV file with a header; BadInput says what is wrong and where."""
    try:
        content = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadInput(f"{path}: it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: it is not text in UTF-8: byte {error.start} is none") from None
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(path, header)
        rows, lines = [], []
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise BadInput(f"{path}: line {reader.line_num}: {len(row)} values, the header has {len(header)}")
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise BadInput(f"{path}: line {reader.line_num}: it is not CSV: {error}") from None
    if not rows:
        raise BadInput(f"{path}: it has a header and no rows")
    columns = zip(*rows, strict=True)
    return File(path, {name: list(column) for name, column in zip(header, columns, strict=True)}, lines)


def _check_header(path: str, header: Sequence[str]) -> None:
    if not header:
        raise BadInput(f"{path}: it is empty; a header with the columns' names is needed")
    for place, name in enumerate(header, start=1):
        if not name:
            raise BadInput(f"{path}: column {place} has no name in the header")
        if name in header[: place - 1]:
            raise BadInput(f"{path}: two columns are named {name}")
