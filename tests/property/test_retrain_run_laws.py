"""Runs end as they would have ended, wherever the operator is killed on the way, and whatever surrounds them does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.retrain_life import Life, Story
from tests.thorough import spread
from tests.unit.kinds.retrain_lab import DRIFT, GATE, MINUTELY, drifted

MANUAL = {3: {"trimtab.dev/run": "now"}}
CHANNEL = [{"channel": "slack", "events": ["RunFailed", "Rejected", "Promoted", "RolledBack", "RetrainIneffective"]}]
WITH_GATE = {"gate": GATE, "notify": CHANNEL}
BY_DRIFT = {**WITH_GATE, "triggers": DRIFT, "cooldownSeconds": 0}
STORIES = {
    "promoted": Story(WITH_GATE, notes=MANUAL),
    "rejected": Story(WITH_GATE, ("reject",), MANUAL),
    "rolled back": Story(WITH_GATE, ("rollback",), MANUAL),
    "failed": Story(WITH_GATE, ("fail",), MANUAL),
    "a lie": Story(WITH_GATE, ("lie",), MANUAL),
    "skipped": Story(WITH_GATE, ("skip",), MANUAL),
    "no gate": Story({"gate": None}, notes=MANUAL),
    "by calendar": Story({**WITH_GATE, "triggers": MINUTELY}, ("good", "good"), ticks=75),
    "by drift": Story(BY_DRIFT, drift={2: {**drifted(), "follows": True}}, ticks=45),
    "by drift that goes": Story(
        BY_DRIFT, drift={2: drifted(), 14: drifted(state="OK", level="OK", episode=None, windowSeconds=60)}, ticks=45
    ),
    "bad data": Story(
        {**WITH_GATE, "triggers": DRIFT},
        drift={2: drifted(problems=[{"feature": "age", "problem": "Unit", "message": "times 10"}]), 20: drifted()},
    ),
    "a silent MLflow": Story(WITH_GATE, notes=MANUAL, silent=frozenset(range(7, 30)), ticks=60),
}
MANUAL_RUN = ("Manual", "now", "Ended")
DRIFT_RUN = ("Drift", "0123456789ab", "Ended", "Promoted", "Promoted", True)
ENDS = {
    "promoted": ([(*MANUAL_RUN, "Promoted", "Promoted", True)], "2"),
    "rejected": ([(*MANUAL_RUN, "Rejected", "Worse", True)], "1"),
    "rolled back": ([(*MANUAL_RUN, "RolledBack", "HarmProven", True)], "1"),
    "failed": ([(*MANUAL_RUN, "Failed", "TrainingFailed", False)], "1"),
    "a lie": ([(*MANUAL_RUN, "Failed", "NoVersion", False)], "1"),
    "skipped": ([(*MANUAL_RUN, "Skipped", "NothingToDo", False)], "1"),
    "no gate": ([(*MANUAL_RUN, "Promoted", "Promoted", True)], "2"),
    "by calendar": (
        [
            ("Cron", "2030-01-02T03:10:00Z", "Ended", "Promoted", "Promoted", True),
            ("Cron", "2030-01-02T03:20:00Z", "Ended", "Promoted", "Promoted", True),
        ],
        "3",
    ),
    "by drift": ([("Drift", "episode-1", "Ended", "Promoted", "Promoted", True)], "2"),
    "by drift that goes": ([DRIFT_RUN], "2"),
    "bad data": ([DRIFT_RUN], "2"),
    "a silent MLflow": ([(*MANUAL_RUN, "Promoted", "Promoted", True)], "2"),
}


def killed(name: str, points: int) -> int:
    """Kill the operator after so many of its writes, evenly spread, and compare each end with the undisturbed one.

    `Life` checks at each write that no slot has two runs and no run two Jobs. Returns how many lives were cut.
    """
    undisturbed = Life(STORIES[name]).live()
    end = undisturbed.end()
    assert (end["runs"], end["alias"]) == ENDS[name]
    chosen = spread(points, undisturbed.writes)
    for point in chosen:
        life = Life(STORIES[name], kill_in=point).live()
        assert life.ended == 1
        assert life.end() == end, f"killed after write {point}"
    return len(chosen)


@pytest.mark.parametrize("name", STORIES)
def test_a_kill_after_a_write_changes_nothing_about_the_end(name: str) -> None:
    assert killed(name, points=2) == 2


def test_drift_that_retraining_cannot_mend_starts_one_run() -> None:
    life = Life(STORIES["by drift"]).live()
    told = {c.type: (c.status, c.reason) for c in life.status.conditions}
    assert told["RetrainIneffective"] == ("True", "RetrainIneffective")
    assert (life.status.runs[0].effect, life.status.acknowledged) == ("NotRecovered", ["Drift/episode-2"])
    assert sorted(notice.title for notice in life.notifier.sent.values()) == [
        "team-a/weekly: Promoted",
        "team-a/weekly: RetrainIneffective",
    ]


def test_drift_that_a_run_has_mended_is_told_so() -> None:
    life = Life(STORIES["by drift that goes"]).live()
    assert life.status.runs[0].effect == "Recovered"
    assert "RetrainIneffective" not in {c.type for c in life.status.conditions}


def test_bad_data_start_no_run_until_they_are_mended() -> None:
    life = Life(replace(STORIES["bad data"], ticks=18)).live()
    assert life.status.runs == []
    (blocked,) = [c for c in life.status.conditions if c.type == "RetrainBlocked"]
    assert (blocked.reason, "times 10" in blocked.message) == ("DataQualityBreach", True)


def test_a_schedule_that_rests_writes_nothing() -> None:
    life = Life(STORIES["promoted"]).live()
    writes = life.writes
    for _ in range(20):
        life.look()
    assert life.writes == writes
