"""Rollouts end as they would have ended, wherever the operator is killed on the way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rollout_lab import Lab
from tests.thorough import examples, spread

STRATEGIES: dict[str, dict[str, Any]] = {
    "Canary": {
        "strategy": "Canary",
        "steps": [{"weight": 20, "seconds": 3}],
        "gates": {"minRequests": 20},
        "shadowPercent": 10,
        "shadowSeconds": 2,
        "bakeSeconds": 10,
    },
    "BlueGreen": {"strategy": "BlueGreen", "gates": {"maxErrorPercent": "2"}, "bakeSeconds": 10},
    "RollingUpdate": {"strategy": "RollingUpdate"},
}
ENDS = {"good": {}, "bad": {2: 0.5}}


def life(strategy: str, failing: dict[int, float], kill_at: int | None = None) -> Lab:
    """Version 1 settles, version 2 comes, and with it what it deserves."""
    lab = Lab(STRATEGIES[strategy])
    lab.run(4, 100)
    lab.failing = failing
    lab.deploy(2)
    lab.kill_in = kill_at
    for _ in range(60):
        if "outcome" in lab.rollout and lab.kill_in is None:
            break
        lab.run(1, 100)
    lab.run(16, 100, pace=2)
    return lab


def end(lab: Lab) -> Any:
    """What people see of it afterwards, but for numbers and times."""
    children = sorted(ref for ref in lab.cluster.objects if ref.kind not in ("Pod", "Event"))
    return lab.serving(), lab.fronted(), lab.pods(), children, lab.history(), lab.condition()[:2]


def killed(strategy: str, fate: str, points: int) -> None:
    """Kill the operator after so many of the writes, evenly spread, and compare each end with the undisturbed one.

    `Lab` checks at each write that no revision without pods has traffic, and that no weight was made up.
    """
    undisturbed = life(strategy, ENDS[fate], kill_at=10_000)
    writes = 10_000 - (undisturbed.kill_in or 0)
    assert writes > 10
    for point in spread(points, writes):
        assert end(life(strategy, ENDS[fate], kill_at=point)) == end(undisturbed), f"killed after write {point}"


@pytest.mark.parametrize("fate", ENDS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_kill_after_a_write_changes_nothing_about_the_end(strategy: str, fate: str) -> None:
    killed(strategy, fate, points=examples(9))
