"""Looks and episodes: when drift is claimed, how bad it is, and when nothing can be said."""

from dataclasses import replace

import pytest

from trimtab.evidence.drift.episode import Episode, follow
from trimtab.evidence.drift.judge import Chosen, Policy, Thresholds, judge, judge_chosen
from trimtab.evidence.drift.reference import Feature, Moments, Reference, read_reference
from trimtab.evidence.drift.window import Window, empty, read_counts, total

EVEN = (100,) * 10
EDGES = tuple(float(i) for i in range(1, 10))


def feature(name, counts=EVEN, **more):
    return Feature(name, "numeric", tuple(10 * c for c in counts), 0, EDGES, tuple(range(9)), (0, 9), 5.0, 2.9, **more)


def shifted(size):
    """Counts of 1,000 rows, `size` of them moved from the first to the last group."""
    return (100 - size, *EVEN[1:9], 100 + size)


def window(*cells):
    return Window(sum(cells[0]), cells, (0,) * len(cells))


def look(*cells, effect=1.0, policy=None, importances=()):
    given = [feature(f"f{i}") for i in range(len(cells))]
    if importances:
        given = [replace(f, importance=value) for f, value in zip(given, importances, strict=True)]
    return judge(Reference(tuple(given)), window(*cells), [effect] * len(cells), policy)


STRONG, WEAK = (550, *(50,) * 9), (280, *(80,) * 9)


def test_without_drift_all_is_well():
    found = look(EVEN, EVEN)
    assert (found.state, found.needed, found.score) == ("OK", 0, 0)
    assert found.features[0].excess < 0
    assert found.features[0].p_value == 1


def test_thresholds_are_of_the_excess():
    assert [look(cells, EVEN).state for cells in (WEAK, STRONG)] == ["Warning", "Critical"]
    assert [f.drifted for f in look(WEAK, EVEN).features] == [True, False]
    found = look(WEAK).features[0]
    assert found.excess == pytest.approx(found.psi - 9 * (1 / 1_000 + 1 / 10_000))
    assert look(WEAK, policy=Policy(features={"f0": Thresholds(0.5, 0.9)})).state == "OK"
    assert look(WEAK, EVEN, policy=Policy(Thresholds(0.01, 0.05))).state == "Critical"


def test_a_few_dependent_rows_are_too_few():
    found = look(STRONG, effect=6.0)
    assert (found.state, found.needed, found.features[0].drifted) == ("InsufficientData", 200, False)
    assert found.effective == pytest.approx(1_000 / 6)
    few = look((9,) * 10)
    assert (few.state, few.needed) == ("InsufficientData", 110)


def test_a_small_reference_is_too_few_as_well():
    small = Reference((Feature("x", "boolean", (3, 4)),))
    found = judge(small, Window(900, ((0, 900),), (0,)), [1.0])
    assert (found.state, found.needed, found.needed_reference) == ("InsufficientData", 0, 193)


def test_a_feature_that_is_mostly_missing_is_not_judged():
    reference = Reference((feature("a"), feature("b")))
    found = judge(reference, Window(1_000, (EVEN, (150, *(0,) * 9)), (0, 850)), [1.0, 1.0])
    assert found.state == "OK"
    assert found.features[1].psi > 1


def test_what_does_not_matter_only_warns():
    assert look(STRONG, EVEN, EVEN, EVEN, importances=(0.02, 0.9, 0.04, 0.04)).state == "Warning"
    assert look(STRONG, EVEN, EVEN, EVEN, importances=(0.9, 0.02, 0.04, 0.04)).state == "Critical"


def test_predictions_drift_and_only_warn():
    reference = Reference((feature("a"), Feature("prediction", "category", (500, 500), role="prediction")))
    found = judge(reference, Window(1_000, (EVEN, (950, 50)), (0, 0)), [1.0, 1.0])
    assert (found.state, found.features[1].level, found.features[1].weight) == ("Warning", "Critical", 0)


def test_unseen_categories_have_a_cell_of_their_own():
    colour = Feature("colour", "category", (600, 390, 10, 0), categories=("red", "blue"))
    found = judge(Reference((colour,)), Window(1_000, ((300, 195, 5, 500),), (0,)), [1.0])
    assert found.features[0].level == "Critical"
    assert found.features[0].wasserstein is None
    assert found.features[0].ks == pytest.approx(0.5)


