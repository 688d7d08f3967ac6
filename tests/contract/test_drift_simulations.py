"""Drift on simulated traffic: no alarm without a shift, and soon one with it. Streams are seeded.

The simulated months are judged in numpy, which is held against the operator's own code look by look.
"""

import math

import numpy as np
import pytest

from bench.drift.mixes import DAY, EDGES, FEATURES, HOUR, MIXES, MONTH, Mix, reference_of, slots_of, stream
from bench.drift.rule import alarms, design, episodes, looks
from bench.drift.simulated import delay
from trimtab.evidence.drift.history import BUCKET, History
from trimtab.evidence.drift.judge import judge_chosen
from trimtab.evidence.drift.labels import Labels
from trimtab.evidence.drift.performance import realised
from trimtab.evidence.drift.reference import Feature, Reference
from trimtab.evidence.drift.window import Window


def dice(seed):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("mix", MIXES, ids=lambda mix: mix.name)
def test_three_months_without_drift_have_no_episode(mix):
    for seed in range(3):
        counts = stream(dice(seed), mix, MONTH)
        found = looks(counts, mix, reference_of(dice(seed + 100), mix, MONTH))
        assert episodes(found.ours) == 0


def test_bare_rules_cry_wolf_on_the_same_streams():
    few, many = MIXES[0], MIXES[3]
    for mix, rule in ((few, "psi"), (few, "p_value"), (many, "p_value")):
        found = looks(stream(dice(1), mix, 5 * DAY), mix, reference_of(dice(2), mix, 5 * DAY))
        assert episodes(getattr(found, rule)) > 10


def cycle(**more):
    return Mix("cycle", 100, cycle=0.5, **more)


def test_a_daily_cycle_is_no_drift_where_the_reference_knows_the_hours():
    """A month of windows of an hour: dozens of alarms against the whole reference, none against the same hours."""
    begun = []
    for mix in (cycle(windows=(HOUR,)), cycle(windows=(HOUR,), hourly=True), cycle(windows=(DAY,))):
        found = looks(stream(dice(1), mix, MONTH), mix, reference_of(dice(2), mix, MONTH))
        begun.append(episodes(found.ours))
    assert begun[0] >= 45
    assert begun[1:] == [0, 0]


def test_slow_weather_is_not_judged_in_longer_windows():
    """Why all features are judged in the window of the median one: what many rows share would be in alarm in others."""
    mix = Mix("weather", 20, weather=1.0)
    counts, known = stream(dice(1), mix, MONTH), reference_of(dice(2), mix, MONTH)
    together, apart = (alarms(looks(counts, mix, known, apart=alone).ours).mean() for alone in (False, True))
    assert together < 0.05
    assert apart > 0.5


@pytest.mark.parametrize(
    ("mix", "limits"),
    [
        (Mix("1 h", 100, windows=(HOUR,)), {0.5: 70, 0.75: 50, 1.0: 40}),
        (Mix("1 h, many", 1_000, windows=(HOUR,)), {0.5: 70, 0.75: 50, 1.0: 45}),
        (Mix("6 h", 100, windows=(6 * HOUR,)), {0.5: 350, 0.75: 245, 1.0: 190}),
        (Mix("repeated", 1_000, 20, windows=(HOUR,)), {0.5: 100, 0.75: 55, 1.0: 45}),
        (cycle(windows=(HOUR,), hourly=True), {0.5: 75, 0.75: 55, 1.0: 45}),
    ],
    ids=lambda value: value.name if isinstance(value, Mix) else "",
)
def test_shifts_are_seen_in_time(mix, limits):
    for shift, limit in limits.items():
        assert np.median([delay(dice(seed), mix, shift) for seed in range(9)]) <= limit


@pytest.mark.parametrize(
    "mix", [MIXES[2], MIXES[4], MIXES[7], MIXES[8], MIXES[11], MIXES[13]], ids=lambda mix: mix.name
)
def test_the_vectorised_rule_is_the_operator_s(mix):
    """Two days of every feature, with a shift in the second: windows, effects, and what each look says."""
    buckets = 2 * DAY
    counts = stream(dice(3), mix, buckets, 0.6, DAY + 3, shifted=2)
    ours = looks(counts, mix, reference_of(dice(4), mix, buckets)).ours
    effects = design(counts, mix.windows)
    reference = known(mix, slots_of(dice(4), mix))
    history = History(reference, [width * BUCKET for width in mix.windows])
    for place in range(buckets):
        cells = tuple(tuple(part) for part in counts[:, place].tolist())
        rows = sum(cells[0])
        hours = tuple(rows if place // HOUR % 24 == hour else 0 for hour in range(24))
        history.add(place * BUCKET, Window(rows, cells, (0,) * len(cells), hours))
        if place % 7 == 0 or DAY < place < DAY + 30:
            chosen = history.choose()
            assert chosen.effects == pytest.approx(effects[chosen.seconds // BUCKET][:, place].tolist(), rel=1e-9)
            look = judge_chosen(reference, chosen)
            assert any(feature.drifted for feature in look.features) == ours[place]
    assert ours.any()
    assert not ours[:DAY].any()


def known(mix, slots):
    """The reference of a mix as the operator has it."""
    edges, hours = tuple(EDGES.tolist()), slots.tolist() if mix.hourly else [()] * FEATURES
    return Reference(
        tuple(
            Feature(f"f{i}", "numeric", tuple(whole), 0, edges, tuple(range(9)), (0, 9), hours=tuple(hours[i]))
            for i, whole in enumerate(slots.sum(axis=1).tolist())
        )
    )


@pytest.mark.parametrize(
    ("draw", "rmse", "rows", "least"),
    [
        ("normal", 1.0, 500, 0.935),
        ("uniform", math.sqrt(1 / 3), 500, 0.935),
        ("laplace", math.sqrt(2), 500, 0.915),
        ("laplace", math.sqrt(2), 2_000, 0.93),
    ],
)
def test_the_interval_of_a_root_mean_square_holds_the_truth_as_often_as_it_says(draw, rmse, rows, least):
    noise = dice(11)
    found = []
    for _ in range(2_000):
        errors = noise.uniform(-1, 1, rows) if draw == "uniform" else getattr(noise, draw)(size=rows)
        sums = errors.sum(), np.abs(errors).sum(), (errors**2).sum(), (errors**4).sum()
        interval = realised(Labels(errors=(float(rows), *map(float, sums))))[1]
        found.append(interval.lower <= rmse <= interval.upper)
    assert least <= np.mean(found) <= 0.965
