"""The ledger: growth is counted once, over restarts, new epochs, old answers and the end of segments."""

import pytest

from trimtab.evidence.ledger import CURSORS, SEGMENTS, Ledger, LedgerStatus, Reading, restore
from trimtab.evidence.tally import Bucket, Tally

EVEN = {"a": 50.0, "b": 50.0}


def reading(requests, source="p", epoch="1", arm="a", **more):
    return Reading(source, epoch, {arm: Tally(requests=requests)}, **more)


def requests(ledger, arm="a"):
    return [segment.tally(arm).requests for segment in ledger.segments]


def begun(*readings):
    return Ledger().begin(EVEN, readings)


def test_what_was_counted_before_the_beginning_is_not_evidence():
    ledger = begun(reading(100))
    assert requests(ledger) == [0]
    assert requests(ledger.read([reading(130)], 10)) == [30]
    assert ledger.read([reading(130)], 10).segments[0].seconds == 10


def test_a_source_that_comes_later_is_counted_from_its_start():
    assert requests(begun().read([reading(30)], 1)) == [30]


def test_a_source_that_may_have_counted_before_only_sets_its_cursor():
    ledger = begun().read([reading(500, baseline=True)], 1)
    assert requests(ledger) == [0]
    assert requests(ledger.read([reading(510, baseline=True)], 1)) == [10]


def test_what_a_source_counts_after_it_stood_at_zero_is_new():
    ledger = restore(Ledger().begin({"a": 100.0}, [reading(0, baseline=True)]).status())
    assert requests(ledger.read([reading(30, baseline=True)], 1)) == [30]
    silent = Reading(source=reading(0).source, epoch=reading(0).epoch, baseline=True)
    assert requests(begun().read([silent], 1).read([reading(40, baseline=True)], 1)) == [40]


def test_nothing_is_read_before_the_beginning():
    assert Ledger().read([reading(30)], 5) == Ledger()


def test_the_same_answer_twice_changes_nothing():
    ledger = begun().read([reading(30)], 1)
    assert ledger.read([reading(30)], 0) == ledger
    assert requests(begun().read([reading(30), reading(30)], 1)) == [30]


def test_a_new_epoch_starts_from_zero_and_the_old_one_may_still_answer():
    ledger = begun().read([reading(30)], 1).read([reading(7, epoch="2")], 1)
    assert requests(ledger) == [37]
    late = ledger.read([reading(30)], 1).read([reading(32)], 1)
    assert requests(late) == [39]


def test_an_old_answer_is_passed_over():
    ledger = begun().read([reading(30)], 1).read([reading(20)], 1)
    assert requests(ledger) == [30]
    assert requests(ledger.read([reading(31)], 1)) == [31]


def test_a_source_that_vanished_keeps_what_was_counted():
    ledger = begun().read([reading(30), reading(5, source="q")], 1).read([reading(40)], 1)
    assert requests(ledger) == [45]
    assert requests(ledger.read([reading(6, source="q")], 1)) == [46]


def test_a_segment_ends_with_what_was_counted_by_then():
    ledger = begun().read([reading(30)], 1).begin({"a": 90.0, "b": 10.0}, [reading(45)])
    assert requests(ledger) == [45, 0]
    assert requests(ledger.read([reading(50)], 1)) == [45, 5]
    assert [dict(s.weights) for s in ledger.segments] == [EVEN, {"a": 90.0, "b": 10.0}]


def test_the_same_weights_begin_no_segment():
    assert requests(begun().read([reading(30)], 1).begin(EVEN, [reading(45)])) == [45]


def test_a_stretch_without_weights_has_its_own_segment():
    ledger = begun().begin({}, []).read([reading(9)], 1).begin(EVEN, [])
    assert requests(ledger) == [0, 9, 0]


def test_sums_may_fall_but_counts_may_not():
    def paid(outcomes, total):
        return Reading("p", "1", {"a": Tally(outcomes=outcomes, outcome_sum=total, outcome_squares=outcomes * 4)})

    ledger = begun().read([paid(3, 5.5)], 1).read([paid(4, -2.5)], 1)
    assert ledger.segments[0].tally("a").outcome_sum == -2.5
    assert ledger.read([paid(2, 90)], 1).segments[0].tally("a").outcome_sum == -2.5


def test_buckets_grow_and_are_never_mixed_up():
    def bucketed(*rows):
        return Reading("p", "1", {"a": Tally(buckets=tuple(Bucket(n, n, 0.5 * n, n) for n in rows))})

    ledger = begun().read([bucketed(1, 2)], 1).read([bucketed(3, 2)], 1)
    assert ledger.segments[0].tally("a").buckets == (Bucket(3, 3, 1.5, 3), Bucket(2, 2, 1.0, 2))
    assert ledger.read([bucketed(9, 9, 9)], 0).segments == ledger.segments


def test_the_persisted_form_reads_back_and_is_bounded():
    ledger = begun(reading(3)).read([reading(30), reading(0.1 + 0.2, source="q")], 1.5).begin({}, [])
    status = ledger.status()
    assert restore(LedgerStatus.model_validate(status.dump())) == ledger
    assert restore(None) == Ledger()
    assert status.dump()["segments"][0]["arms"][0] == {"name": "a", "weight": "50", "counts": "0 27.3 0 0 0 0 0 0 0"}


def test_what_was_written_when_fewer_numbers_were_kept_is_read_on():
    older = {"segments": [{"seconds": "1", "arms": [{"name": "a", "counts": "0 27 1 0 0 0 3;5 1 1 1"}]}]}
    found = restore(LedgerStatus.model_validate(older)).segments[0].tally("a")
    assert found == Tally(requests=27, errors=1, latency_above=3, buckets=(Bucket(5, 1, 1, 1),))


def test_segments_are_bounded():
    ledger = begun()
    for i in range(2 * SEGMENTS):
        ledger = ledger.begin({"a": float(i), "b": 1.0}, [])
    assert ledger.full
    assert len(ledger.segments) == SEGMENTS


def test_the_longest_unchanged_sources_are_forgotten_first():
    ledger = begun()
    for i in range(CURSORS + 10):
        ledger = ledger.read(
            [reading(5, source="steady"), reading(i + 1, source="busy"), reading(1, source=f"s{i}")], 1
        )
    assert len(ledger.cursors) == CURSORS
    assert requests(ledger) == [5 + 2 * (CURSORS + 10)]
    assert {key.source for key in ledger.cursors} >= {"steady", "busy", f"s{CURSORS + 9}"}


def test_more_sources_than_are_kept_are_not_counted_rather_than_counted_twice():
    many = [reading(1, source=f"s{i}") for i in range(CURSORS + 10)]
    ledger = begun().read(many, 1).read(many, 1).read(list(reversed(many)), 1)
    assert requests(ledger) == [CURSORS]


@pytest.mark.parametrize("empty", [Reading("p", "1"), reading(0)])
def test_a_source_without_counts_leaves_no_trace(empty):
    ledger = begun().read([reading(3)], 1)
    assert ledger.read([Reading("z", "1", empty.arms)], 0) == ledger
