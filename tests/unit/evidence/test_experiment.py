"""The verdict: each rule, their order, and what is said."""

import math
from dataclasses import replace

import pytest

from trimtab.evidence.design import Design, Guardrail, Objective
from trimtab.evidence.experiment import judge
from trimtab.evidence.tally import Bucket, Segment, Tally

DAY = 86_400
DESIGN = Design(("control", "new"), "control", Objective(minimum_effect=0.1))
EVEN = {"control": 50.0, "new": 50.0}


def tally(users, outcomes, **more):
    return Tally(users=users, outcomes=outcomes, **more)


def segment(control, new, seconds=DAY, weights=None):
    return Segment(seconds, weights or EVEN, {"control": control, "new": new})


def test_no_segment_and_no_traffic_wait():
    for segments in ([], [segment(Tally(), Tally())], [Segment(DAY, EVEN, {})]):
        found = judge(DESIGN, segments)
        assert (found.decision, found.rule, found.reason) == ("Waiting", "Data", "no traffic has been counted yet")
        assert found.needed_users is None
        assert found.arms["new"].lift is None


def test_no_data_waits_even_when_the_time_is_up():
    assert judge(DESIGN, [segment(Tally(), Tally(), seconds=100 * DAY)]).decision == "Waiting"


def test_traffic_without_outcomes_waits_and_says_what_for():
    found = judge(DESIGN, [segment(tally(900, 0), tally(900, 0))])
    assert (found.decision, found.reason) == ("Waiting", "no outcome of new or control has been counted")


def test_an_objective_that_never_reports_ends_with_the_time():
    found = judge(DESIGN, [segment(tally(9_000, 0), tally(9_000, 0), seconds=28 * DAY)])
    assert found.decision == "Inconclusive"
    assert "no outcome of new or control has been counted" in found.reason


def test_a_win():
    found = judge(DESIGN, [segment(tally(8_000, 800), tally(8_000, 1_000))])
    assert (found.decision, found.winner, found.rule) == ("Win", "new", "Win")
    new = found.arms["new"]
    assert new.lift == pytest.approx(0.25)
    assert 0 < new.lower < 0.25 < new.upper
    assert new.e_value >= 40
    assert found.needed_users == 29_497
    assert found.reason.startswith("new is better than control: Outcome +25.0%, 0.95 interval +8.8% to +43.8%, e-value")
    assert found.arms["control"] == (found.arms["control"].__class__)(0.0, 0.0, 0.0, 1.0)


def test_a_win_waits_for_its_minimum_of_time():
    found = judge(DESIGN, [segment(tally(8_000, 800), tally(8_000, 1_000), seconds=3_600)])
    assert found.decision == "Running"
    assert found.reason.startswith("at least 82800 s more are needed")


def test_fewer_are_better_when_the_objective_is_to_decrease():
    design = replace(DESIGN, objective=Objective("Errors", "Decrease", 0.1))
    better = [segment(Tally(users=9_000, requests=9_000, errors=900), Tally(users=9_000, requests=9_000, errors=700))]
    found = judge(design, better)
    assert (found.decision, found.winner) == ("Win", "new")
    assert found.arms["new"].upper < 0
    worse = judge(design, [segment(better[0].tallies["new"], better[0].tallies["control"])])
    assert worse.decision == "StopFutile"


def test_an_effect_that_is_out_of_reach_is_futile():
    found = judge(DESIGN, [segment(tally(60_000, 6_000), tally(60_000, 6_010))])
    assert found.decision == "StopFutile"
    assert found.winner is None
    assert found.reason.startswith("no arm can still reach an effect of 0.1: new: Outcome +0.2%")


def test_an_arm_that_is_worse_is_not_kept_for_the_minimum_of_time():
    found = judge(DESIGN, [segment(tally(8_000, 1_000), tally(8_000, 700), seconds=60)])
    assert found.decision == "StopFutile"
    assert "all are worse" in found.reason
    early = judge(DESIGN, [segment(tally(60_000, 6_000), tally(60_000, 6_010), seconds=60)])
    assert early.decision == "Running"


def test_the_time_is_up():
    found = judge(DESIGN, [segment(tally(800, 80), tally(800, 84), seconds=28 * DAY)])
    assert found.decision == "Inconclusive"
    assert found.reason.startswith("the time of 2419200 s is up without a decision: new: Outcome +5.0%")


def test_a_mismatch_comes_before_a_win():
    found = judge(DESIGN, [segment(tally(8_000, 800), tally(7_000, 1_000))])
    assert (found.decision, found.rule) == ("Paused", "SampleRatio")
    assert found.srm.mismatch
    assert found.reason.startswith("users do not arrive as the weights say: arm ")
    assert "in segment 0" in found.reason


