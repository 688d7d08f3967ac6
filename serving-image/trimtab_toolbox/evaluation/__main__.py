"""The evaluation as a program: `python -m trimtab_toolbox.evaluation` in the Job that grades a challenger."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from trimtab_toolbox import program
from trimtab_toolbox.evaluation.settings import Settings, read_settings
from trimtab_toolbox.journal import Journal


def main() -> int:
    """Grade one challenger; returns 0 for either verdict, else 10 or 75 as an import does."""
    return program.run("evaluation", lambda: read_settings(os.environ), _work)


def _work(settings: Settings, workdir: Path, journal: Journal) -> dict[str, Any]:
    # Imported here: until the deadline runs, nothing may take long.
    from trimtab_toolbox.evaluation.evaluate import evaluate

    return evaluate(settings, workdir, journal)


if __name__ == "__main__":
    raise SystemExit(main())
