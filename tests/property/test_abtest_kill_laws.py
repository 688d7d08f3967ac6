"""Experiments end as they would have ended, wherever the operator is killed on the way."""

from __future__ import annotations

import pytest

from tests.abtest_life import Life, Story
from tests.thorough import spread

BETTER = {"a": 0.1, "b": 0.2, "c": 0.1}
OTHER_WEIGHTS = [
    {"name": "a", "deployment": "mdep-a", "weight": 70},
    {"name": "b", "deployment": "mdep-b", "weight": 30},
]
STORIES = {
    # Two segments, then all users to the winner.
    "win": Story((50, 50), {"minSeconds": 120}, BETTER, edits={10: {"arms": OTHER_WEIGHTS}}, ticks=45),
    # The same, with a router and both model pods counting from zero on the way.
    "anew": Story(
        (50, 50),
        {"minSeconds": 180},
        BETTER,
        edits={10: {"arms": OTHER_WEIGHTS}},
        anew={17: ("exp-router-1",), 25: ("pod-a", "pod-b")},
        ticks=60,
    ),
    # One arm of three loses its users, another one wins.
    "harm": Story(
        (40, 30, 30),
        {"minSeconds": 120, "guardrails": [{"metric": "Errors", "maxIncreasePercent": "50"}]},
        BETTER,
        errors={"a": 0.01, "b": 0.01, "c": 0.08},
        ticks=45,
        requests=600,
    ),
    # Another question in mid-run: the old answer is archived, and users are split anew.
    "changed": Story(
        (50, 50),
        {"minSeconds": 90},
        BETTER,
        edits={12: {"objective": {"metric": "Outcome", "minimumEffectPercent": "10", "alpha": "0.01"}}},
        ticks=45,
    ),
}
ENDS = {
    "win": ("Win", "b", 2, 0, []),
    "anew": ("Win", "b", 2, 0, []),
    "harm": ("Win", "b", 2, 0, ["c"]),
    "changed": ("Win", "b", 1, 1, []),
}


def killed(name: str, points: int) -> int:
    """Kill the operator after so many of the writes, evenly spread, and compare each end with the undisturbed one.

    `Life` checks at each write that nothing is counted twice or lost. Returns the number of lives that were cut.
    """
    undisturbed = Life(STORIES[name]).live()
    end = undisturbed.end()
    decision, winner, segments, archived, stopped = ENDS[name]
    assert (end["verdict"], end["stopped"]) == ((decision, winner, True), stopped)
    assert (len(end["segments"]), len(end["history"])) == (segments, archived)
    told, lost = (sum(c["requests"] for c in of.values()) for of in (undisturbed.told, undisturbed.lost))
    assert told > 2_000
    assert (lost > 0) == bool(STORIES[name].anew)
    assert lost < told / 4
    chosen = spread(points, undisturbed.writes)
    for point in chosen:
        life = Life(STORIES[name], kill_in=point).live()
        assert life.ended == 1
        assert life.end() == end, f"killed after write {point}"
    return len(chosen)


@pytest.mark.parametrize("name", ["win", "harm", "changed"])
def test_a_kill_after_a_write_changes_nothing_about_the_end(name: str) -> None:
    assert killed(name, points=2) == 2
