"""The statistics keep what they promise: simulated experiments, looked at all the time, against their aims.

A count of runs is compared with its aim by a binomial tolerance of 3.5 standard errors, so that a test that fails has
found something. Streams are seeded.
"""

import math

import numpy as np
import pytest

from bench import evidence, streams, vectorised
from bench.streams import Streams
from trimtab.evidence import eprocess
from trimtab.evidence.canary import Gates, judge_canary
from trimtab.evidence.design import Design, Guardrail, Objective
from trimtab.evidence.eprocess import Stratum
from trimtab.evidence.experiment import judge
from trimtab.evidence.replay import replay
from trimtab.evidence.tally import Bucket, Segment, Tally

RUNS = 1_000
DAY = 86_400


def dice(seed):
    return np.random.default_rng(seed)


def at_most(share, aim, runs):
    return share <= aim + 3.5 * math.sqrt(aim * (1 - aim) / runs)


def at_least(share, aim, runs):
    return share >= aim - 3.5 * math.sqrt(aim * (1 - aim) / runs)


@pytest.mark.parametrize("down", [False, True])
def test_the_vectorised_e_process_is_the_engine_s(down):
    found = streams.ramp(dice(1), 3, 40, 20_000, (0.08, 0.12), (0.05, 0.1, 0.25, 0.5))
    ours = vectorised.log_e(found, eprocess.HARM, 0.1, down=down)
    for run in range(3):
        for look in (0, 9, 10, 25, 39):
            last = found.segment[look]
            ends = [*(10 * s + 9 for s in range(last)), look]
            strata = [
                Stratum(int(found.events_b[run, end]), int(found.events_a[run, end]), found.shares[s])
                for s, end in enumerate(ends)
            ]
            theirs = eprocess.log_e(eprocess.swapped(strata) if down else strata, -0.1 if down else 0.1, eprocess.HARM)
            assert ours[run, look] == pytest.approx(theirs, abs=1e-8)


@pytest.mark.parametrize(("rate", "share"), evidence.RATES)
def test_no_effect_is_found_in_no_more_than_alpha(rate, share):
    found = evidence.errors(streams.binary(dice(2), RUNS, 200, 50_000, rate, share=share), evidence.EFFECTS[rate])
    assert found["win or worse, peeked"] <= 0.05
    assert found["win, peeked"] <= 0.03
    assert found["harm, peeked"] <= 0.05
    assert found["z, peeked"] > 0.15


@pytest.mark.parametrize(("rates", "shares"), evidence.RAMPS)
def test_a_ramp_under_a_drifting_base_rate_is_no_effect(rates, shares):
    found = evidence.errors(streams.ramp(dice(3), RUNS, 200, 50_000, rates, shares), 0.1)
    assert found["win or worse, peeked"] <= 0.05
    assert found["harm, peeked"] <= 0.05
    assert found["z, once at the end"] > 0.8


@pytest.mark.parametrize("correlation", [0.02, 0.1])
def test_users_who_come_back_do_not_fake_significance(correlation):
    found = evidence.repeated(dice(4), 300, correlation)
    assert at_most(found["win or worse, peeked"], 0.05, 300)
    assert at_most(found["harm, peeked"], 0.05, 300)
    assert found["z, peeked"] > 0.3


def test_effects_are_found_as_soon_as_promised():
    rows = dict(evidence.power(dice(5), RUNS))
    for lift, within, later, users in (
        ("+10%", 0.53, 0.945, 32_200),
        ("+15%", 0.92, 1.0, 16_100 * 1.1),
        ("-10%", 0.57, 0.96, 29_900 * 1.05),
    ):
        assert at_least(rows[lift]["found within the fixed size"], within, RUNS)
        assert at_least(rows[lift]["found within 2.5 times that"], later - 0.001, RUNS)
        assert rows[lift]["users on average"] <= 1.05 * users
    assert rows["+0%"]["found within 2.5 times that"] <= 0.05


