"""Weights that follow the evidence: floors, seeds, and no more than the evidence says."""

import pytest

from trimtab.evidence.bandit import next_weights
from trimtab.evidence.design import Design, Objective
from trimtab.evidence.tally import Segment, Tally

TWO = Design(("a", "b"), "a")
THREE = Design(("a", "b", "c"), "a")


def weights(design, *segments, run="r", batch=1, floor=5.0):
    return next_weights(design, segments, run=run, batch=batch, floor_percent=floor)


def even(**outcomes):
    tallies = {
        arm: Tally(users=5_000, outcomes=count, outcome_sum=count, outcome_squares=count)
        for arm, count in outcomes.items()
    }
    return Segment(60, dict.fromkeys(outcomes, 100 / len(outcomes)), tallies)


def test_without_data_all_arms_are_alike():
    assert weights(TWO) == pytest.approx({"a": 50, "b": 50}, abs=4)


def test_the_better_arm_gets_all_but_the_floor():
    found = weights(TWO, even(a=400, b=600))
    assert found["b"] == pytest.approx(95, abs=0.1)
    assert sum(found.values()) == pytest.approx(100)
    means = Design(("a", "b"), "a", Objective("OutcomeMean"))
    assert weights(means, even(a=400, b=600))["b"] == pytest.approx(95, abs=0.1)
    fewer = Design(("a", "b"), "a", Objective("Outcome", "Decrease"))
    assert weights(fewer, even(a=400, b=600))["a"] == pytest.approx(95, abs=0.1)


def test_with_three_arms_the_second_best_is_tried_as_well():
    found = weights(THREE, even(a=400, b=600, c=500))
    assert found["b"] == pytest.approx(5 + 85 / 2, abs=1)
    assert found["c"] == pytest.approx(5 + 85 / 2, abs=1)
    assert found["a"] == pytest.approx(5, abs=0.5)


def test_the_same_state_gives_the_same_weights_and_another_batch_others():
    segment = even(a=500, b=520)
    assert weights(TWO, segment) == weights(TWO, segment)
    assert weights(TWO, segment, batch=2) != weights(TWO, segment)
    assert weights(TWO, segment, run="other") != weights(TWO, segment)
    turned = Design(("b", "a"), "a")
    assert weights(turned, segment) == weights(TWO, segment)


def test_a_drift_under_growing_weights_is_no_advantage():
    early = Segment(
        60, {"a": 95.0, "b": 5.0}, {"a": Tally(users=9_500, outcomes=475), "b": Tally(users=500, outcomes=25)}
    )
    late = Segment(
        60, {"a": 50.0, "b": 50.0}, {"a": Tally(users=5_000, outcomes=750), "b": Tally(users=5_000, outcomes=750)}
    )
    assert weights(TWO, early, late)["b"] == pytest.approx(50, abs=4)


def test_floors_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"^floorPercent: 3 arms of at least 40 % are more than 100 %$"):
        weights(THREE, floor=40.0)
