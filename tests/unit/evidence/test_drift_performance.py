"""Quality: figures from labels, the estimate without them, and a detector that may be asked at every look."""

import math
import random
import statistics

import pytest

from trimtab.evidence.drift.degradation import Detector, Limit
from trimtab.evidence.drift.labels import Labels, Newest
from trimtab.evidence.drift.performance import (
    Calibration,
    auc,
    auc_error,
    estimated,
    losses,
    middles,
    read_calibration,
    realised,
)

EDGES = (0.25, 0.5, 0.75)
BINARY = Labels(edges=EDGES, scored=(40, 30, 20, 10), right=(4, 10, 14, 9), confusion=(56, 14, 7, 23), delays=(60, 40))


def two(wrong, rows, cells=(0, 0)):
    """Labels of two classes, so many of them wrong, at the two ends of the score."""
    right = rows - wrong
    return Labels((0.5,), (rows - rows // 2, rows // 2), cells, (right, wrong, 0, 0))


def test_figures_of_two_classes():
    found = {metric.name: metric for metric in realised(BINARY, ("no", "yes"))}
    assert list(found) == ["Accuracy", "RocAuc", "Brier", "Recall of no", "Recall of yes"]
    assert found["Accuracy"].value == 0.79
    assert (found["Accuracy"].lower, found["Accuracy"].upper) == pytest.approx((0.7003, 0.8580), abs=1e-3)
    pairs = [(4, 36), (10, 20), (14, 6), (9, 1)]
    wins = sum(a * (sum(n for _, n in pairs[:i]) + b / 2) for i, (a, b) in enumerate(pairs))
    assert found["RocAuc"].value == pytest.approx(wins / (37 * 63))
    brier = sum(a * (1 - x) ** 2 + b * x * x for x, (a, b) in zip((0.125, 0.375, 0.625, 0.875), pairs, strict=True))
    assert found["Brier"].value == pytest.approx(brier / 100)
    assert found["Recall of yes"].value == pytest.approx(23 / 37)


def test_figures_of_a_number():
    mae, rmse = realised(Labels(errors=(4.0, -1.0, 6.0, 14.0)))
    assert (mae.name, mae.value, rmse.name, rmse.value) == ("MAE", 1.5, "RMSE", math.sqrt(3.5))
    half = 1.96 * math.sqrt((3.5 - 2.25) / 4)
    assert (mae.lower, mae.upper) == pytest.approx((1.5 - half, 1.5 + half), abs=1e-4)
    assert (rmse.lower, rmse.upper) == (None, None), "how the squares spread is not known"


def test_the_root_of_a_mean_square_has_the_roots_of_its_bounds():
    values = [1.0, -2.0, 0.5, 3.0, -1.5, 0.25]
    sums = [math.fsum(power(v) for v in values) for power in (float, abs, lambda v: v**2, lambda v: v**4)]
    _, rmse = realised(Labels(errors=(6.0, *sums)))
    squares = [v * v for v in values]
    mean, half = sum(squares) / 6, 1.959964 * statistics.pstdev(squares) / math.sqrt(6)
    assert rmse.value == pytest.approx(math.sqrt(mean))
    assert (rmse.lower, rmse.upper) == pytest.approx((math.sqrt(mean - half), math.sqrt(mean + half)))
    _, wide = realised(Labels(errors=(2.0, 3.0, 3.0, 9.0, 81.0)))
    assert (wide.lower, wide.upper) == (0.0, pytest.approx(math.sqrt(4.5 + 1.959964 * 4.5 / math.sqrt(2))))


def test_without_labels_nothing_is_said():
    assert realised(Labels()) == []
    assert realised(Labels((0.5,), (0, 0), (0, 0), (0, 0, 0, 0))) == []


def test_many_classes_have_accuracy_from_the_scores():
    (accuracy,) = realised(Labels((0.5,), (10, 10), (4, 9)))
    assert (accuracy.name, accuracy.value) == ("Accuracy", 0.65)


def test_an_area_needs_both_classes():
    assert auc((1, 2), (0, 0)) is None
    assert auc((0, 5), (5, 0)) == 1.0
    assert auc((5, 0), (5, 0)) == 0.5
    assert auc_error(1.0, 10, 10) == 0.0


def test_the_estimate_agrees_with_the_labels_it_was_calibrated_on():
    rows = 100_000
    counts, right = (rows, rows, rows, rows), (5_000, 30_000, 70_000, 96_000)
    calibration = read_calibration({"score": {"kind": "positive", "edges": EDGES, "counts": counts, "right": right}})
    found = estimated(calibration, counts)
    accuracy = (95_000 + 70_000 + 70_000 + 96_000) / (4 * rows)
    assert found["Accuracy"] == pytest.approx(accuracy, abs=1e-4)
    confusion = (165_000, 35_000, 34_000, 166_000)
    told = {metric.name: metric.value for metric in realised(Labels(EDGES, counts, right, confusion))}
    assert found["RocAuc"] == pytest.approx(told["RocAuc"], abs=1e-4)
    assert found["Brier"] == pytest.approx(told["Brier"], abs=1e-4)
    tilted = estimated(calibration, (rows, 0, 0, rows))
    assert tilted["Accuracy"] > found["Accuracy"], "sure answers are right more often"


def test_the_estimate_of_several_classes_is_of_accuracy_alone():
    calibration = Calibration("largest", (0.5,), (1_000, 1_000), (400, 900))
    assert estimated(calibration, (10, 30)) == {"Accuracy": pytest.approx((10 * 0.4 + 30 * 0.9) / 40, abs=1e-3)}
    assert estimated(Calibration("value", (0.5,), (1, 1), (0, 0)), (10, 30)) == {}
    assert estimated(calibration, (0, 0)) == {}
    assert estimated(None, (1, 1)) == {}
    assert read_calibration({}) is None


def test_cells_lie_between_nothing_and_one():
    assert middles((0.5,)) == [0.25, 0.75]
    assert middles((-1.0, 0.5, 2.0)) == [0.0, 0.25, 0.75, 1.0]


def test_losses_have_as_many_labels_as_there_are():
    assert losses("Accuracy", BINARY) == [(79, 0.0), (21, 1.0)]
    assert sum(n for n, _ in losses("Brier", BINARY)) == 100
    assert losses("MAE", BINARY) == []


def test_the_newest_labels_are_as_few_as_are_needed():
    newest = Newest(100, 1_000)
    for place in range(50):
        newest.add(place * 10, two(place % 3, 30))
    assert newest.sum.count == 120
    assert newest.since == 460
    assert newest.sum.confusion[1] == sum(place % 3 for place in range(46, 50))
    newest.add(5_000, two(1, 30))
    assert (newest.sum.count, newest.since) == (30, 5_000), "what is too old is forgotten"
    other = Labels((0.5,), (3, 0), (0, 0), (3, 0, 0, 0, 0, 0, 0, 0, 0))
    newest.add(5_010, other)
    assert newest.sum == other, "labels of other classes begin anew"


def run(detector, steps, draw):
    """The number of the step with the alarm, or None."""
    for step in range(steps):
        detector.take(draw())
        if detector.alarmed:
            return step + 1
    return None


def draws(seed, error, rows=20):
    dice = random.Random(seed)
    return lambda: two(sum(dice.random() < error for _ in range(rows)), rows)


@pytest.mark.parametrize("seed", range(5))
def test_no_alarm_while_the_limit_holds_however_often_it_is_asked(seed):
    detector = Detector(Limit("Accuracy", 0.8), 300, 1)
    assert run(detector, 2_000, draws(seed, 0.2)) is None


@pytest.mark.parametrize(("error", "labels"), [(0.3, 900), (0.4, 300), (0.6, 120)])
def test_a_broken_limit_is_proven_soon_even_after_long_good_times(error, labels):
    taken = []
    for seed in range(5):
        detector = Detector(Limit("Accuracy", 0.8), 300, 1)
        assert run(detector, 1_000, draws(seed, 0.1)) is None
        taken.append(20 * run(detector, 500, draws(seed + 100, error)))
    assert sorted(taken)[2] <= labels


def test_good_times_take_the_proof_away():
    detector = Detector(Limit("Accuracy", 0.8), 300, 1)
    run(detector, 500, draws(1, 0.9))
    assert detector.alarmed
    for _ in range(20):
        detector.take(two(1, 20))
    assert not detector.alarmed


def test_more_false_alarms_allowed_need_less_proof():
    assert Detector(Limit("Accuracy", 0.8), 300, 10).needed < Detector(Limit("Accuracy", 0.8), 300, 1).needed
    assert Detector(Limit("Accuracy", 0.8), 300, 1).needed == pytest.approx(math.log(105_120))


def errors(dice, spread, rows=20):
    values = [dice.gauss(0, spread) for _ in range(rows)]
    sums = sum(values), sum(map(abs, values)), sum(v * v for v in values), sum(v**4 for v in values)
    return Labels(errors=(rows, *sums))


@pytest.mark.parametrize(
    ("metric", "limit", "spread", "alarmed"),
    [
        ("MAE", 1.0, 1.0, False),
        ("MAE", 1.0, 1.25, False),
        ("MAE", 1.0, 1.6, True),
        ("RMSE", 1.25, 1.0, False),
        ("RMSE", 1.25, 1.25, False),
        ("RMSE", 1.25, 1.6, True),
    ],
)
def test_errors_are_held_to_their_limit_by_blocks(metric, limit, spread, alarmed):
    """The mean absolute error of a normal is 0.8 deviations."""
    dice, detector = random.Random(3), Detector(Limit(metric, limit, 100), 300, 1)
    assert (run(detector, 150, lambda: errors(dice, spread)) is not None) == alarmed


def ranked(dice, separation, rows=40):
    scored, right = [0] * 4, [0] * 4
    for place in range(rows):
        positive = place % 2
        cell = min(3, max(0, int(dice.gauss(1.5 + separation * (positive - 0.5), 1.0))))
        scored[cell] += 1
        right[cell] += positive
    return Labels(EDGES, tuple(scored), tuple(right), (rows // 2, 0, 0, rows // 2))


@pytest.mark.parametrize(("separation", "alarmed"), [(2.5, False), (0.3, True)])
def test_ranking_is_held_to_its_limit_by_blocks(separation, alarmed):
    dice, detector = random.Random(4), Detector(Limit("RocAuc", 0.8, 200), 300, 1)
    assert (run(detector, 100, lambda: ranked(dice, separation)) is not None) == alarmed


def test_a_metric_that_labels_do_not_have_is_never_broken():
    for metric in ("Brier", "MAE", "RMSE", "RocAuc"):
        detector = Detector(Limit(metric, 0.1, 50), 300, 1)
        for _ in range(20):
            detector.take(Labels((0.5,), (5, 5), (5, 5)))
        assert not detector.alarmed


def test_labels_of_other_cells_are_added_without_their_scores():
    other = Labels((0.1, 0.2), (5, 5, 5), (1, 1, 1), (8, 2, 3, 2))
    assert not other.alike(BINARY)
    plain = other.without_scores()
    assert plain.alike(BINARY)
    both = BINARY + plain
    assert (both.scored, both.confusion, both.count) == (BINARY.scored, (64, 16, 10, 25), 115)
    newest = Newest(40, 1_000)
    for place, labels in enumerate((BINARY, plain, BINARY, plain, plain, plain)):
        newest.add(place, labels)
    assert (newest.sum.count, newest.sum.confusion) == (45, (24, 6, 9, 6))
