"""The import as a program: `python -m trimtab_toolbox` in the Job, `trimtab-import` at a prompt.

The outcome is said three times: as JSON on stdout, to the file the operator reads, and as the exit code.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trimtab_serving.outcome import Failure, Reason, report
from trimtab_toolbox.deadline import Deadline
from trimtab_toolbox.journal import Journal
from trimtab_toolbox.request import Request, read_request


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one import; returns 0, 10 (trying again is useless) or 75 (it may help)."""
    journal = Journal()
    result_path = os.environ.get("TRIMTAB_RESULT_PATH", "")
    try:
        request = read_request(sys.argv[1:] if arguments is None else arguments, os.environ)
        result_path = request.result_path
        result = _within_deadline(request, journal)
    except Failure as failure:
        _tell(result_path, failure.result())
        journal.line("import failed", **failure.result())
        return failure.exit_code
    _tell(result_path, result)
    return 0


def _within_deadline(request: Request, journal: Journal) -> dict[str, Any]:
    def tell(failure: Failure) -> None:
        _tell(request.result_path, failure.result())
        journal.line("import failed", **failure.result())

    with tempfile.TemporaryDirectory(prefix="trimtab-import-") as name:
        workdir = Path(name)
        with Deadline(request.timeout_seconds, lambda: journal.step, tell, workdir):
            return _run(request, workdir, journal)


def _run(request: Request, workdir: Path, journal: Journal) -> dict[str, Any]:
    try:
        # Imported here: until the deadline runs, nothing may take long.
        from trimtab_toolbox.importer import run_import

        return run_import(request, workdir, journal)
    except Failure:
        raise
    except Exception as error:
        traceback.print_exc()
        text = " ".join(str(error).split())[:500]
        raise Failure(
            Reason.LOAD_FAILED,
            f"the step {journal.step!r} ended with {type(error).__name__}: {text}; the log of the import has the "
            "traceback",
        ) from error


def _tell(path: str, result: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
    sys.stdout.flush()
    if path:
        report(path, result)


if __name__ == "__main__":
    raise SystemExit(main())