GUARDED = replace(DESIGN, guardrails=(Guardrail("Errors", 0.5),))


def failing(users, errors, outcomes=0):
    return Tally(users=users, requests=users, errors=errors, outcomes=outcomes)


def test_harm_needs_neither_outcomes_nor_time():
    found = judge(GUARDED, [segment(failing(900, 9), failing(900, 90), seconds=30)])
    assert (found.decision, found.rule) == ("StopHarm", "Harm")
    assert found.reason.startswith("Errors of new exceed control's by more than 50 % (by about 900.0%; e-value ")


def test_harm_comes_before_a_win():
    better = [segment(failing(8_000, 80, 800), failing(8_000, 400, 1_200))]
    assert judge(GUARDED, better).decision == "StopHarm"
    assert judge(DESIGN, better).decision == "Win"


def test_what_is_put_up_with_is_no_harm():
    assert judge(GUARDED, [segment(failing(90_000, 900, 5), failing(90_000, 1_200, 5))]).decision == "Running"
    strict = replace(DESIGN, guardrails=(Guardrail("Errors", 0.0),))
    assert judge(strict, [segment(failing(90_000, 900, 5), failing(90_000, 1_200, 5))]).decision == "StopHarm"


def test_a_guardrail_in_doubt_holds_a_win_back():
    found = judge(GUARDED, [segment(failing(8_000, 20, 800), failing(8_000, 36, 1_000))])
    assert found.decision == "Running"
    assert found.reason.endswith("held back while the estimate of Errors of new is above what the guardrail allows")


def test_errors_that_control_never_has():
    found = judge(GUARDED, [segment(failing(900, 0), failing(900, 60), seconds=30)])
    assert "not seen in control at all" in found.reason


def test_requests_of_one_user_count_for_less():
    """The same errors: of 900 users they stop the arm, of 45 users with 20 requests each they may be two bad users."""
    many = [segment(failing(900, 9), failing(900, 40))]
    few = [segment(replace(failing(900, 9), users=45), replace(failing(900, 40), users=45))]
    assert judge(GUARDED, many).decision == "StopHarm"
    assert judge(GUARDED, few).decision == "Waiting"


def test_the_best_of_several_wins_whatever_their_order():
    objective = Objective(minimum_effect=0.1)
    weights = {"control": 40.0, "b": 30.0, "c": 30.0}
    tallies = {"control": tally(12_000, 1_200), "b": tally(9_000, 1_150), "c": tally(9_000, 1_250)}
    for arms in (("control", "b", "c"), ("c", "control", "b"), ("b", "c", "control")):
        found = judge(Design(arms, "control", objective), [Segment(DAY, weights, tallies)])
        assert (found.decision, found.winner) == ("Win", "c")
        assert list(found.arms) == list(arms)
        assert "e-value" in found.reason
        assert "of 80" in found.reason


def test_an_arm_that_has_not_begun_holds_nothing_up():
    design = Design(("control", "new", "later"), "control", Objective(minimum_effect=0.1))
    weights = {**EVEN, "later": 0.0}
    found = judge(design, [segment(tally(9_000, 900), tally(9_000, 1_150), weights=weights)])
    assert (found.decision, found.winner) == ("Win", "new")
    assert found.arms["later"].lift is None


def test_a_drifting_base_rate_under_a_ramp_is_no_effect():
    """Simpson's paradox: the candidate has most users when the rate is high, and is no better at any time."""
    segments = [
        segment(tally(9_500, 760), tally(500, 40), weights={"control": 95.0, "new": 5.0}),
        segment(tally(5_000, 600), tally(5_000, 600)),
    ]
    found = judge(DESIGN, segments)
    assert found.arms["new"].lift == pytest.approx(0, abs=1e-9)
    assert found.decision == "Running"


def test_segments_of_equal_weights_are_judged_as_one():
    parts = [segment(tally(400, 40), tally(400, 50)) for _ in range(20)]
    whole = segment(tally(8_000, 800), tally(8_000, 1_000), seconds=20 * DAY)
    assert judge(DESIGN, parts) == judge(DESIGN, [whole])


def test_means_wait_for_their_gate_and_then_decide():
    design = replace(DESIGN, objective=Objective("OutcomeMean", minimum_effect=0.1))
    few = judge(design, [segment(tally(150, 150), tally(150, 150))])
    assert (few.decision, few.reason) == ("Waiting", "new has 150 users, 200 are needed before means are compared")

    def paid(users, mean):
        return Tally(users=users, outcomes=users / 2, outcome_sum=users * mean, outcome_squares=users * mean * mean * 2)

    found = judge(design, [segment(paid(8_000, 10.0), paid(8_000, 12.0))])
    assert (found.decision, found.winner) == ("Win", "new")
    assert found.arms["new"].lift == pytest.approx(0.2)
    worse = judge(design, [segment(paid(8_000, 12.0), paid(8_000, 4.0))])
    assert worse.decision == "StopFutile"
    assert worse.arms["new"].e_value < 1