def test_strictness_is_in_false_alarms_a_year():
    assert [Policy(false_alarms_per_year=n).discoveries for n in (0.1, 1, 100)] == pytest.approx([0.001, 0.01, 0.1])
    borderline = (118, 82, *EVEN[2:])
    loose = Policy(Thresholds(0.0, 9.0), false_alarms_per_year=10)
    strict = replace(loose, false_alarms_per_year=0.1)
    assert [look(borderline, policy=policy).state for policy in (loose, strict)] == ["OK", "OK"]
    stronger = (135, 65, *EVEN[2:])
    assert [look(stronger, policy=policy).state for policy in (loose, strict)] == ["Critical", "OK"]


def test_a_value_that_takes_up_most_rows_hides_no_other():
    flag = Feature("flag", "numeric", (0, 9_500, 500, 0), edges=(0, 1, 1.5), deciles=(0,), inside=(1, 2), mean=0.05)
    assert flag.groups == (0, 1, 2, 3)
    found = judge(Reference((flag,)), Window(1_000, ((0, 600, 400, 0),), (0,)), [1.0])
    assert found.features[0].level == "Critical"
    constant = Feature("one", "numeric", (0, 1_000, 0), edges=(1, 1.5), deciles=(0,), inside=(1, 1), mean=1)
    for cells in ((500, 0, 0), (0, 0, 500)):
        assert judge(Reference((constant,)), Window(500, (cells,), (0,)), [1.0]).features[0].level == "Critical"


def by_hours(**rows):
    """Rows by hour of the day, as in h3=100."""
    return tuple(rows.get(f"h{hour}", 0) for hour in range(24))


BY_HOUR = tuple((100, 900) if hour < 12 else (900, 100) for hour in range(24))
FLAG = Feature("flag", "boolean", (12_000, 12_000), hours=BY_HOUR)


def test_the_hour_of_the_day_is_compared_with_itself():
    morning = Window(1_000, ((110, 890),), (0,), by_hours(h3=1_000))
    assert judge(Reference((FLAG,)), morning, [1.0]).state == "OK"
    assert judge(Reference((replace(FLAG, hours=()),)), morning, [1.0]).state == "Critical"
    evening = replace(morning, hours=by_hours(h15=1_000))
    assert judge(Reference((FLAG,)), evening, [1.0]).state == "Critical"
    assert FLAG.expected(morning.hours) == pytest.approx([100, 900])


def test_hours_take_few_bytes_and_any_count():
    for most, size in ((60_000, 2), (70_000, 8)):
        hours = {"features": {"a": [[most, 0, 1]] * 24}, "score": [[1, 2, 3, 4]] * 24}
        feature, _, score, _ = read_reference({**PROFILE, "hours": hours}).features
        assert [list(slot) for slot in feature.hours] == [[most, 0, 1]] * 24
        assert {slot.itemsize for slot in feature.hours} == {size}
        assert [list(slot) for slot in score.hours] == [[1, 2, 3, 4]] * 24


def test_hours_are_mixed_as_the_window_has_rows_of_them():
    assert FLAG.expected(by_hours(h11=300, h12=100)) == pytest.approx([0.3 * 1_600, 0.7 * 1_600])
    assert FLAG.expected((50,) * 24) == pytest.approx([12_000, 12_000])
    assert FLAG.expected((0,) * 24) == FLAG.counts
    assert replace(FLAG, hours=()).expected(by_hours(h11=300)) == FLAG.counts
    assert Feature("none", "boolean", (0, 0), hours=((0, 0),) * 24).expected(by_hours(h1=1)) == (0, 0)


def test_an_hour_with_few_rows_takes_its_neighbours_and_then_the_whole():
    few = list(BY_HOUR)
    few[0] = (1, 3)
    assert replace(FLAG, hours=tuple(few)).expected(by_hours(h0=50)) == pytest.approx([1 + 900 + 100, 3 + 100 + 900])
    for hour in (21, 22, 23, 0, 1, 2, 3):
        few[hour] = (0, 28)
    thin = replace(FLAG, hours=tuple(few))
    assert thin.expected(by_hours(h0=50)) == pytest.approx(FLAG.counts)
    assert thin.expected(by_hours(h1=50)) == pytest.approx([100, 900 + 6 * 28])


def test_a_window_of_whole_days_is_compared_with_the_whole():
    nights = Window(1_000, ((500, 500),), (0,), by_hours(h3=1_000))
    for whole, state in ((True, "OK"), (False, "Critical")):
        assert judge_chosen(Reference((FLAG,)), Chosen(86_400, nights, (1.0,), whole)).state == state


