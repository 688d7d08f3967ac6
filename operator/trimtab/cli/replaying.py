"""Recorded experiments, read from a file or stdin and judged again, one after the other."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from trimtab.cli.errors import BadInput
from trimtab.evidence.replay import replay


class Record(NamedTuple):
    """One experiment's JSON text and where it was found."""

    where: str
    text: str


def replayed(path: str) -> Iterator[list[dict[str, Any]]]:
    """Per experiment one result for each segment; BadInput names file, line and field."""
    for record in _records(path):
        try:
            yield replay(_parsed(record))
        except ValueError as error:
            raise BadInput(f"{record.where}: {error}") from None
        except ArithmeticError:
            raise BadInput(f"{record.where}: its numbers are too large, or too far apart, to be judged") from None


def _records(path: str) -> Iterator[Record]:
    """The experiments: one a line in `.jsonl`, else one in all; on stdin whichever it is."""
    if path == "-":
        text = _decoded("stdin", sys.stdin.buffer.read())
        return iter([Record("stdin", text)]) if _is_one(text) else _lines("stdin", text)
    try:
        text = _decoded(path, Path(path).read_bytes())
    except OSError as error:
        raise BadInput(f"{path}: it cannot be read: {error.strerror}") from None
    return _lines(path, text) if path.endswith(".jsonl") else iter([Record(path, text)])


def _is_one(text: str) -> bool:
    """Whether all of it is one experiment; it is many when the first line is one by itself."""
    try:
        json.loads(text.lstrip().partition("\n")[0])
    except (ValueError, RecursionError):
        return True
    return False


def _lines(where: str, text: str) -> Iterator[Record]:
    # Not splitlines(): a JSON string may hold characters that it takes for the end of a line.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield Record(f"{where}: line {number}", line)


def _decoded(where: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{where}: it is not text in UTF-8: byte {error.start} is none") from None


def _parsed(record: Record) -> Any:
    try:
        return json.loads(record.text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}" if "line" not in record.where else f"column {error.colno}"
        raise ValueError(f"it is not JSON: {error.msg} at {place}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"it is not JSON: {constant} is no number there")
