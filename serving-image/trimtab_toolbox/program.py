"""How a program of the toolbox runs and ends, whatever it does: the import and the evaluation are two of them.

The outcome is said three times: as JSON on stdout, to the file the operator reads, and as the exit code.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from trimtab_serving.outcome import Failure, Reason, report
from trimtab_toolbox.deadline import Deadline
from trimtab_toolbox.journal import Journal


class Asked(Protocol):
    """What any program is asked: where its last words go, and when it has to be done."""

    @property
    def result_path(self) -> str:
        """A file for the outcome; empty for none."""
        ...

    @property
    def timeout_seconds(self) -> float:
        """After this the process ends."""
        ...


A = TypeVar("A", bound=Asked)
Work = Callable[[A, Path, Journal], dict[str, Any]]


def run(what: str, read: Callable[[], A], work: Work[A]) -> int:
    """Do `work` on what `read` gives; returns 0, 10 (trying again is useless) or 75 (it may help).

    `what` names the program in messages. `work` gets an empty directory that is removed afterwards, and returns the
    result; until it is called nothing may take long, so it is the one to import what is heavy.
    """
    journal = Journal()
    result_path = os.environ.get("TRIMTAB_RESULT_PATH", "")
    try:
        asked = read()
        result_path = asked.result_path
        result = _within_deadline(what, asked, work, journal)
    except Failure as failure:
        _tell(result_path, failure.result())
        journal.line(f"{what} failed", **failure.result())
        return failure.exit_code
    _tell(result_path, result)
    return 0


def _within_deadline(what: str, asked: A, work: Work[A], journal: Journal) -> dict[str, Any]:
    def tell(failure: Failure) -> None:
        _tell(asked.result_path, failure.result())
        journal.line(f"{what} failed", **failure.result())

    with tempfile.TemporaryDirectory(prefix=f"trimtab-{what}-") as name:
        workdir = Path(name)
        with Deadline(asked.timeout_seconds, lambda: journal.step, tell, workdir, what):
            return _work(what, asked, work, workdir, journal)


def _work(what: str, asked: A, work: Work[A], workdir: Path, journal: Journal) -> dict[str, Any]:
    try:
        return work(asked, workdir, journal)
    except Failure:
        raise
    except Exception as error:
        traceback.print_exc()
        text = " ".join(str(error).split())[:500]
        raise Failure(
            Reason.LOAD_FAILED,
            f"the step {journal.step!r} ended with {type(error).__name__}: {text}; the log of the {what} has the "
            "traceback",
        ) from error


def _tell(path: str, result: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
    sys.stdout.flush()
    if path:
        report(path, result)