def test_harm_is_seen_as_soon_as_promised():
    rows = dict(evidence.harm(dice(6), RUNS))
    aims = {
        "1.0% to 5.0%": (140, 320),
        "0.5% to 2.0%": (360, 920),
        "0.1% to 1.0%": (480, 1_120),
        "1.0% to 50.0%": (20, 20),
    }
    for name, (median, late) in aims.items():
        assert rows[name]["stopped after, median"] <= median
        assert rows[name]["95 % within"] <= 1.1 * late
    assert rows["1.0% to 2.0%"]["stopped after, median"] <= 1.05 * 920
    assert at_least(rows["1.0% to 2.0%"]["stopped within 2,000"], 0.85, RUNS)
    assert rows["1.0% to 2.5%"]["stopped after, median"] <= 520
    assert rows["1.0% to 1.0%"]["stopped within 2,000"] <= 0.05


def test_a_wrong_sample_ratio_is_found_as_soon_as_promised():
    rows = dict(evidence.sample_ratio(dice(7), RUNS))
    assert rows["50% planned, 50% seen"]["found"] <= 0.01
    assert rows["10% planned, 10% seen"]["found"] <= 0.01
    assert rows["50% planned, 52% seen"]["users, median"] <= 8_500
    assert rows["10% planned, 9% seen"]["users, median"] <= 12_250


def test_identical_canaries_go_on():
    rows = dict(evidence.canaries(dice(8), RUNS))
    found = rows["99.5% success, 60 requests a minute"]
    assert found["rolled back"] <= 0.01
    assert found["rolled back by Flagger's rule"] > 0.7


@pytest.mark.parametrize("limit", [None, 3.0])
def test_a_canary_that_fails_five_times_as_often_is_rolled_back_within_500_requests(limit):
    draw, runs, stops = dice(9), 400, []
    gates = Gates(max_error_percent=limit, max_latency_milliseconds=100.0)
    for _ in range(runs):
        own, other = (np.cumsum(draw.binomial(n, p, 60)).tolist() for n, p in ((20, 0.05), (180, 0.01)))
        stops.append(next(20 * (i + 1) for i in range(60) if stopped(gates, i + 1, own[i], other[i])))
    assert np.quantile(stops, 0.95, method="higher") <= 500


def stopped(gates, look, bad, others):
    tallies = {"old": Tally(requests=180 * look, errors=others), "new": Tally(requests=20 * look, errors=bad)}
    segment = Segment(1.0 * look, {"old": 90, "new": 10}, tallies)
    return judge_canary(gates, [segment], candidate="new", current="old").decision == "StopHarm"


def ended(design, looks):
    """Whether an experiment with these increments at each look ever wins, or is stopped for harm."""
    seen = []
    for tallies in looks:
        seen.append(Segment(DAY, dict.fromkeys(design.arms, 1.0), tallies))
        if judge(design, seen).decision in ("Win", "StopHarm"):
            return True
    return False


def test_all_rules_together_are_wrong_in_no_more_than_alpha():
    """Three arms, a guardrail that puts up with nothing, and a look a day for four weeks."""
    design = Design(("a", "b", "c"), "a", Objective(minimum_effect=0.1), (Guardrail("Errors", 0.0),))
    draw, runs, wrong = dice(10), 250, 0
    for _ in range(runs):
        looks = []
        for _ in range(28):
            users = draw.multinomial(1_500, [1 / 3] * 3).tolist()
            looks.append(
                {
                    arm: Tally(n, n, int(draw.binomial(n, 0.02)), int(draw.binomial(n, 0.1)))
                    for arm, n in zip(design.arms, users, strict=True)
                }
            )
        wrong += ended(design, looks)
    assert at_most(wrong / runs, 0.05, runs)


def test_skewed_means_are_wrong_in_no_more_than_alpha():
    """Log-normal values of deviation 2 on the log scale, a share of 10 %: where separate variances err most."""
    design = Design(("a", "b"), "a", Objective("OutcomeMean", minimum_effect=0.2))
    draw, runs, wrong = dice(11), 300, 0
    weights = {"a": 90.0, "b": 10.0}
    for _ in range(runs):
        totals, seen = {"a": Tally(), "b": Tally()}, False
        for look in range(1, 41):
            for arm, n in (("a", 450), ("b", 50)):
                value = draw.lognormal(0, 2, n)
                totals[arm] = totals[arm] + Tally(n, n, 0, n, float(value.sum()), float((value**2).sum()))
            seen = seen or judge(design, [Segment(DAY * look, weights, dict(totals))]).decision == "Win"
        wrong += seen
    assert at_most(wrong / runs, 0.05, runs)


