"""The gate's metrics and bounds, against scikit-learn, scipy and statsmodels."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as oracle
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from trimtab_toolbox.evaluation.areas import Area, placed
from trimtab_toolbox.evaluation.calibration import calibration
from trimtab_toolbox.evaluation.estimate import one, pair, passes, worst
from trimtab_toolbox.evaluation.means import Mean
from trimtab_toolbox.evaluation.metrics import METRICS
from trimtab_toolbox.evaluation.proportions import PairedProportions, Proportion
from trimtab_toolbox.evaluation.truth import Answers, Truth, class_names, coded

CLASSIFIED = {
    "accuracy": lambda y, p: oracle.accuracy_score(y, p.argmax(1)),
    "balanced_accuracy": lambda y, p: oracle.balanced_accuracy_score(y, p.argmax(1)),
    "f1": lambda y, p: oracle.f1_score(y, p.argmax(1), average="binary" if p.shape[1] == 2 else "macro"),
    "roc_auc": lambda y, p: oracle.roc_auc_score(y, p[:, 1] if p.shape[1] == 2 else p, multi_class="ovr"),
    "pr_auc": lambda y, p: (
        oracle.average_precision_score(y, p[:, 1])
        if p.shape[1] == 2
        else oracle.average_precision_score(np.eye(p.shape[1])[y], p)
    ),
    "log_loss": oracle.log_loss,
    "brier": oracle.brier_score_loss,
}
REGRESSED = {
    "mae": oracle.mean_absolute_error,
    "rmse": oracle.root_mean_squared_error,
    "r2": oracle.r2_score,
}


def classified(classes: int, rows: int = 300, seed: int = 1, skill: float = 1.0) -> tuple[Truth, Answers]:
    """Truth and a model of some skill, with ties among its probabilities."""
    dice = np.random.default_rng(seed)
    codes = dice.integers(classes, size=rows)
    logits = skill * np.eye(classes)[codes] + np.random.default_rng(seed + 1).normal(size=(rows, classes))
    scores = np.round(np.exp(logits), 1) + 0.05
    scores /= scores.sum(axis=1, keepdims=True)
    names = tuple(str(code) for code in range(classes))
    return Truth(codes, np.empty(0), names), Answers(scores.argmax(1), scores, np.empty(0))


def regressed(rows: int = 300, noise: float = 1.0) -> tuple[Truth, Answers]:
    dice = np.random.default_rng(2)
    values = dice.normal(size=rows)
    given = values + noise * dice.normal(size=rows)
    return Truth(np.empty(0, dtype=int), values), Answers(np.empty(0, dtype=int), np.empty((0, 0)), given)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", CLASSIFIED)
def test_values_of_classifiers_are_those_of_scikit_learn(name: str, classes: int) -> None:
    truth, answers = classified(classes)
    assert one(name, truth, answers, 400).point == pytest.approx(CLASSIFIED[name](truth.codes, answers.scores))


@pytest.mark.parametrize("name", REGRESSED)
def test_values_of_regressions_are_those_of_scikit_learn(name: str) -> None:
    truth, answers = regressed()
    assert one(name, truth, answers, 400).point == pytest.approx(REGRESSED[name](truth.values, answers.values))


def test_every_metric_has_an_oracle() -> None:
    assert set(CLASSIFIED) | set(REGRESSED) == set(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_improvements_are_above_0_where_the_challenger_is_better(name: str) -> None:
    if name in REGRESSED:
        (truth, worse), (_, better) = regressed(noise=1.0), regressed(noise=0.5)
    else:
        (truth, worse), (_, better) = classified(3, skill=1.0), classified(3, skill=2.5)
    found = pair(name, truth, worse, better, 400)
    assert found.champion == pytest.approx(one(name, truth, worse, 400).point)
    assert found.challenger == pytest.approx(one(name, truth, better, 400).point)
    sign = METRICS[name].sign
    assert found.improvement.point == pytest.approx(sign * (found.challenger - found.champion))
    assert 0 < found.improvement.lower(0.95) < found.improvement.point < found.improvement.upper(0.95)
    assert pair(name, truth, better, worse, 400).improvement.upper(0.95) < 0


@pytest.mark.parametrize("name", METRICS)
def test_a_model_is_no_better_and_no_worse_than_itself(name: str) -> None:
    truth, answers = regressed() if name in REGRESSED else classified(2)
    found = pair(name, truth, answers, answers, 400).improvement
    assert found.point == 0
    assert -0.02 < found.lower(0.95) <= 0 <= found.upper(0.95) < 0.02


@pytest.mark.parametrize(("right", "rows"), [(0, 50), (1, 50), (180, 200), (50, 50)])
def test_a_share_has_the_exact_bounds(right: int, rows: int) -> None:
    low, high = proportion_confint(right, rows, alpha=0.1, method="beta")
    share = Proportion(right, rows)
    assert share.lower(0.95) == pytest.approx(np.nan_to_num(low), abs=1e-12)
    assert share.upper(0.95) == pytest.approx(1.0 if np.isnan(high) else high, abs=1e-12)


@pytest.mark.parametrize(("gained", "lost"), [(30, 10), (10, 30), (61, 40), (7, 7)])
def test_against_no_difference_the_paired_test_is_mcnemars(gained: int, lost: int) -> None:
    found = PairedProportions(gained, lost, 500).statistic(0.0)
    # Its correction is a whole row of |gained - lost|; ours is half of one, of a one-sided difference.
    expected = (gained - lost - 0.5) / np.sqrt(gained + lost)
    assert found == pytest.approx(expected)
    if gained > lost:
        two_sided = mcnemar([[0, gained], [lost, 0]], exact=False, correction=False).pvalue
        assert stats.norm.sf(found) > two_sided / 2
        assert stats.norm.sf(found) == pytest.approx(mcnemar([[0, gained], [lost, 0]], exact=True).pvalue / 2, abs=0.01)


def test_bounds_of_a_paired_difference_invert_its_test() -> None:
    found = PairedProportions(40, 25, 1000)
    z = stats.norm.ppf(0.95)
    assert found.statistic(found.lower(0.95)) == pytest.approx(z, abs=1e-6)
    assert PairedProportions(25, 40, 1000).statistic(-found.upper(0.95)) == pytest.approx(z, abs=1e-6)


def test_a_mean_without_skew_has_students_bounds() -> None:
    rows = np.concatenate([x := np.random.default_rng(3).normal(size=40), -x]) + 1.0
    expected = stats.ttest_1samp(rows, 0).confidence_interval(0.9)
    found = Mean(float(rows.mean()), rows)
    assert (found.lower(0.95), found.upper(0.95)) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_a_mean_with_skew_reaches_further_to_its_long_side() -> None:
    rows = np.random.default_rng(4).exponential(size=200)
    found, plain = Mean(float(rows.mean()), rows), stats.ttest_1samp(rows, 0).confidence_interval(0.9)
    assert found.upper(0.95) > plain.high
    assert found.lower(0.95) == pytest.approx(plain.low)
    mirrored = Mean(-float(rows.mean()), -rows)
    assert mirrored.lower(0.95) == pytest.approx(-found.upper(0.95))


def test_the_error_of_an_area_is_that_of_delong_by_definition() -> None:
    truth, answers = classified(2, rows=120)
    score, up = answers.scores[:, 1], truth.codes == 1
    wins = (score[up][:, None] > score[~up]) + 0.5 * (score[up][:, None] == score[~up])
    expected = np.sqrt(wins.mean(1).var(ddof=1) / up.sum() + wins.mean(0).var(ddof=1) / (~up).sum())
    found = placed(truth.codes, answers.scores)
    assert (found.point, found.error) == pytest.approx((wins.mean(), expected))


def test_bounds_of_an_area_stay_between_0_and_1() -> None:
    truth = np.array([0] * 5 + [1] * 5)
    nearly = np.array([0, 1, 2, 3, 5, 4, 6, 7, 8, 9.0])
    found = Area(placed(truth, np.stack([-nearly, nearly], axis=1)))
    assert 0 < found.lower(0.95) < found.point < found.upper(0.95) < 1
    perfect = Area(placed(truth, np.stack([-truth, truth], axis=1).astype(float)))
    assert perfect.point == 1
    assert 0.5 < perfect.lower(0.95) < 0.6


def test_where_less_is_better_the_worst_value_is_the_upper_bound() -> None:
    truth, answers = regressed()
    found = one("rmse", truth, answers)
    assert worst("rmse", found, 0.95) == found.upper(0.95)
    assert passes("rmse", 1.0, 1.0)
    assert not passes("rmse", 1.1, 1.0)
    assert not passes("accuracy", 0.7, 0.75)


@pytest.mark.parametrize("name", ["roc_auc", "pr_auc", "f1", "balanced_accuracy"])
def test_rows_of_one_class_say_nothing(name: str) -> None:
    truth, answers = classified(2)
    only = truth.codes == 1
    with pytest.raises(ValueError, match="two classes"):
        one(name, truth.part(only), answers.part(only))


def test_targets_that_are_all_the_same_say_nothing_of_r2() -> None:
    truth, answers = regressed()
    with pytest.raises(ValueError, match="not all the same"):
        one("r2", Truth(truth.codes, np.ones(len(truth))), answers)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_calibrated_model_has_no_calibration_error_beyond_chance(classes: int) -> None:
    dice = np.random.default_rng(5)
    scores = dice.dirichlet(np.ones(classes), size=4000)
    codes = (dice.random((4000, 1)) > scores.cumsum(axis=1)).sum(axis=1)
    truth = Truth(codes, np.empty(0), tuple(map(str, range(classes))))
    found = calibration(truth, Answers(scores.argmax(1), scores, np.empty(0)))
    assert found.point <= found.upper(0.95) < 0.04


def test_a_model_that_is_too_sure_is_found_out() -> None:
    dice = np.random.default_rng(6)
    said = dice.uniform(0.2, 0.8, size=4000)
    codes = (dice.random(4000) < said).astype(int)
    sure = np.clip(said + 0.2 * np.sign(said - 0.5), 0, 1)
    scores = np.stack([1 - sure, sure], axis=1)
    found = calibration(Truth(codes, np.empty(0), ("0", "1")), Answers(codes, scores, np.empty(0)))
    assert found.point == pytest.approx(0.2, abs=0.02)
    assert found.upper(0.95) > found.point


def test_classes_are_the_same_however_they_are_written() -> None:
    names = class_names(np.array([True, 1.0, 1, "1", 0.5, "01", np.int64(0)], dtype=object))
    assert list(names) == ["1", "1", "1", "1", "0.5", "01", "0"]
    assert list(coded(names, ("0", "1"))) == [1, 1, 1, 1, -1, -1, 0]
