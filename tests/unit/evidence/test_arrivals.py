"""How many users came to each arm: what is raised to the weights, and what is not."""

from __future__ import annotations

import pytest

from trimtab.evidence.arrivals import UNKNOWN, in_users
from trimtab.evidence.tally import Bucket, Segment, Tally

EVEN = {"a": 50.0, "b": 50.0}


def tally(rows: float, requests: float | None = None, answered: float | None = None) -> Tally:
    """Rows spread over the buckets so evenly that each is a user's."""
    buckets = tuple(Bucket(rows=rows / 100) for _ in range(100))
    answered = rows if answered is None else answered
    return Tally(requests=answered if requests is None else requests, answered=answered, buckets=buckets)


def users(weights: dict[str, float], **tallies: Tally) -> dict[str, float]:
    judged, error = in_users([Segment(60, weights, tallies)])
    assert error == 0
    return {name: round(found.users) for name, found in judged[0].tallies.items()}


def test_where_nothing_is_lost_rows_are_users() -> None:
    assert users(EVEN, a=tally(1_000), b=tally(900)) == {"a": 1_000, "b": 900}


def test_what_a_pod_lost_is_believed_as_far_as_routers_saw_it() -> None:
    assert users(EVEN, a=tally(1_000), b=tally(600, requests=990)) == {"a": 1_000, "b": 990}
    assert users(EVEN, a=tally(1_000), b=tally(600, requests=1_300)) == {"a": 1_000, "b": 1_000}
    assert users({"a": 80.0, "b": 20.0}, a=tally(800), b=tally(100, requests=210)) == {"a": 800, "b": 200}


def test_an_arm_of_which_no_pod_tells_anything_may_have_had_any_number() -> None:
    assert users(EVEN, a=tally(1_000), b=tally(0, requests=990)) == {"a": 1_000, "b": 1_000}


def test_an_arm_that_nobody_was_sent_to_has_no_users() -> None:
    assert users(EVEN, a=tally(1_000), b=tally(0, requests=0)) == {"a": 1_000, "b": 0}


def test_requests_that_are_no_predictions_excuse_nothing() -> None:
    assert users(EVEN, a=tally(1_000, requests=2_000), b=tally(900, requests=1_800)) == {"a": 1_000, "b": 900}


def test_requests_past_the_routers_excuse_nothing() -> None:
    assert users(EVEN, a=tally(1_000), b=tally(1_300, requests=1_000)) == {"a": 1_000, "b": 1_300}


def test_batches_and_users_who_come_back_are_fewer_users() -> None:
    rows = tuple(Bucket(rows=20 if n % 2 else 0) for n in range(100))
    found = users(EVEN, a=Tally(requests=1_000, answered=1_000, buckets=rows), b=tally(1_000))
    assert found["a"] == found["b"] < 1_000


def test_an_arm_without_weight_changes_nothing() -> None:
    given = {"a": tally(1_000), "b": tally(900), "c": tally(50, requests=500)}
    assert users({**EVEN, "c": 0.0}, **given) == {"a": 1_000, "b": 900, "c": 50}


@pytest.mark.parametrize(
    "tallies",
    [
        {},
        {"a": tally(900), "b": Tally(requests=900, answered=900)},
        {"a": Tally(requests=900), "b": Tally(requests=100)},
    ],
)
def test_where_nobody_counts_users_nothing_is_known_of_them(tallies: dict[str, Tally]) -> None:
    assert in_users([Segment(60, EVEN, tallies)]) == ([Segment(60, EVEN, tallies)], UNKNOWN)
