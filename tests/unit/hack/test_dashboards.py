"""Dashboards as Grafana reads them: every panel has its place, its source and its explanation."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from hack import dashboards
from hack.dashboards.panels import COLUMNS, Board, Panel, to_json

FILES = {path.stem: json.loads(text) for path, text in dashboards.outputs().items()}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("name", FILES)
def test_panels_do_not_overlap_and_lie_within_the_page(name: str) -> None:
    cells: set[tuple[int, int]] = set()
    for panel in FILES[name]["panels"]:
        at = panel["gridPos"]
        taken = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert not cells & taken, panel["title"]
        cells |= taken
    assert max(x for x, _ in cells) < COLUMNS


@pytest.mark.parametrize("name", FILES)
def test_every_panel_explains_itself_and_asks_the_chosen_source(name: str) -> None:
    board = FILES[name]
    assert board["uid"] == f"trimtab-{name}"
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    titles = [panel["title"] for panel in panels(board)]
    assert len(set(titles)) == len(titles)
    for panel in panels(board):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["targets"], panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_what_a_query_asks_can_be_chosen() -> None:
    for board in FILES.values():
        chosen = {f"${variable['name']}" for variable in board["templating"]["list"]}
        asked = json.dumps(board["panels"])
        assert ("$namespace" in chosen) is ("$namespace" in asked), board["title"]


def test_thresholds_colour_the_bad_side() -> None:
    rows = {
        "R": (
            Panel("a", {"": "up"}, "A.", above=2),
            Panel("b", {"": "up"}, "B.", below=1),
            Panel("c", {"": "up"}, "C."),
        )
    }
    made = panels(json.loads(to_json("x", Board("X", "All.", rows))))
    steps = [[(s["color"], s["value"]) for s in p["fieldConfig"]["defaults"]["thresholds"]["steps"]] for p in made]
    assert steps == [[("green", None), ("red", 2)], [("red", None), ("green", 1)], [("green", None)]]
