"""Laws of drift, for any counts and any table: finiteness, symmetry, order, and an answer or one line."""

import json
import math
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.thorough import examples
from trimtab.cli.commands import main
from trimtab.evidence.drift import distance
from trimtab.evidence.drift.episode import Episode, follow
from trimtab.evidence.drift.judge import LEVELS, judge
from trimtab.evidence.drift.quality import problems
from trimtab.evidence.drift.reference import Feature, Reference, runs
from trimtab.evidence.drift.significance import adjusted, chi_squared
from trimtab.evidence.drift.special import chi_squared_tail, kolmogorov_tail
from trimtab.evidence.drift.window import Window, packed, unpacked

counts = st.one_of(st.just(0), st.integers(0, 30), st.integers(0, 10**9))
sides = st.integers(2, 12).flatmap(lambda size: st.tuples(*[st.lists(counts, min_size=size, max_size=size)] * 2))
some_counts = st.lists(counts, min_size=4, max_size=4).map(tuple)
effects = st.floats(1, 1e4)


@given(sides)
def test_distances_are_finite_symmetric_and_zero_between_equals(pair):
    before, after = pair
    for measure in (distance.psi, distance.jensen_shannon, distance.kolmogorov_smirnov, distance.total_variation):
        there, back = measure(before, after), measure(after, before)
        assert 0 <= there < math.inf
        assert math.isclose(there, back, rel_tol=1e-6, abs_tol=1e-7)
        assert measure(before, before) <= 1e-7
    assert distance.kolmogorov_smirnov(before, after) <= distance.total_variation(before, after) + 1e-9
    assert distance.jensen_shannon(before, after) <= 1 + 1e-9


@given(sides, effects, effects, st.sampled_from(["numeric", "category"]))
def test_significance_falls_with_the_design_effect(pair, effect, more, kind):
    test = chi_squared(*pair, kind)
    low, high = sorted((effect, more))
    assert 0 <= test.p_value(low) <= test.p_value(high) * (1 + 1e-9) <= 1 + 1e-9
    assert test.freedom < len(pair[0])


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 300))
def test_tails_fall(first, second, freedom):
    low, high = sorted((first, second))
    assert 1 >= chi_squared_tail(low, freedom) >= chi_squared_tail(high, freedom) * (1 - 1e-9) >= 0
    assert 1 >= kolmogorov_tail(low) >= kolmogorov_tail(high) - 1e-12 >= -1e-12


@given(st.lists(st.floats(0, 1), max_size=12))
def test_adjusted_p_values_are_no_smaller_and_keep_the_order(p_values):
    found = adjusted(p_values)
    assert all(p <= q * (1 + 1e-12) <= 1 + 1e-9 for p, q in zip(p_values, found, strict=True))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [found[i] for i in order] == sorted(found)


@given(st.lists(counts, min_size=1, max_size=40))
def test_groups_are_runs_of_cells_and_out_of_range_stays_apart(cells):
    groups = runs(cells)
    assert groups[0] == 0
    assert all(b - a in (0, 1) for a, b in pairwise(groups))
    filled = [group for group, count in zip(groups, cells, strict=True) if count]
    if cells[0] == 0 and filled:
        assert groups[0] not in filled
    if cells[-1] == 0 and filled:
        assert groups[-1] not in filled


features = st.builds(
    lambda cells, missing, kind, importance: Feature(
        "x",
        kind,
        cells,
        missing,
        edges=(0.0, 1.0, 2.0),
        deciles=(0, 1),
        inside=(1, 2),
        mean=1.0,
        deviation=0.5,
        importance=importance,
        sums=tuple(float(count) for count in cells),
    ),
    some_counts,
    counts,
    st.sampled_from(["numeric", "category"]),
    st.one_of(st.none(), st.floats(0, 1)),
)
windows = st.builds(
    lambda cells, missing, wrong, moments, sums: Window(
        sum(cells) + missing + wrong, (cells,), (missing,), (0,) * 24, (wrong,), moments, (sums,)
    ),
    some_counts,
    counts,
    counts,
    st.one_of(st.none(), st.just((3.0, (1.0,), (2.0,)))),
    st.one_of(st.just(()), st.tuples(*[st.integers(-(10**9), 10**9).map(float)] * 4)),
)


@given(features, windows, effects)
def test_any_counts_are_judged(feature, window, effect):
    reference = Reference((replace(feature, inside=(1, 2)),))
    look = judge(reference, window, [effect])
    (found,) = look.features
    assert look.needed >= 0
    assert math.isfinite(look.score)
    assert (look.state == "InsufficientData") == bool(look.needed or look.needed_reference)
    assert found.drifted <= (found.excess >= 0.2 and found.effective >= 200)
    assert found.excess <= found.psi < math.inf
    assert all(0 <= value <= 1 for value in (found.p_value, found.ks, found.ks_p_value))
    for problem in problems(reference, window):
        assert 0 < problem.share <= 1
    assert unpacked(packed(window), window) == window
    assert window - window + window == window


@given(st.lists(st.sampled_from(["InsufficientData", *LEVELS]), max_size=30))
def test_an_episode_follows_from_the_last_looks_that_could_tell(states):
    look = judge(Reference(()), Window(0, (), ()), [])
    episode, known = Episode(), []
    for at, state in enumerate(states):
        before = episode
        episode = follow(episode, replace(look, state=state), at)
        if state == "InsufficientData":
            assert episode == before
            continue
        known.append(state)
        if len(known) >= 3 and set(known[-3:]) == {"OK"}:
            assert (episode.level, episode.begun) == ("OK", None)
        if len(known) >= 3 and "OK" not in known[-3:]:
            assert episode.level != "OK"
            assert episode.begun is not None
        if before.level == "OK" and "OK" in known[-3:]:
            assert episode.level == "OK"


VALUES = st.one_of(
    st.integers(-5, 5).map(str),
    st.floats().map(repr),
    st.sampled_from(["", "NA", "x", "y", '"', "1e308", "-1e308", "inf", "2030-01-01", "1896091200", "1_0"]),
)
TABLES = st.lists(st.tuples(VALUES, VALUES), max_size=12).map(
    lambda rows: "".join(f"{','.join(row)}\n" for row in [("a", "b"), *rows])
)


@settings(max_examples=examples(60))
@given(TABLES, TABLES, st.sampled_from([[], ["--categorical", "a"]]), st.booleans())
def test_any_table_is_answered_or_refused_in_one_line(reference, current, more, dated):
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in "RC"]
        for path, content in zip(paths, (reference, current), strict=True):
            path.write_text(content)
        how = ["--replay", str(paths[1]), "--time", "b"] if dated else ["--current", str(paths[1]), "--json"]
        result = CliRunner().invoke(main, ["drift", "--reference", str(paths[0]), *how, *more])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    if result.exit_code:
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    for line in result.stdout.splitlines():
        json.loads(line, parse_constant=lambda name: 1 / 0)
