"""What a router is told fits together, or is refused with a sentence; versions tell what changed."""

from __future__ import annotations

import re

import pytest

from trimtab.traffic.slots import Interval, assign, intervals, slot
from trimtab.traffic.state import RouterArm, RouterStatus, Shadow


def arm(name: str, reserved: int = 0, weight: int = 0, host: str = "") -> RouterArm:
    return RouterArm(name=name, host=host or f"{name}.shop.svc", port=8080, reserved=reserved, weight=weight)


def status(*others: RouterArm, shadow: Shadow | None = None) -> RouterStatus:
    """A control and other arms."""
    return RouterStatus(salt="s1", header="x-user-id", control="old", arms=[arm("old"), *others], shadow=shadow)


def test_the_control_has_what_the_others_leave() -> None:
    found = status(arm("a", 5_000, 1_000), arm("b", 3_000, 0)).checked()
    assert found.weights() == {"old": 9_000, "a": 1_000, "b": 0}
    assert found.arm("old").weight == 9_000
    assert found.weighted({"a": 5_000, "b": 3_000}).weights() == {"old": 2_000, "a": 5_000, "b": 3_000}


def test_all_users_can_go_to_one_arm_and_nobody_else_moves_between_others() -> None:
    found = status(arm("a", 5_000, 1_000), arm("b", 3_000, 500)).only("a")
    assert found.weights() == {"old": 0, "a": 10_000, "b": 0}
    assert found.control == "a"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: status(arm("a", 6_000), arm("b", 6_000)).checked(), "the arms beside the control reserve more than"),
        (lambda: status(arm("a", 10, 11)).checked(), "arm 'a' cannot hold 11 slots: it has 10 reserved"),
        (lambda: status(arm("a"), arm("a")).checked(), "two arms of a router have one name: old, a, a"),
        (lambda: status(shadow=Shadow(arm="b", percent=1)).checked(), "the shadow 'b' is not among the arms: old"),
        (lambda: status().model_copy(update={"control": "b"}).checked(), "the control 'b' is not among the arms: old"),
        (lambda: status(arm("a", 10)).weighted({"a": 11}), "arm 'a' cannot hold 11 slots: it has 10 reserved"),
        (lambda: status(arm("a", 10)).weighted({"a": -1}), "arm 'a' cannot hold -1 slots: it has 10 reserved"),
        (lambda: status().weighted({"old": 5}), "'old' is the control, which takes what the other arms leave"),
        (lambda: status().weighted({"x": 5}), "the router has no arm 'x'"),
    ],
)
def test_parts_that_do_not_fit_are_refused(wrong: object, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        wrong()  # type: ignore[operator]


def test_an_arm_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(KeyError, match="no arm 'x': there are old, a"):
        status(arm("a")).arm("x")


def test_versions_tell_places_from_shares() -> None:
    before = status(arm("a", 5_000, 1_000)).checked()
    heavier, moved = before.weighted({"a": 2_000}), status(arm("a", 5_000, 1_000, host="b.svc")).checked()
    assert heavier.clusters_version == before.clusters_version != moved.clusters_version
    assert heavier.routes_version != before.routes_version
    shadowed = status(arm("a", 5_000, 1_000), shadow=Shadow(arm="a", percent=5)).checked()
    assert shadowed.clusters_version != before.clusters_version
    assert RouterStatus.model_validate(before.dump()).routes_version == before.routes_version


def test_live_parts_grow_from_the_start_of_their_ranges() -> None:
    found = intervals(status(arm("a", 2_000, 500), arm("b", 3_000, 3_000)).checked())
    assert found == [Interval("a", 500), Interval("old", 1_500), Interval("b", 3_000), Interval("old", 5_000)]
    assert intervals(status().checked()) == [Interval("old", 10_000)]
    assert intervals(status(arm("a", 10_000, 10_000)).checked()) == [Interval("a", 10_000)]


def test_slots_are_those_of_the_hash_that_routers_use() -> None:
    # tests/contract/test_router.py asks a router; here it is only held fast.
    assert [slot("s1", user) for user in ("a", "user-1", "Ünïcödé")] == [3685, 5767, 3940]
    assert slot("s1", " user-1\t") == slot("s1", "user-1")
    assert slot("s1", "user-1") != slot("s2", "user-1")
    with pytest.raises(ValueError, match="a user without a name has no arm of his own"):
        assign(status().checked(), " \t")