@pytest.mark.parametrize("mean", [0.0, 1e-300])
def test_a_control_without_a_mean_has_no_lift_but_may_lose(mean):
    design = replace(DESIGN, objective=Objective("OutcomeMean", minimum_effect=0.1))
    control = Tally(users=9_000, outcomes=9_000, outcome_sum=mean, outcome_squares=9_000)
    new = Tally(users=9_000, outcomes=9_000, outcome_sum=900, outcome_squares=9_000)
    found = judge(design, [segment(control, new)])
    assert (found.decision, found.winner, found.needed_users) == ("Win", "new", None)
    assert found.arms["new"].lift is None


def test_the_size_for_a_mean_is_told_by_control_alone():
    design = replace(DESIGN, objective=Objective("OutcomeMean", minimum_effect=0.1))
    control = Tally(users=1_000, outcomes=1_000, outcome_sum=10_000, outcome_squares=116_000)
    found = judge(design, [Segment(0, EVEN, {"control": control})])
    assert found.needed_users == 503
    rows = Tally(requests=1, buckets=(Bucket(500, 500, 5_000, 58_000),) * 2)
    assert judge(design, [Segment(0, EVEN, {"control": rows})]).needed_users == 503
    flat = Tally(users=1_000, outcomes=1_000, outcome_squares=1_000)
    assert judge(design, [Segment(0, EVEN, {"control": flat})]).needed_users is None


@pytest.mark.parametrize("metric", ["Outcome", "OutcomeMean"])
def test_the_size_is_told_by_the_weights_there_are_not_by_those_there_were(metric):
    ramp = [{"control": 100.0 - new, "new": float(new)} for new in (10, 50, 10)]
    design = replace(DESIGN, objective=Objective(metric, minimum_effect=0.1))
    counted = tally(9_000, 900, outcome_sum=900, outcome_squares=900)
    segments = [segment(counted, Tally(), weights=weights) for weights in ramp]
    needed = [judge(design, segments[:end]).needed_users for end in (1, 2, 3)]
    assert needed[2] == pytest.approx(needed[0], rel=1e-3)
    assert needed[2] > 2 * needed[1]


def test_events_of_a_query_are_counted_by_request():
    design = replace(DESIGN, objective=Objective("Prometheus", "Decrease", 0.1))
    control, new = Tally(requests=12_000, outcomes=1_200), Tally(requests=8_000, outcomes=600)
    found = judge(design, [segment(control, new, weights={"control": 60.0, "new": 40.0})])
    assert (found.decision, found.winner) == ("Win", "new")
    assert found.arms["new"].lift == pytest.approx(-0.25)
    assert found.needed_users is not None


def test_rare_outcomes_are_counted_before_means_are_compared():
    """One candidate user in a hundred: 3 outcomes of 600 users make no variance."""
    design = replace(DESIGN, objective=Objective("OutcomeMean", minimum_effect=0.1))
    weights = {"control": 99.0, "new": 1.0}
    control = Tally(users=59_400, outcomes=59_400, outcome_sum=100, outcome_squares=100)
    new = Tally(users=600, outcomes=600, outcome_sum=8, outcome_squares=8)
    found = judge(design, [segment(control, new, weights=weights)])
    assert found.reason == "new can expect 1.1 outcomes, 10 are needed before means are compared"
    none = Tally(users=900)
    assert judge(design, [segment(none, none)]).reason == "no outcome of new or control has been reported"


def test_means_that_do_not_vary_say_nothing():
    design = replace(DESIGN, objective=Objective("OutcomeMean", minimum_effect=0.1))
    alike = Tally(users=500, outcomes=500, outcome_sum=1_000, outcome_squares=2_000)
    found = judge(design, [segment(alike, alike)])
    assert (found.decision, found.reason) == (
        "Waiting",
        "all outcomes so far are alike: a spread is needed to compare means",
    )


@pytest.mark.parametrize("metric", ["Outcome", "OutcomeMean"])
def test_buckets_are_used_where_they_are(metric):
    def bucketed(lift):
        each = tuple(Bucket(400, 40 * lift + i % 5, 40 * lift + i % 5, 40 * lift + i % 5) for i in range(100))
        return Tally(users=8_000, requests=40_000, buckets=each)

    design = replace(DESIGN, objective=Objective(metric, minimum_effect=0.1))
    found = judge(design, [segment(bucketed(1.0), bucketed(1.3))])
    assert (found.decision, found.winner) == ("Win", "new")
    assert found.arms["new"].lift == pytest.approx(12 / 42)


