"""The places of a namespace are never taken twice, whatever overlaps and whoever dies; and everybody's turn comes.

Each Job that is made is checked against the limit at that very moment, and for not being made a second time.
"""

from __future__ import annotations

import random

import pytest

from tests.line_lab import LineLab

CLOSE = (12, 21, 34, 40, 47, 55)
"""Seeds of stories in which more would train than may, if a place that was claimed were taken for granted."""


def story(seed: int) -> LineLab:
    """Some schedules, some places, some deaths."""
    chance = random.Random(seed)
    names, limit = [f"s{number}" for number in range(chance.randrange(2, 8))], chance.randrange(1, 4)
    lab = LineLab({name: {"priority": chance.choice((-5, 0, 0, 7))} for name in names}, limit, seed)
    lab.live(kills=chance.choice((0, 1, 3)))
    return lab


@pytest.mark.parametrize("seed", [*range(6), *CLOSE])
def test_no_more_train_than_there_are_places_and_all_come_to_train(seed: int) -> None:
    lab = story(seed)
    assert sorted(lab.started) == sorted(ref.name for ref in lab.refs)
    assert {lab.run(ref)["reason"] for ref in lab.refs} == {"NothingToDo"}


def test_passes_overlap_so_that_more_claim_a_place_than_there_are() -> None:
    """Otherwise the law above would hold for want of trying."""
    claims = []
    for seed in (3, 9):
        lab = LineLab({f"s{number}": {} for number in range(6)}, limit=1, seed=seed)
        lab.cluster.before = lambda verb, ref, lab=lab: claims.append(  # type: ignore[misc]
            sum(run.get("stage") == "Queued" and "admittedAt" in run for run in map(lab.run, lab.refs))
        )
        lab.live()
    assert max(claims) > 1
