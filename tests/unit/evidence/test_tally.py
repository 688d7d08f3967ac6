"""Counts that are added and merged, and histograms."""

import pytest

from trimtab.evidence.sources import Cells
from trimtab.evidence.tally import Bucket, Segment, Tally, merged


def test_tallies_add_up():
    found = Tally(1, 2, 3, 4, 5, 6, 7) + Tally(10, 20, 30, 40, 50, 60, 70)
    assert found == Tally(11, 22, 33, 44, 55, 66, 77)
    buckets = (Bucket(1, 2, 3, 4),) * 2
    assert (Tally(buckets=buckets) + Tally(buckets=buckets)).buckets == (Bucket(2, 4, 6, 8),) * 2
    assert (Tally(buckets=buckets) + Tally()).buckets == buckets
    assert (Tally() + Tally(buckets=buckets)).buckets == buckets


def test_segments_of_the_same_ratio_of_weights_are_merged():
    parts = [
        Segment(10, {"a": 50, "b": 50}, {"a": Tally(users=1)}),
        Segment(20, {"a": 90, "b": 10}, {"a": Tally(users=2)}),
        Segment(30, {"b": 1, "a": 1, "c": 0}, {"a": Tally(users=4), "b": Tally(users=8)}),
    ]
    first, second = merged(parts)
    assert (first.seconds, first.tally("a").users, first.tally("b").users) == (40, 5, 8)
    assert second is parts[1]


def test_shares():
    segment = Segment(1, {"a": 30, "b": 10}, {})
    assert segment.share("b", "a") == 0.25
    assert segment.share("c", "a") == 0
    assert segment.share("c", "d") == 0
    assert segment.tally("a") == Tally()


@pytest.mark.parametrize(
    ("limit", "above"), [(0.05, 18), (0.05001, 14), (0.1, 14), (0.2, 8), (0.25, 8), (0.5, 0), (9.0, 0)]
)
def test_cells_above_a_limit(limit, above):
    """Cells: up to .05, up to .1, up to .25, and 8 beyond; what is surely beyond 9 s nobody knows."""
    assert Cells((0.05, 0.1, 0.25), (5, 4, 6, 8)).above(limit) == above
