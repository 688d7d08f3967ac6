"""The confidence sequence of means against an independent library, and its gates."""

import math

import numpy as np
import pytest
import ville
from scipy import special

from trimtab.evidence import means
from trimtab.evidence.means import Difference


@pytest.mark.parametrize("units", [50, 1_000, 250_000])
@pytest.mark.parametrize("planned", [500, 29_497])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_radius_is_robbins_normal_mixture(units, planned, alpha):
    scale = means.rho(planned, alpha)
    theirs = math.sqrt(3.7) * ville.normal_mixture(units, alpha, scale**-2) / units
    assert means.radius(3.7 / units, units, scale, alpha) == pytest.approx(float(theirs), rel=1e-9)


def test_a_stream_has_the_interval_of_the_library():
    sample = np.random.default_rng(4).lognormal(0, 1, 3_000)
    found = ville.AsymptoticCS(alpha=0.05, t_opt=1_000, min_samples=100)
    found.update(sample)
    variance = means.pooled_variance([(len(sample), sample.sum(), (sample**2).sum())])
    assert variance == pytest.approx(sample.var(ddof=1), rel=1e-9)
    ours = means.radius(variance / len(sample), len(sample), found.rho_**-0.5, 0.05)
    low, high = found.interval()
    assert (sample.mean() - ours, sample.mean() + ours) == pytest.approx((float(low), float(high)), abs=1e-6)


def test_rho_is_close_to_the_best_one():
    """Two terms of a series that ville minimises numerically: no more than half a percent wider."""
    ours = means.radius(1.0, 10_000, means.rho(10_000, 0.05), 0.05)
    best = means.radius(1.0, 10_000, ville.best_rho(10_000, 0.05) ** -0.5, 0.05)
    assert best <= ours <= 1.005 * best


@pytest.mark.parametrize("units", [400, 30_000])
def test_the_one_sided_e_value_reaches_its_limit_at_the_half_normal_boundary(units):
    scale = means.rho(5_000, 0.05)
    boundary = float(np.squeeze(ville.normal_mixture([units], 0.025, scale**-2, one_sided=True)))
    assert means.log_e(boundary / math.sqrt(units), units, scale) == pytest.approx(math.log(40), abs=1e-6)


def test_a_win_by_e_value_is_a_win_by_interval():
    scale = means.rho(5_000, 0.05)
    for units in (200, 5_000, 90_000):
        z = next(z / 1_000 for z in range(1_000, 9_000) if means.log_e(z / 1_000, units, scale) >= math.log(40))
        assert means.radius(1.0, units, scale, 0.05) < z


@pytest.mark.parametrize("z", [-3.0, -37.0, -60.0, -1e6])
def test_a_difference_far_below_is_no_evidence(z):
    assert -100 < means.log_e(z, 1_000, 0.1) < 0


@pytest.mark.parametrize("x", [-60.0, -30.001, -29.999, -5.0, 0.0, 3.0, 40.0])
def test_log_phi(x):
    assert means.log_phi(x) == pytest.approx(float(special.log_ndtr(x)), rel=1e-8)


def test_strata_are_weighed_by_what_they_know():
    found = means.combined([Difference(1.0, 0.01, 100, 10.0), Difference(3.0, 0.03, 300, 20.0), Difference(9, 0, 2, 1)])
    assert found == pytest.approx((1.5, 0.0075, 400, 12.5))
    assert means.combined([Difference(0.0, 0.0, 50, 1.0)]) is None
    assert means.combined([]) is None
