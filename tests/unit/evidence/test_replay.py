"""The form of a recorded experiment, and the fields that errors name."""

import copy
import json
import re

import pytest

from trimtab.evidence.experiment import judge
from trimtab.evidence.replay import read_design, replay, shown
from trimtab.evidence.tally import Segment, Tally

DAY = 86_400


def document():
    counts = {
        "control": {"users": 8_000, "requests": 8_000, "errors": 3, "outcomes": 800},
        "new": {"users": 8_000, "requests": 8_000, "errors": 2, "outcomes": 1_000},
    }
    return {
        "spec": {
            "arms": [
                {"name": "control", "deployment": "a", "weight": 50},
                {"name": "new", "deployment": "b", "weight": 50},
            ],
            "control": "control",
            "objective": {"metric": "Outcome", "minimumEffectPercent": "10", "alpha": "0.05", "power": "0.8"},
            "guardrails": [{"metric": "Errors", "maxIncreasePercent": "50"}],
        },
        "segments": [{"seconds": DAY, "weights": {"control": 50, "new": 50}, "counts": counts}] * 2,
    }


def test_one_object_a_segment_in_the_documented_form():
    found = replay(document())
    assert len(found) == 2
    for result in found:
        assert list(result) == ["decision", "winner", "arms", "srm", "neededUsers", "reason"]
        assert list(result["arms"]) == ["control", "new"]
        assert all(list(arm) == ["lift", "lower", "upper", "eValue"] for arm in result["arms"].values())
        assert list(result["srm"]) == ["eValue", "mismatch"]
        assert (result["decision"], result["winner"], result["neededUsers"]) == ("Win", "new", 29_497)
    assert found[1]["arms"]["new"]["eValue"] > found[0]["arms"]["new"]["eValue"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_each_segment_is_judged_on_all_up_to_it():
    given = document()
    tallies = {"control": Tally(8_000, 8_000, 3, 800), "new": Tally(8_000, 8_000, 2, 1_000)}
    segments = [Segment(DAY, {"control": 50, "new": 50}, tallies)] * 2
    design = read_design(given["spec"])
    assert replay(given) == [shown(judge(design, segments[:1])), shown(judge(design, segments))]


def test_what_is_absent_has_its_default():
    spec = {"arms": [{"name": "control"}, {"name": "b"}]}
    design = read_design(spec)
    assert (design.control, design.objective.metric, design.objective.direction) == ("control", "Outcome", "Increase")
    assert (design.objective.minimum_effect, design.objective.alpha, design.objective.power) == (0.05, 0.05, 0.8)
    assert (design.guardrails, design.min_seconds, design.max_seconds) == ((), DAY, 28 * DAY)
    assert read_design({**spec, "guardrails": [{"metric": "Latency"}]}).guardrails[0].max_increase == 0.5
    assert read_design({**spec, "objective": {"metric": "Errors"}}).objective.direction == "Decrease"
    found = replay({"spec": spec, "segments": [{"seconds": 1, "weights": {"control": 1, "b": 1}}]})
    assert (found[0]["decision"], found[0]["arms"]["b"]["lift"], found[0]["neededUsers"]) == ("Waiting", None, None)
    assert replay({"spec": spec, "segments": []}) == []


def test_numbers_may_be_text():
    given = document()
    given["segments"][0]["counts"]["new"]["outcomes"] = "1000"
    assert replay(given) == replay(document())


BAD = [
    (lambda d: d.pop("spec"), "spec: an object is needed, not nothing"),
    (lambda d: d.pop("segments"), "segments: a list is needed, not nothing"),
    (lambda d: d["spec"].pop("arms"), "spec.arms: a list is needed, not nothing"),
    (lambda d: d["spec"]["arms"][1].pop("name"), "spec.arms[1].name: a name is needed, not nothing"),
    (lambda d: d["spec"]["arms"].pop(), "spec.arms: 1 were given, an experiment has 2 to 8"),
    (lambda d: d["spec"].update(control="x"), "spec.control: 'x' is not one of the arms control, new"),
    (lambda d: d["spec"].update(objective=[]), "spec.objective: an object is needed, not list"),
    (
        lambda d: d["spec"]["objective"].update(metric="Clicks"),
        "spec.objective.metric: 'Clicks' is none of Outcome, OutcomeMean, Errors, Latency, Prometheus",
    ),
    (
        lambda d: d["spec"]["objective"].update(direction="Up"),
        "spec.objective.direction: 'Up' is none of Increase, Decrease",
    ),
    (lambda d: d["spec"]["objective"].update(alpha="x"), "spec.objective.alpha: 'x' is not a number of at least 0"),
    (lambda d: d["spec"]["objective"].update(alpha="2"), "spec.objective.alpha: 2.0 is not between 0 and 1"),
    (
        lambda d: d["spec"]["guardrails"][0].update(metric="Speed"),
        "spec.guardrails[0].metric: 'Speed' is none of Errors, Latency, Prometheus",
    ),
    (
        lambda d: d["spec"].update(maxSeconds=3600),
        "spec.minSeconds: 86400 is not between 0 and maxSeconds, 3600; left out they are a day and four weeks",
    ),
    (lambda d: d["spec"].update(minSeconds=True), "spec.minSeconds: True is not a number of at least 0"),
    (lambda d: d["segments"].append(7), "segments[2]: an object is needed, not int"),
    (lambda d: d["segments"][0].update(weights=None), "segments[0].weights: an object is needed, not nothing"),
    (lambda d: d["segments"][0]["weights"].update(new=-1), "segments[0].weights.new: -1 is not a number of at least 0"),
    (
        lambda d: d["segments"][0]["weights"].update(zz=1),
        "segments[0].weights.zz: spec.arms has no arm of that name, only control, new",
    ),
    (
        lambda d: d["segments"][0].update(weights={"new": 0}),
        "segments[0].weights: at least one arm must have a weight above 0",
    ),
    (
        lambda d: d["segments"][0]["counts"]["new"].update(users=float("nan")),
        "segments[0].counts.new.users: nan is not a number of at least 0",
    ),
    (
        lambda d: d["segments"][0]["counts"]["new"].update(outcomeSum="much"),
        "segments[0].counts.new.outcomeSum: 'much' is not a number",
    ),
    (
        lambda d: d["segments"][0].update(seconds=10**400),
        f"segments[0].seconds: {10**400} is not a number of at least 0",
    ),
]


@pytest.mark.parametrize(("damage", "message"), BAD)
def test_what_is_wrong_is_named(damage, message):
    given = copy.deepcopy(document())
    damage(given)
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        replay(given)


@pytest.mark.parametrize("whole", [None, 3, "x", [], [{}]])
def test_what_is_no_experiment_at_all(whole):
    with pytest.raises(ValueError, match=r"^(the experiment: an object is needed|spec: )"):
        replay(whole)


def test_sums_may_be_negative():
    given = document()
    given["spec"]["objective"]["metric"] = "OutcomeMean"
    for arm, total in (("control", -8_000), ("new", -6_000)):
        given["segments"][0]["counts"][arm].update(outcomeSum=total, outcomeSumSquares=20_000)
    assert replay(given)[0]["arms"]["new"]["lift"] == pytest.approx(0.25)
