"""The e-process against the likelihoods it is made of, a generalised linear model, and its own confidence bounds."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from trimtab.evidence import eprocess
from trimtab.evidence.eprocess import HARM, Stratum

STRATA = [Stratum(14, 210, 0.05), Stratum(31, 195, 0.1), Stratum(88, 230, 0.25), Stratum(240, 201, 0.5)]


def by_likelihood(strata, null, points):
    """The mixture of binomial likelihood ratios, from scipy."""
    ratios = []
    for point in points:
        ratio = 1.0
        for s in strata:
            odds = s.share / (1 - s.share) * np.exp([null + point.distance, null])
            new, old = odds / (1 + odds)
            whole = s.candidate + s.control
            ratio *= stats.binom.pmf(s.candidate, whole, new) / stats.binom.pmf(s.candidate, whole, old)
        ratios.append(math.exp(point.log_weight) * ratio)
    return math.log(math.fsum(ratios))


@pytest.mark.parametrize("null", [-0.3, 0.0, math.log(1.5)])
@pytest.mark.parametrize("points", [HARM, eprocess.around(math.log(1.1))])
def test_it_is_the_mixture_of_likelihood_ratios(null, points):
    assert eprocess.log_e(STRATA, null, points) == pytest.approx(by_likelihood(STRATA, null, points), abs=1e-9)


def test_one_event_by_hand():
    """Share 1/2, ratio 3: the event was the candidate's with 3/4 rather than 1/2."""
    points = eprocess.prior((1.0, [math.log(3)]))
    assert eprocess.log_e([Stratum(1, 0, 0.5)], 0.0, points) == pytest.approx(math.log(0.75 / 0.5))
    assert eprocess.log_e([Stratum(0, 1, 0.5)], 0.0, points) == pytest.approx(math.log(0.25 / 0.5))


@pytest.mark.parametrize("points", [HARM, eprocess.around(0.05), eprocess.around(2.0)])
def test_the_weights_of_a_prior_add_up_to_one(points):
    assert math.fsum(math.exp(point.log_weight) for point in points) == pytest.approx(1)
    assert all(point.distance > 0 and point.factor == math.exp(point.distance) for point in points)


def test_the_estimate_is_that_of_a_logistic_regression_with_the_planned_odds_as_offset():
    counts = np.array([[s.candidate, s.control] for s in STRATA])
    offset = np.log([s.share / (1 - s.share) for s in STRATA])
    fit = sm.GLM(counts, np.ones((len(STRATA), 1)), family=sm.families.Binomial(), offset=offset).fit(tol=1e-14)
    estimate = eprocess.log_ratio(STRATA)
    assert estimate == pytest.approx(fit.params[0], abs=1e-8)
    assert eprocess.standard_error(STRATA, estimate) == pytest.approx(fit.bse[0], rel=1e-6)


@pytest.mark.parametrize("strata", [STRATA, STRATA[:1], [Stratum(3, 0, 0.5)], [Stratum(900, 4, 0.01)]])
@pytest.mark.parametrize("alpha", [0.05, 0.0125])
def test_the_lower_bound_is_where_the_e_value_reaches_its_limit(strata, alpha):
    points = eprocess.around(math.log(1.3))
    low = eprocess.lower(strata, points, alpha)
    if low > -math.inf:
        assert eprocess.log_e(strata, low, points) == pytest.approx(math.log(1 / alpha), abs=1e-6)
    else:
        assert eprocess.log_e(strata, -eprocess.FARTHEST, points) < math.log(1 / alpha)


def test_the_upper_bound_is_the_lower_one_of_the_arms_exchanged():
    low, high = (bound(STRATA, HARM, 0.05) for bound in (eprocess.lower, eprocess.upper))
    assert low < eprocess.log_ratio(STRATA) < high
    assert eprocess.lower(eprocess.swapped(STRATA), HARM, 0.05) == pytest.approx(-high)


@pytest.mark.parametrize(
    ("strata", "estimate"),
    [
        ([], None),
        ([Stratum(0, 0, 0.5)], None),
        ([Stratum(4, 0, 0.5)], math.inf),
        ([Stratum(0, 4, 0.5)], -math.inf),
        ([Stratum(20, 20, 0.5)], 0.0),
        ([Stratum(10, 90, 0.1)], 0.0),
        ([Stratum(20, 90, 0.1)], math.log(2)),
    ],
)
def test_the_estimate_at_its_edges(strata, estimate):
    assert eprocess.log_ratio(strata) == (None if estimate is None else pytest.approx(estimate, abs=1e-9))


def test_without_events_of_the_candidate_nothing_bounds_the_ratio_from_below():
    assert eprocess.lower([Stratum(0, 50, 0.5)], HARM, 0.05) == -math.inf
    assert eprocess.upper([Stratum(50, 0, 0.5)], HARM, 0.05) == math.inf


def test_plain_e_values_are_finite():
    assert eprocess.plain(1e6) < math.inf
    assert eprocess.plain(-1e6) >= 0
    assert eprocess.plain(0.0) == 1
