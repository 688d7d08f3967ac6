"""Boards, rows and panels as values, and the JSON that Grafana (10 or later) reads of them. Pure.

Every query goes to the data source that is chosen on the dashboard, so the files can be imported anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["timeseries", "stat", "table"]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
HEIGHT = {"timeseries": 8, "stat": 4, "table": 8}
SCHEMA_VERSION = 39


@dataclass(frozen=True)
class Panel:
    """One panel: queries by legend. `unit` is Grafana's name of one; `above` colours values from there on red."""

    title: str
    queries: Mapping[str, str]
    about: str
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = 8
    above: float | None = None
    below: float | None = None


@dataclass(frozen=True)
class Board:
    """One dashboard: rows of panels by title, and variables by name, each as Grafana's `label_values(...)`."""

    title: str
    about: str
    rows: Mapping[str, tuple[Panel, ...]]
    variables: Mapping[str, str] = field(default_factory=dict)


def to_json(name: str, board: Board) -> str:
    """The file of a dashboard; `name` makes its address, which must not change."""
    variables = [_source(), *(_variable(key, query) for key, query in board.variables.items())]
    content = {
        "uid": f"trimtab-{name}",
        "title": f"Trimtab / {board.title}",
        "description": board.about,
        "tags": ["trimtab"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["trimtab"], "asDropdown": True, "title": "Trimtab"}],
        "templating": {"list": variables},
        "panels": list(_laid_out(board)),
    }
    return json.dumps(content, indent=1) + "\n"


def _source() -> Json:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _variable(name: str, query: str) -> Json:
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _laid_out(board: Board) -> Iterator[Json]:
    """Panels from left to right, each row of the board below the one before."""
    number, y = 0, 0
    for title, panels in board.rows.items():
        number += 1
        yield {"id": number, "type": "row", "title": title, "gridPos": _at(0, y, COLUMNS, 1), "panels": []}
        y, x, height = y + 1, 0, 0
        for panel in panels:
            if x + panel.width > COLUMNS:
                y, x, height = y + height, 0, 0
            number += 1
            yield {"id": number, "gridPos": _at(x, y, panel.width, HEIGHT[panel.kind]), **_panel(panel)}
            x, height = x + panel.width, max(height, HEIGHT[panel.kind])
        y += height


def _at(x: int, y: int, width: int, height: int) -> Json:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel) -> Json:
    targets = [_target(panel, index, *query) for index, query in enumerate(panel.queries.items())]
    defaults: Json = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": _steps(panel)}}
    if panel.kind == "timeseries":
        defaults["custom"] = {"lineWidth": 1, "fillOpacity": 5, "showPoints": "never"}
    return {
        "title": panel.title,
        "description": panel.about,
        "type": panel.kind,
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel.kind),
        **({"transformations": _columns()} if panel.kind == "table" else {}),
    }


def _target(panel: Panel, index: int, legend: str, expression: str) -> Json:
    instant = panel.kind == "table"
    found = {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
    return {**found, "instant": instant, "range": not instant, **({"format": "table"} if instant else {})}


def _steps(panel: Panel) -> list[Json]:
    if panel.below is not None:
        return [{"color": "red", "value": None}, {"color": "green", "value": panel.below}]
    bad = [] if panel.above is None else [{"color": "red", "value": panel.above}]
    return [{"color": "green", "value": None}, *bad]


def _options(kind: Kind) -> Json:
    if kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    return {"reduceOptions": {"calcs": ["lastNotNull"]}} if kind == "stat" else {"showHeader": True}


def _columns() -> list[Json]:
    """Tables show labels, not the time of the question."""
    return [{"id": "organize", "options": {"excludeByName": {"Time": True, "__name__": True}}}]
