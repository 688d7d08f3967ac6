"""The import as a program: `python -m trimtab_toolbox` in the Job, `trimtab-import` at a prompt."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trimtab_toolbox import program
from trimtab_toolbox.journal import Journal
from trimtab_toolbox.request import Request, read_request


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one import; returns 0, 10 (trying again is useless) or 75 (it may help)."""
    given = sys.argv[1:] if arguments is None else arguments
    return program.run("import", lambda: read_request(given, os.environ), _work)


def _work(request: Request, workdir: Path, journal: Journal) -> dict[str, Any]:
    # Imported here: until the deadline runs, nothing may take long.
    from trimtab_toolbox.importer import run_import

    return run_import(request, workdir, journal)


if __name__ == "__main__":
    raise SystemExit(main())