@pytest.mark.parametrize("correlation", [0.02, 0.1])
def test_errors_of_users_with_20_requests_without_buckets(correlation):
    """Only the number of users is known; the objective and a guardrail that puts up with nothing count requests."""
    design = Design(("a", "b"), "a", Objective("Errors", "Decrease", 0.2), (Guardrail("Errors", 0.0),))
    draw, runs, wrong, spread = dice(12), 300, 0, 1 / correlation - 1
    for _ in range(runs):
        looks = []
        for _ in range(28):
            pair = {}
            for arm in design.arms:
                own = draw.beta(0.05 * spread, 0.95 * spread, 150)
                pair[arm] = Tally(users=150, requests=3_000, errors=int(draw.binomial(20, own).sum()))
            looks.append(pair)
        wrong += ended(design, looks)
    assert at_most(wrong / runs, 0.05, runs)


def test_buckets_keep_the_whole_judge_right():
    """Outcomes of users with 20 predictions each, by user bucket, through the judge."""
    design = Design(("a", "b"), "a", Objective(minimum_effect=0.2))
    found, _ = streams.clustered(dice(13), 150, 20, 3_000, 0.1, 0.1)
    wrong = 0
    for run in range(150):
        decisions = {judge(design, [bucketed(found, run, look)]).decision for look in range(20)}
        wrong += "Win" in decisions
    assert at_most(wrong / 150, 0.03, 150)


def bucketed(found, run, look):
    def side(units, events):
        pairs = zip(units[run, look].tolist(), events[run, look].tolist(), strict=True)
        return Tally(users=1, requests=1, buckets=tuple(Bucket(n, n, x, x) for n, x in pairs))

    sides = {"a": side(found.units_a, found.events_a), "b": side(found.units_b, found.events_b)}
    return Segment(28 * DAY - 1, {"a": 50, "b": 50}, sides)


def test_intervals_hold_the_truth_at_every_look():
    design = Design(("a", "b"), "a", Objective(minimum_effect=0.1))
    for lift in (0.0, 0.3):
        found = streams.binary(dice(14), 200, 40, 20_000, 0.1, lift)
        missed = sum(any(not holds(design, found, run, look, lift) for look in range(40)) for run in range(200))
        assert at_most(missed / 200, 0.05, 200)


def holds(design, found, run, look, lift):
    counts = [part[run, look].item() for part in (found.users_a, found.users_b, found.events_a, found.events_b)]
    a, b, x, y = counts
    arm = judge(design, [Segment(DAY, {"a": 1, "b": 1}, {"a": Tally(a, a, 0, x), "b": Tally(b, b, 0, y)})]).arms["b"]
    return (arm.lower is None or arm.lower <= lift) and (arm.upper is None or lift <= arm.upper)


def test_replayed_recordings_find_what_is_there_and_nothing_else():
    """One object a day, each with its own counts, through the form that is printed."""
    spec = {
        "arms": [{"name": "control"}, {"name": "new"}],
        "control": "control",
        "objective": {"metric": "Outcome", "minimumEffectPercent": "10"},
        "guardrails": [{"metric": "Errors", "maxIncreasePercent": "50"}],
    }
    draw, runs = dice(15), 60
    wins = {lift: sum(won(spec, draw, lift) for _ in range(runs)) / runs for lift in (0.0, 0.2)}
    assert at_most(wins[0.0], 0.025, runs)
    assert wins[0.2] >= 0.95


def won(spec, draw, lift):
    parts = []
    for _ in range(14):
        users = draw.multinomial(2_000, [0.5, 0.5]).tolist()
        counts = {
            arm: {
                "users": n,
                "requests": n,
                "errors": int(draw.binomial(n, 0.01)),
                "outcomes": int(draw.binomial(n, rate)),
            }
            for arm, n, rate in (("control", users[0], 0.1), ("new", users[1], 0.1 * (1 + lift)))
        }
        parts.append({"seconds": DAY, "weights": {"control": 50, "new": 50}, "counts": counts})
    return any(result["winner"] == "new" for result in replay({"spec": spec, "segments": parts}))


def test_a_stream_may_be_given_without_segments():
    whole = Streams(*(np.array([[n]]) for n in (1_000, 1_000, 50, 80)))
    assert vectorised.log_e(whole, eprocess.HARM)[0, 0] == pytest.approx(
        eprocess.log_e([Stratum(80, 50, 0.5)], 0.0, eprocess.HARM)
    )
