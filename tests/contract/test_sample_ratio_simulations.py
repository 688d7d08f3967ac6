"""The sample ratio as the operator tests it, by rows of user buckets and by routers: how often it errs, and how soon it
finds what is wrong. Pods die all the time, and each takes along what was not written yet. Slow, and seeded.

A false alarm is aimed at in 1 of 100 runs at most. 100 runs refuse more than 4 of them; with TRIMTAB_THOROUGH=1 there
are 200, which refuse more than 6.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.thorough import THOROUGH
from trimtab.evidence.arrivals import in_users
from trimtab.evidence.srm import sample_ratio
from trimtab.evidence.tally import Bucket, Segment, Tally

BUCKETS = 100
RUNS = 200 if THOROUGH else 100
ARMS = ("a", "b")
Users = Callable[[Sequence[Segment]], tuple[list[Segment], float]]


@dataclass(frozen=True)
class World:
    """Users of two arms, and what goes wrong. Rates are by look, which is a minute."""

    share: float = 0.5
    """Planned for the second arm."""
    real: float = 0.5
    """What it gets."""
    arriving: int = 0
    """New users a look, who ask once; none where users come back."""
    population: int = 0
    """Users who come back at each look."""
    asking: float = 1.0
    """How often each of those does, on average. Some do far more often than others."""
    dying: float = 0.0
    """The chance that an arm's pod dies, which loses half a look of its counts."""
    failing: float = 0.0
    """Requests of the second arm that fail, and leave no row."""


def looks(world: World, dice: np.random.Generator, count: int) -> Iterator[Segment]:
    """What the ledger holds at each look."""
    arm = (dice.random(world.population) < world.real).astype(int)
    place = dice.integers(0, BUCKETS, world.population)
    busy = dice.gamma(0.5, 2 * world.asking, world.population)
    rows, sent, told = np.zeros((2, BUCKETS)), np.zeros(2), np.zeros(2)
    for _ in range(count):
        asked = np.zeros((2, BUCKETS))
        np.add.at(asked, (arm, place), dice.poisson(busy))
        once = dice.binomial(world.arriving, world.real)
        for index, many in enumerate((world.arriving - once, once)):
            asked[index] += np.bincount(dice.integers(0, BUCKETS, many), minlength=BUCKETS)
        answered = asked.copy()
        if world.failing:
            answered[1] = dice.binomial(asked[1].astype(int), 1 - world.failing)
        for index in range(2):
            if dice.random() < world.dying:
                answered[index] = dice.binomial(answered[index].astype(int), 0.5)
        rows, sent, told = rows + answered, sent + asked.sum(1), told + answered.sum(1)
        tallies = {
            name: Tally(requests=sent[i], answered=told[i], buckets=tuple(Bucket(rows=float(n)) for n in rows[i]))
            for i, name in enumerate(ARMS)
        }
        yield Segment(60.0, {"a": 100 * (1 - world.share), "b": 100 * world.share}, tallies)


def exactly(segments: Sequence[Segment]) -> tuple[list[Segment], float]:
    """The segments with the users there were, where each asks once."""
    counted = [{name: replace(tally, users=tally.requests) for name, tally in s.tallies.items()} for s in segments]
    return [replace(s, tallies=tallies) for s, tallies in zip(segments, counted, strict=True)], 0.0


def found_at(world: World, seed: int, count: int = 60, by: Users = in_users) -> float:
    """The look at which a mismatch is found, or infinity."""
    dice = np.random.default_rng(seed)
    for number, segment in enumerate(looks(world, dice, count), start=1):
        judged, error = by([segment])
        if sample_ratio(ARMS, judged, judged, error).mismatch:
            return number
    return math.inf


QUIET = {
    "users who come once": World(arriving=250),
    "users who come back": World(population=1_000, asking=0.3),
    "a tenth of them": World(share=0.1, real=0.1, population=1_000, asking=0.3),
    "pods that die each ten minutes": World(arriving=250, dying=0.1),
    "pods that die all the time": World(population=1_000, asking=2.0, dying=0.7),
    "one arm that fails": World(arriving=250, failing=0.3, dying=0.1),
}


@pytest.mark.parametrize("name", QUIET)
def test_nothing_is_found_where_users_come_as_planned(name: str) -> None:
    wrong = sum(math.isfinite(found_at(QUIET[name], seed)) for seed in range(RUNS))
    assert wrong <= 0.01 * RUNS + 3.5 * math.sqrt(0.01 * 0.99 * RUNS)


@pytest.mark.parametrize(
    ("planned", "real", "aim"),
    [(0.5, 0.52, 8_500), (0.1, 0.09, 12_250)],
)
def test_a_mismatch_is_found_as_soon_as_by_exact_counts(planned: float, real: float, aim: int) -> None:
    """In users, median: no more than a fifth more than a test of exact counts needs of the same users, and than that
    test is to need (test_evidence_simulations)."""
    each = 250
    world = World(share=planned, real=real, arriving=each)
    by_rows, by_users = ([each * found_at(world, seed, 150, by) for seed in range(RUNS)] for by in (in_users, exactly))
    assert np.median(by_rows) <= 1.2 * min(np.median(by_users), aim)


def test_a_mismatch_is_found_while_pods_die() -> None:
    """Each lost count widens what users may have been, until as much was counted again."""
    world = World(share=0.5, real=0.55, arriving=1_000, dying=0.1)
    assert np.mean([math.isfinite(found_at(world, seed)) for seed in range(60)]) >= 0.9
