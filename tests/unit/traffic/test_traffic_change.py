"""Two phases: what routers must know first, they know first; what can be done at once is done at once."""

from __future__ import annotations

import pytest

from tests.unit.traffic.test_traffic_state import arm, status
from trimtab.traffic.change import Ack, acks, advance, live
from trimtab.traffic.state import RouterStatus, Shadow

OLD = status().checked()
NEW = status(arm("a", 5_000, 1_000)).checked()


def ack(told: RouterStatus, endpoints: int = 2, router: str = "r1") -> Ack:
    """A router that does as told, and found pods for all arms."""
    return Ack(router, told.clusters_version, told.routes_version, {arm.name: endpoints for arm in told.arms})


def led(current: RouterStatus, wanted: RouterStatus) -> list[RouterStatus]:
    """All that obedient routers are told until it is done."""
    told = [current]
    for _ in range(10):
        step = advance(told[-1], wanted, [ack(told[-1])])
        if step.settled:
            return told[1:]
        told.append(step.status)
    raise AssertionError("it never ends")


def test_the_first_status_is_told_whole_and_settled_when_all_do_it() -> None:
    assert advance(None, NEW, []).status == NEW
    assert not advance(None, NEW, []).settled
    assert not advance(NEW, NEW, []).settled
    assert advance(NEW, NEW, [ack(NEW)]).settled
    assert not advance(NEW, NEW, [ack(NEW), ack(OLD, router="r2")]).settled


def test_a_new_arm_comes_without_users_then_with_them() -> None:
    told = led(OLD, NEW)
    assert [step.weights().get("a") for step in told] == [0, 1_000]
    assert told[-1] == NEW


@pytest.mark.parametrize("silent", [Ack("r2"), ack(OLD, router="r2"), ack(NEW, endpoints=0, router="r2")])
def test_nobody_goes_to_a_new_arm_before_every_live_router_knows_it_and_its_pods(silent: Ack) -> None:
    told = advance(OLD, NEW, [ack(OLD)]).status
    step = advance(told, NEW, [ack(told), silent])
    assert (step.status, step.settled) == (told, False)


def test_an_arm_goes_after_its_users_and_after_all_routers_sent_them_elsewhere() -> None:
    told = led(NEW, OLD)
    assert [step.weights().get("a") for step in told] == [0, None]
    waiting = advance(told[0], OLD, [ack(told[0]), ack(NEW, router="r2")])
    assert (waiting.status, waiting.settled) == (told[0], False)


@pytest.mark.parametrize("known", [[], [Ack("r1")], [Ack("r1"), ack(OLD, router="r2")]])
def test_users_leave_an_arm_at_once_whatever_routers_say(known: list[Ack]) -> None:
    assert advance(NEW, NEW.weighted({"a": 0}), known).status == NEW.weighted({"a": 0})
    assert advance(NEW, OLD, known).status.weights() == {"old": 10_000, "a": 0}
    assert advance(NEW, NEW.weighted({"a": 5_000}), known).status == NEW.weighted({"a": 5_000})


def test_a_candidate_that_is_replaced_loses_its_users_while_the_next_is_introduced() -> None:
    other = status(arm("b", 5_000, 1_000)).checked()
    told = led(NEW, other)
    assert told[0].weights() == {"old": 10_000, "a": 0, "b": 0}
    assert told[1].weights() == {"old": 9_000, "a": 0, "b": 1_000}
    assert told[2] == other


def test_the_winner_becomes_the_control_in_one_step() -> None:
    wanted = NEW.only("a")
    assert advance(NEW, wanted, [Ack("r1")]).status == wanted


def test_an_arm_that_had_nobody_becomes_the_control_only_when_its_pods_are_known() -> None:
    idle = NEW.weighted({"a": 0})
    wanted = idle.only("a")
    assert advance(idle, wanted, [Ack("r1")]).status == idle
    assert advance(idle, wanted, [ack(idle)]).status == wanted


def test_an_arm_at_a_new_place_is_told_with_its_users() -> None:
    wanted = status(arm("a", 5_000, 1_000, host="elsewhere")).checked()
    told = led(NEW, wanted)
    assert told == [wanted]


def test_without_live_routers_nothing_waits() -> None:
    told = advance(OLD, NEW, []).status
    assert advance(told, NEW, []).status == NEW


def test_a_shadow_is_told_at_once() -> None:
    wanted = NEW.model_copy(update={"shadow": Shadow(arm="a", percent=5)})
    assert led(NEW, wanted) == [wanted]
    assert led(wanted, NEW) == [NEW]


def test_what_is_left_over_never_outgrows_the_list() -> None:
    told = OLD
    for number in range(40):
        wanted = status(arm(f"a{number}", 5_000, 1_000)).checked()
        for _ in range(3):
            step = advance(told, wanted, [Ack("mute", endpoints={f"a{number}": 1})]).status
            told = RouterStatus.model_validate(step.dump())


@pytest.mark.parametrize("spoilt", [{"control": "nobody"}, {"arms": [*OLD.arms, *OLD.arms]}, {"arms": []}])
def test_of_a_status_that_a_hand_has_spoilt_nothing_is_kept(spoilt: dict[str, object]) -> None:
    current = OLD.model_copy(update=spoilt)
    assert not current.sound
    assert advance(current, NEW, [ack(OLD)]).status == NEW


def test_a_status_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="the arms beside the control reserve more"):
        advance(OLD, status(arm("a", 9_000), arm("b", 9_000)), [])


def pod(uid: str, ready: str = "True", **meta: object) -> dict[str, object]:
    return {"metadata": {"uid": uid, **meta}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


def test_only_routers_that_get_traffic_must_acknowledge() -> None:
    pods = [pod("1"), pod("2", ready="False"), pod("3", deletionTimestamp="now"), pod("4")]
    assert [found.router for found in acks(pods, {"1": ack(NEW), "2": ack(NEW)})] == ["1", "4"]
    assert acks(pods, {"1": ack(NEW)})[0] == Ack("1", NEW.clusters_version, NEW.routes_version, {"old": 2, "a": 2})
    assert acks(pods, {})[1] == Ack("4")
    assert not live({"metadata": {}, "status": {}})
