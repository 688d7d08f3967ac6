"""The sample-ratio test: what it counts, and what it names."""

import math

import pytest
from scipy import stats

from trimtab.evidence import srm
from trimtab.evidence.eprocess import log_sum_exp
from trimtab.evidence.srm import ALPHA, PRIOR
from trimtab.evidence.tally import Segment, Tally, merged


def sample_ratio(arms, segments, **more):
    return srm.sample_ratio(arms, merged(segments), segments, **more)


def segment(weights, **users):
    return Segment(60, weights, {arm: Tally(users=count) for arm, count in users.items()})


def test_one_segment_against_scipy():
    found = sample_ratio(("a", "b"), [segment({"a": 70, "b": 30}, a=715, b=285)])
    terms = []
    for sign in (1, -1):
        for point in PRIOR:
            odds = 0.3 / 0.7 * math.exp(sign * point.distance)
            ratio = stats.binom.logpmf(285, 1_000, odds / (1 + odds)) - stats.binom.logpmf(285, 1_000, 0.3)
            terms.append(ratio + point.log_weight - math.log(2))
    single = math.exp(log_sum_exp(terms))
    assert found.e_value == pytest.approx(0.75 * single + 0.25, rel=1e-9)
    assert not found.mismatch


def test_a_mismatch_names_the_segment_and_the_arm():
    good = segment({"a": 50, "b": 25, "c": 25}, a=5_000, b=2_500, c=2_500)
    bad = segment({"a": 40, "b": 30, "c": 30}, a=4_000, b=2_400, c=3_000)
    found = sample_ratio(("a", "b", "c"), [good, bad, good])
    assert found.mismatch
    assert found.e_value >= 1 / ALPHA
    assert (found.segment, found.arm) == (1, "b")


def test_an_arm_without_weight_takes_no_part():
    """Leftover users of an arm at weight 0 are no mismatch; nor do the others look wrong without it."""
    found = sample_ratio(("a", "b", "c"), [segment({"a": 50, "b": 50, "c": 0}, a=5_000, b=5_000, c=900)])
    assert not found.mismatch
    assert found.e_value < 1


def test_an_arm_that_nobody_reaches_is_a_mismatch():
    found = sample_ratio(("a", "b"), [segment({"a": 50, "b": 50}, a=60, b=0)])
    assert found.mismatch
    assert found.arm in ("a", "b")


def test_requests_stand_in_where_nobody_counts_users():
    found = sample_ratio(
        ("a", "b"), [Segment(60, {"a": 50, "b": 50}, {"a": Tally(requests=900), "b": Tally(requests=100)})]
    )
    assert found.mismatch


def test_counts_that_may_be_off_by_themselves():
    given = [segment({"a": 50, "b": 50}, a=51_000, b=49_000)]
    assert sample_ratio(("a", "b"), given).mismatch
    assert not sample_ratio(("a", "b"), given, users_error=0.05).mismatch
    assert not sample_ratio(("a", "b"), given, users_error=1e9).mismatch


@pytest.mark.parametrize(
    "segments", [[], [segment({}, a=5)], [segment({"a": 100}, a=5)], [segment({"a": 50, "b": 50})]]
)
def test_nothing_to_compare_is_no_evidence(segments):
    found = sample_ratio(("a", "b"), segments)
    assert found.e_value == pytest.approx(1)
    assert not found.mismatch
