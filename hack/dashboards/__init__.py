"""Grafana's dashboards, written from short descriptions: `python -m hack.generate` puts them into the chart."""

from __future__ import annotations

from pathlib import Path

from hack.dashboards import drift, operator, rollouts, serving
from hack.dashboards.panels import to_json

FOLDER = Path("charts/trimtab/files/dashboards")
BOARDS = {"drift": drift.BOARD, "operator": operator.BOARD, "rollouts": rollouts.BOARD, "serving": serving.BOARD}


def outputs() -> dict[Path, str]:
    """Every dashboard file, by its path below the checkout."""
    return {FOLDER / f"{name}.json": to_json(name, board) for name, board in BOARDS.items()}
