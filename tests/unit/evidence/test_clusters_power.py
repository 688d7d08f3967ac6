"""Dispersion by buckets, and the size of experiments."""

import numpy as np
import pytest
from statsmodels.stats.power import normal_sample_size_one_tail

from trimtab.evidence import clusters, power
from trimtab.evidence.clusters import Share


def shares(events, units):
    return [Share(*pair) for pair in zip(events, units, strict=True)]


@pytest.mark.parametrize(
    ("rate", "effect", "share", "users"),
    [
        (0.1, 0.1, 0.5, 29_497),
        (0.1, 0.1, 0.1, 84_690),
        (0.01, 0.2, 0.5, 85_381),
        (0.01, 0.2, 0.1, 254_226),
        (0.1, 0.05, 0.5, 115_520),
    ],
)
def test_needed_users_are_those_of_the_usual_formula(rate, effect, share, users):
    assert power.needed_users(rate, effect, share) == users
    first, second = rate, rate * (1 + effect)
    deviation = np.sqrt((first * (1 - first) * share + second * (1 - second) * (1 - share)) / (share * (1 - share)))
    assert users == pytest.approx(normal_sample_size_one_tail(second - first, 0.8, 0.025, deviation), abs=1)


def test_more_power_less_alpha_and_smaller_effects_need_more():
    base = power.needed_users(0.1, 0.1, 0.5)
    assert power.needed_users(0.1, 0.1, 0.5, power=0.9) > base
    assert power.needed_users(0.1, 0.1, 0.5, alpha=0.01) > base
    assert power.needed_users(0.1, 0.05, 0.5) > base
    assert power.needed_users(0.1, -0.1, 0.5) < base
    assert power.needed_users(3.0, 0.1, 0.5) > 0


def test_a_mean_needs_what_its_variance_asks_for():
    assert power.needed_for_mean(4.0, 0.1) == pytest.approx(normal_sample_size_one_tail(0.1, 0.8, 0.025, 2.0), abs=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((0.0, 0.1, 0.5), "rate must be above 0"),
        ((0.1, 0.0, 0.5), "effect must be above -1 and not 0"),
        ((0.1, -1.0, 0.5), "effect must be above -1 and not 0"),
        ((0.1, 0.1, 1.0), "share must be between 0 and 1"),
    ],
)
def test_what_makes_no_sense_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        power.needed_users(*given)


def test_days():
    assert power.days(86_400 * 10, 1.0) == 10
    assert power.days(5, 0.0) is None


def test_the_design_effect():
    assert clusters.assumed(20_000, 1_000) == pytest.approx(2.9)
    assert clusters.assumed(1_000, 1_000) == 1
    assert clusters.assumed(10, 1_000) == 1
    assert clusters.assumed(1_000, 0) == 1


def test_the_variance_over_buckets_is_that_of_numpy():
    dice = np.random.default_rng(2)
    units = dice.integers(20, 60, (2, 100)).astype(float)
    events = dice.binomial(units.astype(int), 0.2).astype(float)
    b, a = (shares(events[i], units[i]) for i in (0, 1))
    share, ratio = units[0].sum() / units.sum(), events.sum() / units.sum()
    residual = (1 - share) * (events[0] - ratio * units[0]) - share * (events[1] - ratio * units[1])
    variance, plain = clusters.excess(b, a)
    assert variance == pytest.approx(residual.var(ddof=1) * 100, rel=1e-9)
    assert plain == pytest.approx(events.sum() * share * (1 - share))
    means = (events[0] - ratio * units[0]) / units[0].sum() - (events[1] - ratio * units[1]) / units[1].sum()
    assert clusters.difference_variance(b, a) == pytest.approx(means.var(ddof=1) * 100, rel=1e-9)


def test_users_who_fail_always_or_never_are_seen():
    """20 requests of one user in each bucket, and a tenth of the users fail always: nearly 20 times the variance."""
    dice = np.random.default_rng(3)
    failing = 20.0 * (dice.random((2, 1_000)) < 0.1)
    variance, plain = clusters.excess(*(shares(row, [20.0] * 1_000) for row in failing))
    assert 14 < variance / plain < 22


@pytest.mark.parametrize(
    "sides", [([], []), (shares([0, 0], [5, 5]),) * 2, (shares([1, 1], [0, 0]), shares([1, 1], [5, 5]))]
)
def test_without_counts_there_is_no_dispersion(sides):
    assert clusters.excess(*sides) == (0, 0)
