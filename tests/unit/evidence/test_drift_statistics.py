"""The statistics of drift against scipy, on counts and on the raw values that the counts are of."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import special, stats
from scipy.spatial import distance as scipy_distance

from trimtab.evidence.drift import distance
from trimtab.evidence.drift.judge import judge
from trimtab.evidence.drift.reference import Feature
from trimtab.evidence.drift.significance import Spread, adjusted, chi_squared, design_effect, succession, typical
from trimtab.evidence.drift.special import chi_squared_tail, kolmogorov_tail, normal_tails
from trimtab.evidence.drift.table import Binning, Rows


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 10, 63, 100, 257])
def test_the_tail_of_chi_squared(freedom):
    for statistic in (1e-6, 0.01, 0.5, 1, 3.7, 9, 25, 100, 250, 400, 1_490):
        expected = special.chdtrc(freedom, statistic)
        assert chi_squared_tail(statistic, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_the_tails_of_kolmogorov_and_of_the_normal():
    for value in (0.05, 0.2, 0.5, 0.8, 1.1799, 1.18, 1.3, 2, 4, 10):
        assert kolmogorov_tail(value) == pytest.approx(special.kolmogorov(value), rel=1e-9, abs=1e-12)
        assert normal_tails(-value) == pytest.approx(2 * stats.norm.sf(value), rel=1e-9)
    assert (kolmogorov_tail(0), chi_squared_tail(0, 3), chi_squared_tail(5, 0)) == (1, 1, 1)


def test_psi_by_hand():
    p, q = (30.5 / 101.0, 70.5 / 101.0), (50.5 / 101.0, 50.5 / 101.0)
    by_hand = sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert distance.psi([50, 50, 0], [30, 70, 0]) == pytest.approx(by_hand, rel=1e-12)
    assert distance.psi([50, 50], [50, 50]) == 0
    assert math.isfinite(distance.psi([100, 0], [0, 100]))


def test_the_noise_floor_is_what_psi_is_on_average_without_drift():
    dice = np.random.default_rng(1)
    drawn = [dice.multinomial(n, [0.1] * 10, 3_000) for n in (500, 2_000)]
    mean = np.mean([distance.psi(r.tolist(), c.tolist()) for c, r in zip(*drawn, strict=True)])
    assert mean == pytest.approx(distance.noise_floor(10, 1, 500, 2_000), rel=0.04)
    assert distance.noise_floor(10, 1, 0, 5) == math.inf


def test_chi_squared_against_scipy_and_with_sparse_cells():
    before, after = [120, 300, 80, 500], [40, 90, 45, 125]
    found = chi_squared(before, after)
    expected = stats.chi2_contingency([before, after], correction=False)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-12)
    assert found.p_value() == pytest.approx(expected.pvalue, rel=1e-9)
    sparse = chi_squared([*before, 3, 2, 0], [*after, 0, 0, 1])
    pooled = stats.chi2_contingency([[120, 300, 80, 505], [40, 90, 45, 126]], correction=False)
    assert sparse.freedom == 3
    assert sparse.statistic == pytest.approx(pooled.statistic, rel=1e-12)


def test_the_rarest_categories_are_pooled_and_one_unseen_row_is_no_drift():
    found = chi_squared([2, 500, 3, 495, 0], [1, 250, 1, 247, 1], "category")
    assert found.freedom == 1
    assert found.p_value() > 0.5
    assert chi_squared([0, 0], [5, 5]).p_value() == 1


def test_false_discovery_rates_against_scipy():
    given = [0.001, 0.04, 0.03, 0.9, 0.02, 1.0, 1e-12]
    assert adjusted(given) == pytest.approx(list(stats.false_discovery_control(given)), rel=1e-12)
    assert adjusted([]) == []


@pytest.mark.parametrize("repeats", [1, 5, 20])
def test_the_design_effect_is_the_number_of_rows_that_come_together(repeats):
    dice = np.random.default_rng(2)
    tests = []
    for _ in range(24):
        spread = Spread(10)
        for part in dice.multinomial(40, [0.1] * 10, 12):
            spread.take((repeats * part).tolist())
        tests.append(spread.test())
    assert design_effect(tests) == pytest.approx(repeats, rel=0.12)


def test_successive_windows_show_entities_that_come_back_and_not_one_shift():
    dice = np.random.default_rng(3)
    hours = (5 * dice.multinomial(200, [0.1] * 10, 24)).tolist()
    ratios = [succession(a, b) for a, b in pairwise(hours)]
    assert typical(ratios) == pytest.approx(5, rel=0.35)
    shifted = succession(hours[0], [1000] + [0] * 9)
    assert shifted > 100
    assert typical([*ratios, shifted]) == pytest.approx(typical(ratios), rel=0.1)
    assert typical(ratios[:4]) == 1
    assert succession([0, 0], [3, 4]) is None


def test_nothing_to_spread_is_no_effect():
    spread = Spread(3)
    spread.take([5, 5, 5])
    spread.take([0, 0, 0])
    assert design_effect([spread.test()]) == 1


SHAPES = {
    "normal": lambda dice, n: dice.normal(50, 7, n),
    "gamma": lambda dice, n: dice.gamma(2, 3, n),
    "log-normal": lambda dice, n: dice.lognormal(0, 1, n),
    "whole numbers": lambda dice, n: dice.poisson(6, n).astype(float),
    "two values": lambda dice, n: (dice.random(n) < 0.07).astype(float),
    "mostly zero": lambda dice, n: dice.gamma(2, 3, n) * (dice.random(n) < 0.6),
}


def far_out(values):
    """One value in fifty times 1,000."""
    return np.where(np.arange(len(values)) % 50, values, 1_000 * values)


CHANGES = {"none": lambda x: x, "shift": lambda x: x + 0.4 * x.std(), "spread": lambda x: 1.4 * x, "outliers": far_out}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("change", CHANGES)
def test_binned_distances_agree_with_raw_ones(shape, change):
    dice = np.random.default_rng(4)
    before, after = SHAPES[shape](dice, 6_000), CHANGES[change](SHAPES[shape](dice, 2_000))
    binning, current = (Binning({"x": list(map(repr, before.tolist()))}), {"x": list(map(repr, after.tolist()))})
    window = Rows(binning, current).window(0, 2_000)
    (found,) = judge(binning.reference, window, [1.0]).features
    ks, area = stats.ks_2samp(before, after).statistic, stats.wasserstein_distance(before, after) / before.std()
    largest = max(max(binning.reference.features[0].counts) / 6_000, max(window.cells[0]) / 2_000)
    assert ks - largest <= found.ks <= ks + 1e-12
    # Values of which there were none in training lie within a cell, where the functions may cross unseen.
    between = (shape, change) == ("two values", "shift")
    assert found.wasserstein == pytest.approx(area, abs=0.05 if between else 0.01)
    if shape in ("normal", "gamma") and change in ("none", "shift"):
        (found,) = judge(binning.reference, replace(window, sums=()), [1.0]).features
        assert found.wasserstein == pytest.approx(area, abs=0.01)


def test_jensen_shannon_is_scipy_s_distance_in_bits():
    before, after = [10, 40, 0, 50], [25, 25, 50, 0]
    assert distance.jensen_shannon(before, after) == pytest.approx(scipy_distance.jensenshannon(before, after, base=2))
    assert distance.jensen_shannon([1, 0], [0, 1]) == pytest.approx(1)
    assert distance.jensen_shannon([0, 0], [0, 1]) == 0


def test_tails_and_what_lies_beyond_the_range():
    feature = Feature("x", "numeric", (0, 5, 500, 490, 5, 0), edges=(0, 1, 2, 3, 4), inside=(1, 4))
    now = (3, 20, 400, 400, 20, 7)
    assert list(distance.beyond(feature, now)) == [3 / 850, 7 / 850]
    assert distance.tail(feature, feature.counts, now) == (0.01, 50 / 850)
    assert distance.tail(feature, feature.counts, (0,) * 6) == (0, 0)


def test_rows_beyond_all_edges_count_as_far_as_is_known():
    feature = Feature("x", "numeric", (0, 50, 50, 0), edges=(0, 1, 2), inside=(1, 2), mean=1, deviation=0.5)
    assert distance.wasserstein(feature, feature.counts, (0, 0, 0, 9)) == pytest.approx(2)
    summed = replace(feature, sums=(0, -50, 50, 0))
    assert distance.wasserstein(summed, feature.counts, (0, 0, 0, 9), (0, 0, 0, 9 * 12)) == pytest.approx(12)
    assert distance.wasserstein(feature, feature.counts, (0, 0, 0, 0)) == 0
