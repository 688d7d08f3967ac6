"""Which window is judged: sums over time, the design effect, and a week that does not grow."""

import random
from dataclasses import replace

import pytest

from trimtab.evidence.drift.history import BUCKET, DAILY, DAY, HOUR, LENGTHS, History
from trimtab.evidence.drift.reference import Feature, Reference
from trimtab.evidence.drift.window import Window, empty, packed, total, unpacked

REFERENCE = Reference((Feature("flag", "boolean", (5_000, 5_000)), Feature("other", "boolean", (5_000, 5_000))))


def bucket(dice, rows, repeats=1):
    cells = []
    for _ in REFERENCE.features:
        ones = sum(dice.random() < 0.5 for _ in range(rows // repeats)) * repeats
        cells.append((rows - ones, ones))
    return Window(rows, tuple(cells), (0, 0), moments=(1.0, (dice.random(),), (dice.random(),)), sums=((1.0, 2.5), ()))


def filled(rows, buckets, repeats=1, lengths=LENGTHS, every=1):
    dice, history, kept = random.Random(1), History(REFERENCE, lengths), []
    for place in range(0, buckets * every, every):
        counted = bucket(dice, rows, repeats)
        history.add(place * BUCKET, counted)
        kept.append((place * BUCKET, counted))
    return history, kept


@pytest.mark.parametrize(("rows", "seconds"), [(40, HOUR), (8, 6 * HOUR), (2, DAY)])
def test_the_shortest_window_with_enough_rows_is_chosen(rows, seconds):
    history, kept = filled(rows, 300)
    chosen = history.choose()
    assert chosen.seconds == seconds
    first = kept[-1][0] + BUCKET - seconds
    first = first if seconds < DAY else -(-first // HOUR) * HOUR
    whole = total(REFERENCE, [counted for start, counted in kept if start >= first])
    assert (chosen.window.rows, chosen.window.cells) == (whole.rows, whole.cells)
    assert chosen.window.moments == (whole.moments[0], *(pytest.approx(part) for part in whole.moments[1:]))
    assert chosen.window.sums == whole.sums


def test_rows_of_one_entity_make_the_window_longer():
    assert filled(40, 300)[0].choose().seconds == HOUR
    history, _ = filled(40, 300, repeats=5)
    assert min(history.effects(HOUR)) > 3.5
    assert history.choose().seconds == 6 * HOUR


@pytest.mark.parametrize("hours", [3, 4, 8])
def test_a_sudden_shift_of_everything_does_not_pass_for_rows_of_one_entity(hours):
    history, _ = filled(800, hours * 12 - 6)
    for place in range(hours * 12 - 6, hours * 12 + 1):
        history.add(place * BUCKET, Window(800, ((800, 0), (400, 400)), (0, 0)))
    assert max(history.effects(HOUR)) < 3


def test_traffic_with_a_daily_cycle_may_ask_for_whole_days():
    assert filled(30, 300, lengths=DAILY)[0].choose().seconds == DAY


def test_too_little_is_the_longest_window():
    history, kept = filled(1, 40, every=60)
    chosen = history.choose()
    assert chosen.seconds == 7 * DAY
    assert chosen.window.rows == sum(start >= (kept[-1][0] + BUCKET - 7 * DAY) for start, _ in kept)


def test_a_day_is_whole_when_it_has_passed():
    for buckets, whole in ((287, False), (288, True)):
        chosen = filled(2, buckets)[0].choose()
        assert (chosen.seconds, chosen.whole) == (DAY, whole)
    assert not filled(40, 300)[0].choose().whole


def test_correlations_wait_for_whole_days_where_hours_are_known():
    dated = Reference(tuple(replace(feature, hours=((100, 100),) * 24) for feature in REFERENCE.features))
    _, kept = filled(40, 290)
    history, found = History(dated), []
    for start, counted in kept:
        history.add(start, counted)
        found.append(history.choose().pairs)
    assert {pairs and pairs[0].rows for pairs in found[:287]} == {None}
    assert found[-1][0].rows > 11_000
    hour = filled(40, 290)[0].choose()
    assert hour.pairs[0] is hour.window


def test_what_is_older_than_a_week_is_forgotten():
    history, _ = filled(1, 30, every=288)
    size = history.size()
    assert history.choose().window.rows == 7
    history, _ = filled(1, 100, every=288)
    assert history.choose().window.rows == 7
    assert history.size() == pytest.approx(size, rel=0.1)


def test_a_week_is_kept_by_the_hour_and_six_hours_by_the_bucket():
    history, kept = filled(2, 9 * 288)
    parts = {id(part) for trail in history._trails for _, part in trail.parts}
    assert len(parts) == 72 + 7 * 24 - 1
    week = history._trails[-1]
    hour = (kept[-1][0] + BUCKET - 7 * DAY) // HOUR * HOUR
    assert week.window.rows == sum(counted.rows for start, counted in kept if start >= hour)


def test_buckets_of_another_length_scale_all_windows():
    dice, history = random.Random(4), History(REFERENCE, bucket=5)
    for place in range(300):
        history.add(place * 5, bucket(dice, 8))
    chosen = history.choose()
    assert (chosen.seconds, chosen.window.rows) == (72 * 5, 72 * 8)
    assert history.effects(60) == pytest.approx(filled(8, 300)[0].effects(HOUR), rel=1)


def test_entities_that_come_back_within_the_hour_are_seen():
    """Sixty rows an hour of one value each: no bucket differs from the next of its hour, but hours do."""
    dice, history = random.Random(2), History(REFERENCE)
    for place in range(288):
        if place % 12 == 0:
            one = dice.random() < 0.5
        history.add(place * BUCKET, Window(5, ((5 * (not one), 5 * one),) * 2, (0, 0)))
    assert min(history.effects(HOUR)) > 5


def test_a_window_is_packed_and_comes_back():
    given = bucket(random.Random(3), 7)
    assert unpacked(packed(given), given) == given
    pair = replace(given, moments=(7.0, (1.5, -2.0), (3.0, 0.25, 0.25, 4.0)))
    assert unpacked(packed(pair), pair) == pair
    nothing = empty(REFERENCE)
    assert unpacked(packed(nothing), nothing) == nothing
