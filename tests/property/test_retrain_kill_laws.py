"""A retraining ends as it would have ended, wherever the operator is killed on the way, and is paid for once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.retrain_lab import CHAMPION, REJECTED, RetrainLab
from tests.thorough import examples, spread

STEPS = [{"weight": 20, "seconds": 3}]
CANARY = {"strategy": "Canary", "steps": STEPS, "gates": {"minRequests": 20}, "bakeSeconds": 10}
STORIES: dict[str, Callable[[RetrainLab], None]] = {
    "Promoted": lambda lab: None,
    "Rejected": lambda lab: setattr(lab, "verdict", REJECTED),
    "Failed": lambda lab: lab.refused.add(2),
    "RolledBack": lambda lab: lab.crashing.add(2),
}


def life(outcome: str, kill_at: int | None = None) -> RetrainLab:
    """Version 1 serves, a run is asked for, and version 2 comes to what it deserves."""
    lab = RetrainLab(CANARY)
    lab.live(lambda: lab.status.get("version") == "1")
    assert (lab.serving(), lab.model()) == (1, ("1", "models:/credit/1"))
    STORIES[outcome](lab)
    lab.ask("now")
    lab.kill_in = kill_at
    lab.live(lambda: lab.outcome() == outcome and len(lab.received) > 0)
    return lab


def end(lab: RetrainLab) -> Any:
    """What is left of it, but for times and chance."""
    children = sorted(ref for ref in lab.cluster.objects if ref.kind not in ("Pod", "Event"))
    alias, messages = lab.mlflow.versions[CHAMPION], {(notice.key, notice.title) for notice in lab.received}
    run = lab.runs()[0]
    told = {key: run.get(key) for key in ("name", "stage", "outcome", "reason", "version", "notified")}
    return children, lab.serving(), lab.model(), lab.candidate(), alias, sorted(lab.mlflow.tags), messages, told


def killed(outcome: str, points: int) -> int:
    """Kill the operator after so many of the writes and effects, evenly spread; how many there were."""
    undisturbed = life(outcome, kill_at=10_000)
    writes = 10_000 - (undisturbed.kill_in or 0)
    for point in spread(points, writes):
        lab = life(outcome, kill_at=point)
        assert end(lab) == end(undisturbed), f"killed after change {point} of {writes}"
        assert len(lab.runs()) == 1
        assert set(lab.made.values()) == {1}, f"killed after change {point}: a Job was made twice: {lab.made}"
        assert len(lab.received) <= 2, f"killed after change {point}: told too often"
        # A change of MLflow is made again only if its maker did not live to see it.
        assert max(lab.mlflow.told.values(), default=0) <= 2
    return writes


@pytest.mark.parametrize("outcome", STORIES)
def test_a_kill_after_a_change_changes_nothing_about_the_end(outcome: str) -> None:
    assert killed(outcome, points=examples(6)) > 8


def test_what_was_promoted_is_told_to_mlflow_once() -> None:
    lab = life("Promoted")
    assert (lab.serving(), lab.model(), lab.candidate()) == (2, ("2", "models:/credit/2"), "")
    assert lab.mlflow.versions[CHAMPION] == "2"
    assert set(lab.mlflow.told.values()) == {1}
    assert [notice.title for notice in lab.received] == ["team-a/weekly: Promoted"]
    assert lab.runs()[0]["notified"] == ["Promoted/slack"]


@pytest.mark.parametrize("outcome", ["Rejected", "Failed", "RolledBack"])
def test_what_was_not_promoted_leaves_alias_and_model_as_they_were(outcome: str) -> None:
    lab = life(outcome)
    assert (lab.serving(), lab.model(), lab.candidate()) == (1, ("1", "models:/credit/1"), "")
    assert lab.mlflow.versions[CHAMPION] == "1"
    assert not any("@champion" in told for told in lab.mlflow.told)
    imports = [name for name in lab.made if name.startswith("credit-")]
    assert len(imports) == (1 if outcome == "Rejected" else 2), "what served before is not imported again"


@pytest.mark.parametrize("strategy", [{}, {"strategy": "BlueGreen", "bakeSeconds": 10}])
def test_a_version_that_crashes_is_withdrawn_whatever_the_strategy(strategy: dict[str, Any]) -> None:
    """RollingUpdate and BlueGreen have no share to take back, and yet the model is what it was again."""
    lab = RetrainLab(strategy)
    lab.live(lambda: lab.status.get("version") == "1")
    lab.crashing.add(2)
    lab.ask("now")
    lab.live(lambda: lab.outcome() == "RolledBack", seconds=30)
    assert (lab.outcome(), lab.serving(), lab.model()) == ("RolledBack", 1, ("1", "models:/credit/1"))
    assert lab.condition()[:2] == ("True", "Reconciled")
    assert lab.mlflow.versions[CHAMPION] == "1"


def test_a_settled_loop_writes_nothing() -> None:
    lab = life("Promoted")
    calls, told = len(lab.cluster.writes()), lab.mlflow.told.total()
    lab.run(600, pace=30)
    assert len(lab.cluster.writes()) == calls
    assert (lab.mlflow.told.total(), len(lab.received)) == (told, 1)


def test_an_alias_that_mlflow_does_not_take_is_repeated_until_it_does() -> None:
    lab = RetrainLab()
    lab.live(lambda: lab.status.get("version") == "1")
    lab.ask("now")
    lab.live(lambda: lab.candidate() == "2")
    lab.mlflow.down = True
    lab.run(120, pace=5)
    lab.mlflow.down = False
    lab.live(lambda: lab.outcome() == "Promoted")
    assert lab.mlflow.versions[CHAMPION] == "2"