def test_what_is_not_judged_does_not_count_in_the_score():
    reference = Reference((feature("a"), feature("b")))
    found = judge(reference, window(EVEN, STRONG), [1.0, 6.0])
    assert (found.state, found.score, found.features[1].excess > 0.5) == ("OK", 0, True)


def test_episodes_begin_after_three_looks_and_end_after_three():
    bad, worse, good, short = look(WEAK, EVEN), look(STRONG), look(EVEN), look((1,) * 10)
    episode, told = Episode(), []
    looks = [bad, bad, good, bad, short, bad, bad, worse, worse, worse, bad, good, good, good, good]
    for at, found in enumerate(looks):
        episode = follow(episode, found, at)
        told.append((episode.level, episode.begun))
    assert told[:6] == [("OK", None)] * 6
    assert told[6:9] == [("Warning", 3)] * 3
    assert told[9:13] == [("Critical", 3)] * 4
    assert told[13:] == [("OK", None)] * 2


def moments(correlation, n=2_000):
    return Moments(("a", "b"), n, (0.0, 0.0), ((1.0, correlation), (correlation, 1.0)))


def with_moments(correlation, n=1_000):
    return replace(window(EVEN, EVEN), moments=(n, (0.0, 0.0), tuple(n * c for c in (1, correlation, correlation, 1))))


def test_two_features_that_hang_together_otherwise():
    reference = Reference((feature("a"), feature("b")), moments(0.7))
    found = judge(reference, with_moments(0.5), [1.0, 1.0])
    assert (found.state, found.pair.features, found.pair.drifted) == ("OK", ("a", "b"), True)
    assert found.pair.after == pytest.approx(0.5)
    assert not judge(reference, with_moments(0.5), [9.0, 9.0]).pair
    assert not judge(reference, with_moments(0.68), [1.0, 1.0]).pair.drifted
    assert [judge(reference, with_moments(0.58), [e, e]).pair.drifted for e in (1.0, 4.9)] == [True, False]
    assert judge(reference, replace(window(EVEN, EVEN), moments=(9, (0, 0), (0,) * 4)), [1.0, 1.0]).pair is None


PROFILE = {
    "features": [
        {"name": "a", "kind": "numeric", "edges": [0.0, 1.0], "deciles": [0], "inside": [1, 1], "counts": [0, 9, 1],
         "n": 11, "missing": 1, "mean": 0.5, "deviation": 0.2, "importance": 0.75, "input": "input"},
        {"name": "c", "kind": "category", "categories": ["x"], "counts": [8, 3, 0], "n": 11, "missing": 0},
    ],
    "score": {"kind": "positive", "edges": [0.25, 0.5, 0.75], "counts": [4, 3, 2, 1]},
    "predictions": {"counts": [7, 3]},
    "moments": {"features": ["a"], "n": 10, "mean": [0.0], "matrix": [[1.0]]},
}  # fmt: skip
COUNTS = {
    "rows": 5,
    "features": [{"name": "a", "counts": [0, 4, 0], "missing": 1}, {"name": "c", "counts": [2, 2, 1], "missing": 0}],
    "score": {"counts": [1, 1, 1, 2]},
    "predictions": {"counts": [3, 2]},
    "moments": {"n": 4, "sum": [1.5], "products": [[3.0]]},
}


def test_profiles_and_counts_are_read():
    reference = read_reference(PROFILE)
    assert [f.name for f in reference.features] == ["a", "c", "score", "prediction"]
    assert reference.weights == pytest.approx((1 / 1.125, 0.125 / 1.125, 0, 0))
    found = read_counts(reference, COUNTS, hour=4)
    assert (found.cells, found.missing) == (((0, 4, 0), (2, 2, 1), (1, 1, 1, 2), (3, 2)), (1, 0, 0, 0))
    assert (found.hours[4], found.moments) == (5, (4, (1.5,), (3.0,)))
    twice = total(reference, [found, found])
    assert (twice.rows, twice.cells[0], twice.moments) == (10, (0, 8, 0), (8, (3.0,), (6.0,)))
    assert (twice - found) == found
    assert (found - found).cells == empty(reference).cells
    assert twice.moments_of(reference.moments).mean == (0.375,)


def test_counts_of_another_profile_are_refused():
    other = {**COUNTS, "score": {"counts": [1, 2]}}
    message = "score score: the counts have 2 cells, the profile 4; they are of another profile"
    with pytest.raises(ValueError, match=message):
        read_counts(read_reference(PROFILE), other)
