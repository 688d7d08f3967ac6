"""The error rates that docs/gate.md states, on seeded holdouts: a smaller `python -m bench.gate`."""

import math

import numpy as np
import pytest

from bench.contests import classifiers, regressions
from bench.gate import CONFIDENCE, accuracy, areas, calibrated, enumerated, true_improvement
from trimtab_toolbox.evaluation.estimate import pair
from trimtab_toolbox.evaluation.metrics import METRICS, Needs

NOMINAL = 1 - CONFIDENCE


def most(rate: float, runs: int) -> float:
    """What a share with this true `rate` stays below but for 1 time in 1,000."""
    return rate + 3.1 * math.sqrt(rate * (1 - rate) / runs)


def test_pairs_of_classifiers_are_promoted_as_often_as_stated() -> None:
    runs = 5_000
    found = dict(accuracy(np.random.default_rng(1), runs))
    for rows in ("2,000", "10,000"):
        assert found[f"equal, {rows} rows"]["superior"] <= most(NOMINAL, runs)
        assert found[f"1 pp worse, {rows} rows"]["non-inferior"] <= most(NOMINAL, runs)
        assert found[f"0.5 pp worse, {rows} rows"]["superior"] < 0.02
        assert 0.45 < found[f"equal, {rows} rows"]["new > old"] < 0.55
    assert 0.5 < found["equal, 2,000 rows"]["non-inferior"] < 0.6
    assert found["equal, 10,000 rows"]["non-inferior"] > 0.98
    assert found["1 pp better, 2,000 rows"]["superior"] > 3 * found["1 pp better, 2,000 rows"]["superior, unpaired"]
    assert found["0.5 pp worse, 2,000 rows"]["new > old elsewhere"] > 0.25


def test_pairs_of_scores_are_promoted_as_often_as_stated() -> None:
    runs = 200
    found = dict(areas(np.random.default_rng(2), 20 * runs))
    for rows in ("2,000", "10,000"):
        assert found[f"equal, {rows} rows"]["superior"] <= most(NOMINAL, runs)
        assert found[f"1 pp worse, {rows} rows"]["non-inferior"] <= most(NOMINAL, runs)
    assert found["equal, 10,000 rows"]["non-inferior"] > 0.97
    assert found["equal, 2,000 rows"]["non-inferior"] > 10 * found["equal, 2,000 rows"]["non-inferior, unpaired"]


def test_the_paired_test_of_shares_never_exceeds_its_rate() -> None:
    for name, worst in enumerated(np.random.default_rng(0), 0):
        assert worst["with the correction"] <= NOMINAL, name
    assert worst["with the correction"] > 0.9 * NOMINAL


@pytest.mark.parametrize("name", METRICS)
def test_bounds_hold_for_each_metric(name: str) -> None:
    dice = np.random.default_rng(3)
    numbers = METRICS[name].needs is Needs.NUMBERS
    world = regressions(dice, 200_000) if numbers else classifiers(dice, 200_000)
    true, runs = true_improvement(name, world), 200
    found = [pair(name, *held, 300).improvement.lower(CONFIDENCE) for held in world.holdouts(dice, runs, 500)]
    # The rate may be as high as docs/gate.md says of the hardest ones.
    assert (np.array(found) > true).mean() <= most(0.065, runs)
    assert true < 0 or name in ("balanced_accuracy", "f1")


def test_the_bound_of_the_calibration_error_holds() -> None:
    for name, found in calibrated(np.random.default_rng(4), 40 * 300):
        assert found["bound too low"] <= most(NOMINAL, 300), name
        if name.startswith("off by 0,"):
            assert found["estimate, mean"] < found["usual error in 15 bins, mean"] / 2
