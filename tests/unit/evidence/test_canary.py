"""The verdict on a canary: evidence against the current revision, against limits, and none without traffic."""

import math

import pytest
from scipy import stats

from trimtab.evidence.canary import HIGHER, Gates, judge_canary, limit_log_e
from trimtab.evidence.tally import Segment, Tally

WEIGHTS = {"old": 90.0, "new": 10.0}
GATES = Gates(max_error_percent=2.0, max_latency_milliseconds=100.0)


def judged(old, new, gates=GATES, weights=WEIGHTS):
    return judge_canary(gates, [Segment(60, weights, {"old": old, "new": new})], candidate="new", current="old")


def test_no_traffic_waits():
    for segments in ([], [Segment(3_600, WEIGHTS, {})], [Segment(3_600, {}, {})]):
        found = judge_canary(GATES, segments, candidate="new", current="old")
        assert (found.decision, found.reason) == ("Waiting", "the candidate has had no request yet")


def test_too_few_requests_wait():
    found = judged(Tally(requests=900), Tally(requests=100))
    assert (found.decision, found.requests) == ("Waiting", 100)
    assert found.reason == "the candidate has had 100 of the 200 requests it must have first"


def test_an_equal_candidate_goes_on():
    found = judged(Tally(requests=9_000, errors=45), Tally(requests=1_000, errors=5))
    assert found.decision == "Continue"
    assert found.reason == (
        "nothing speaks against the candidate after 1000 requests (5 of 1000 against 45 of 9000 failed)"
    )


def test_more_errors_than_the_current_revision_stop_it_before_it_has_had_its_requests():
    found = judged(Tally(requests=1_500, errors=15), Tally(requests=150, errors=15))
    assert found.decision == "StopHarm"
    assert found.reason == (
        "the candidate fails more often than the current revision: 15 of 150 against 15 of 1500 (e-value limit 80)"
    )


def test_errors_above_the_limit_stop_it_when_the_current_revision_is_as_bad():
    found = judged(Tally(requests=9_000, errors=900), Tally(requests=1_000, errors=100))
    assert found.decision == "StopHarm"
    assert found.reason.startswith("the candidate fails more often than maxErrorPercent 2: 100 of 1000")
    assert judged(Tally(requests=9_000, errors=900), Tally(requests=1_000, errors=100), Gates()).decision == "Continue"


def test_a_slow_candidate_is_stopped():
    found = judged(Tally(requests=9_000, latency_above=90), Tally(requests=1_000, latency_above=60))
    assert found.reason.startswith("the candidate is slower than the current revision: requests above 100 ms are 60 of")
    both = judged(Tally(requests=9_000, latency_above=900), Tally(requests=1_000, latency_above=100))
    assert both.reason.startswith(
        "the candidate's 95th percentile is above maxLatencyMilliseconds: requests above 100 ms"
    )
    assert both.decision == "StopHarm"


def test_latency_is_no_gate_unless_asked_for():
    found = judged(Tally(requests=9_000), Tally(requests=1_000, latency_above=1_000), Gates(max_error_percent=2.0))
    assert (found.decision, found.latency) == ("Continue", None)


def test_more_confidence_needs_more_evidence():
    old, new = Tally(requests=2_000, errors=20), Tally(requests=220, errors=9)
    assert judged(old, new, Gates(confidence_percent=90.0)).decision == "StopHarm"
    assert judged(old, new, Gates(confidence_percent=99.9)).decision == "Continue"
    assert judged(old, new, Gates(confidence_percent=100.0)).decision == "Continue"


def test_one_noisy_client_with_half_of_the_traffic_is_no_harm():
    """The hash sent the heaviest user to the candidate: it has 40 % of the requests at a weight of 10 %."""
    assert judged(Tally(requests=6_000, errors=60), Tally(requests=4_000, errors=40)).decision == "Continue"


@pytest.mark.parametrize(("bad", "trials"), [(3, 100), (0, 500), (40, 400)])
def test_the_limit_is_a_mixture_of_bernoulli_likelihood_ratios(bad, trials):
    limit = 0.02
    ratios = []
    for z in HIGHER:
        odds = limit / (1 - limit) * math.exp(z)
        ratios.append(
            math.exp(stats.binom.logpmf(bad, trials, odds / (1 + odds)) - stats.binom.logpmf(bad, trials, limit))
        )
    assert limit_log_e(bad, trials, limit) == pytest.approx(math.log(math.fsum(ratios) / len(ratios)), abs=1e-9)


def test_limits_at_their_ends():
    assert limit_log_e(1, 10, 0.0) == math.inf
    assert limit_log_e(0, 10, 0.0) == 0
    assert limit_log_e(10, 10, 1.0) == 0