@pytest.mark.parametrize("metric", ["Outcome", "OutcomeMean"])
@pytest.mark.parametrize("silent", ["control", "new"])
def test_where_one_arm_s_pods_tell_nothing_there_is_no_comparison(metric, silent):
    """Requests that nobody answered for, in a segment of their own: neither better nor worse."""
    pods = Tally(
        users=8_000, requests=8_000, answered=8_000, buckets=((Bucket(80, 80, 8, 8), Bucket(80, 80, 9, 9)) * 50)
    )
    design = replace(DESIGN, objective=Objective(metric, minimum_effect=0.1))
    both = segment(pods, pods)
    users = {"control": 12_000, "new": 8_000}
    alone = {arm: Tally(users=n, requests=n) if arm == silent else replace(pods, users=n) for arm, n in users.items()}
    other = segment(alone["control"], alone["new"], weights={"control": 60.0, "new": 40.0})
    assert judge(design, [both, other]).arms == judge(design, [both]).arms
    found = judge(design, [other])
    assert (found.decision, found.reason) == ("Waiting", f"no outcome of {silent} has been reported")


@pytest.mark.parametrize("metric", ["Outcome", "OutcomeMean"])
def test_no_report_is_no_outcome_and_no_is_one(metric):
    """Rows of which nobody reports are not worse; where each was reported to be a no, they are."""
    good = Tally(users=8_000, answered=8_000, buckets=((Bucket(80, 80, 8, 8), Bucket(80, 80, 9, 9)) * 50))
    design = replace(DESIGN, objective=Objective(metric, minimum_effect=0.1))
    mute, bad = (Tally(users=8_000, answered=8_000, buckets=(Bucket(80, reports),) * 100) for reports in (0, 80))
    waits = judge(design, [segment(mute, good)])
    assert (waits.decision, waits.reason) == ("Waiting", "no outcome of control has been reported")
    assert judge(design, [segment(good, mute)]).decision == "Waiting"
    nobody = judge(design, [segment(mute, mute)])
    assert nobody.reason == "no outcome of new or control has been reported"
    assert judge(design, [segment(bad, good)]).winner == "new"
    assert judge(design, [segment(good, bad)]).decision == "StopFutile"


def test_recorded_users_without_outcomes_are_counted_as_they_are_given():
    assert judge(DESIGN, [segment(tally(8_000, 0), tally(8_000, 800))]).winner == "new"


def test_several_events_of_a_user_are_not_independent():
    once = judge(DESIGN, [segment(tally(8_000, 800), tally(8_000, 1_000))])
    often = Tally(users=8_000, outcomes=800, outcome_sum=800, outcome_squares=8_000)
    more = Tally(users=8_000, outcomes=1_000, outcome_sum=1_000, outcome_squares=10_000)
    found = judge(DESIGN, [segment(often, more)])
    assert found.arms["new"].lift == pytest.approx(0.25)
    assert found.arms["new"].e_value < once.arms["new"].e_value
    assert found.decision == "Running"


def test_everything_is_finite_at_the_edges():
    for control, new in ((0, 5), (5, 0), (0, 10**9), (10**9, 10**9)):
        found = judge(DESIGN, [segment(tally(10**9, control), tally(10**9, new))])
        for arm in found.arms.values():
            assert all(
                number is None or math.isfinite(number) for number in (arm.lift, arm.lower, arm.upper, arm.e_value)
            )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": ("control",)}, "arms: 1 were given, an experiment has 2 to 8"),
        ({"arms": ("control", "new", "new")}, "arms: every name may be there once"),
        ({"control": "old"}, "control: 'old' is not one of the arms control, new"),
        ({"objective": Objective(alpha=1.0)}, "objective.alpha: 1.0 is not between 0 and 1"),
        ({"objective": Objective(power=0.0)}, "objective.power: 0.0 is not between 0 and 1"),
        ({"objective": Objective(minimum_effect=0.0)}, "objective.minimumEffectPercent: it must be above 0"),
        (
            {"objective": Objective(direction="Decrease", minimum_effect=1.0)},
            "objective.minimumEffectPercent: a decrease must be below 100",
        ),
        ({"guardrails": (Guardrail("Errors", -0.1),)}, "guardrails.maxIncreasePercent: it must not be negative"),
        ({"min_seconds": 10, "max_seconds": 5}, "minSeconds: 10 is not between 0 and maxSeconds, 5; left out they are"),
    ],
)
def test_a_design_that_makes_no_sense_is_named(change, message):
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(")):
        replace(DESIGN, **change)
