"""Who trains first where only so many may: turns, messages, and what must not keep the others waiting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.line_lab import LineLab
from tests.memory_operator import PLATFORM
from tests.unit.kinds.builders import NAMESPACE, NOW, ago, complete
from tests.unit.kinds.retrain_lab import DRIFT, deployment_object, drifted, schedule_object
from tests.unit.kinds.test_retrain_plan import SEEN, judged, message, only, planned, run_of, running
from trimtab.core.objects import Object, Ref
from trimtab.kinds import KINDS
from trimtab.kinds.retrainschedule.line import KUEUE, Stand, Standing, stand, told
from trimtab.kinds.retrainschedule.observe import Observed
from trimtab.runtime.store import Store

TRAINING, ADMITTED, WAITING = Standing.TRAINING, Standing.ADMITTED, Standing.WAITING


def seen(limit: int, *stands: Stand, longest: int = 100) -> Observed:
    """A namespace with so many places, in which others stand like this."""
    line = sorted(stands, key=lambda one: one.turn)
    return replace(SEEN, platform=replace(PLATFORM, max_concurrent_runs=limit, max_queued_runs=longest), line=line)


def other(run: str, standing: Standing, priority: int = 0, seconds_ago: float = 300) -> Stand:
    return Stand(run, priority, ago(seconds_ago), standing)


def test_a_run_waits_while_all_places_are_taken_and_says_behind_whom() -> None:
    given = planned(running("Queued"), seen(2, other("a", TRAINING), other("b", ADMITTED)))
    assert (given.apply, only(given)["stage"], only(given)["reason"]) == ((), "Queued", "AwaitingPlace")
    told = "first in line behind a, b; 2 of 2 places to train in this namespace are taken"
    assert only(given)["message"] == told
    assert judged(given)["Ready"] == ("True", "RunQueued")
    assert message(given).endswith(told)
    assert given.requeue_after == timedelta(seconds=60)


def test_the_line_is_told_from_its_end() -> None:
    ahead = [other(f"w{number}", WAITING, seconds_ago=900 - number) for number in range(5)]
    given = planned(running("Queued"), seen(1, other("a", TRAINING), *ahead))
    assert only(given)["message"].startswith("number 6 in line, behind w2, w3, w4 and 2 more; 1 of 1 places")


@pytest.mark.parametrize(
    ("waiting", "goes"),
    [
        (other("a", WAITING, priority=1, seconds_ago=1), False),
        (other("a", WAITING, priority=-1, seconds_ago=900), True),
        (other("a", WAITING, seconds_ago=900), False),
        (other("zzz", WAITING, seconds_ago=120), True),
        (other("a", WAITING, seconds_ago=120), False),
    ],
)
def test_the_higher_priority_goes_first_then_who_has_waited_longer_then_the_name(waiting: Stand, goes: bool) -> None:
    """The own run was recorded two minutes ago, and one place is free."""
    given = planned(running("Queued"), seen(1, waiting))
    assert (only(given).get("admittedAt") is not None) is goes


def test_of_two_that_claimed_the_last_place_the_later_turn_takes_it_back() -> None:
    claimed = running("Queued", run={"admittedAt": ago(1)})
    first = planned(claimed, seen(1, other("a", ADMITTED, priority=-1)))
    assert (first.apply, only(first)["admittedAt"]) == ((), ago(1))
    assert only(first)["message"] == "others claimed a place at the same moment, and take it back"
    second = planned(claimed, seen(1, other("a", ADMITTED, priority=1)))
    assert (second.apply, only(second).get("admittedAt"), only(second)["reason"]) == ((), None, "AwaitingPlace")


def test_a_claim_is_taken_back_when_there_are_fewer_places_than_train() -> None:
    given = planned(running("Queued", run={"admittedAt": ago(1)}), seen(1, other("a", TRAINING), other("b", TRAINING)))
    assert (given.apply, only(given).get("admittedAt")) == ((), None)


def test_who_cannot_begin_leaves_the_line() -> None:
    waiting = {"reason": "AwaitingPlace", "admittedAt": ago(1)}
    given = planned(running("Queued", run=waiting), replace(seen(1), registered=None))
    assert (only(given)["reason"], only(given).get("admittedAt")) == ("CannotBegin", None)
    back = planned({**running("Queued"), "status": given.status}, seen(1))
    assert (only(back)["reason"], bool(only(back).get("admittedAt"))) == ("", True)


def test_kueue_decides_by_itself() -> None:
    obj = running("Queued", job={"template": {"image": "i"}, "queueName": "team-a"})
    given = planned(obj, seen(1, other("a", TRAINING)))
    assert len(given.apply) == 1


def test_a_line_that_is_full_takes_no_scheduled_run_but_one_for_drift() -> None:
    full = seen(1, other("a", TRAINING), other("b", WAITING), other("c", WAITING), longest=2)
    given = planned(running("Queued"), full)
    assert (only(given)["outcome"], only(given)["reason"]) == ("Skipped", "QueueFull")
    assert only(given)["message"] == "2 runs of this namespace wait before it, and no more than 2 may"
    obj = schedule_object(triggers=DRIFT)
    obj["status"] = {"observedGeneration": 1, "runs": [run_of(obj, "Queued", "Drift", "0123456789ab")]}
    given = planned(obj, replace(full, deployments={"risk": deployment_object(drift=drifted())}))
    assert (only(given)["stage"], only(given)["reason"]) == ("Queued", "AwaitingPlace")


def test_a_higher_priority_finds_room_in_a_full_line() -> None:
    full = seen(1, other("a", TRAINING), other("b", WAITING), other("c", WAITING), longest=2)
    assert only(planned(running("Queued", priority=5), full))["reason"] == "AwaitingPlace"


def test_a_job_that_does_not_come_about_gives_its_place_back_for_a_while() -> None:
    claimed = running("Queued", run={"admittedAt": ago(59)})
    assert len(planned(claimed, seen(1)).apply) == 1
    given = planned(running("Queued", run={"admittedAt": ago(60)}), seen(1))
    assert (given.apply, only(given)["reason"], only(given).get("admittedAt")) == ((), "JobNotMade", None)
    aside = {**claimed, "status": given.status}
    assert stand(aside, None) is None
    assert only(planned(aside, seen(1), NOW + timedelta(seconds=59))) == only(given)
    again = planned(aside, seen(1), NOW + timedelta(seconds=60))
    assert only(again)["admittedAt"] > NOW.isoformat()
    back = planned(aside, seen(1), NOW - timedelta(hours=1))
    assert only(back).get("admittedAt"), "a clock that went back must not make it wait for an hour"


def test_a_run_that_replaces_one_that_waits_takes_its_turn_too() -> None:
    obj = running("Queued", {"calendar": None}, concurrencyPolicy="Queue")
    obj["metadata"]["annotations"] = {"trimtab.dev/run": "again"}
    given = planned(obj, seen(1, other("a", TRAINING)))
    new, old = given.status["runs"]
    assert (old["outcome"], new["queuedAt"], new["recordedAt"]) == ("Superseded", old["recordedAt"], ago(0))
    found = stand({**obj, "status": {"runs": [{**new, "reason": "AwaitingPlace"}]}}, None)
    assert found == Stand(new["name"], 0, old["recordedAt"], WAITING)


# Who stands where.

JOB: dict[str, Any] = {"metadata": {"labels": {}}, "spec": {}}


@pytest.mark.parametrize(
    ("stage", "run", "job", "standing"),
    [
        ("Queued", {}, None, WAITING),
        ("Queued", {"reason": "CannotBegin"}, None, None),
        ("Queued", {"reason": "JobNotMade"}, None, None),
        ("Queued", {"reason": "AwaitingPlace"}, None, WAITING),
        ("Queued", {"admittedAt": ago(1)}, None, ADMITTED),
        ("Queued", {}, JOB, TRAINING),
        ("Training", {}, JOB, TRAINING),
        ("Training", {}, None, TRAINING),
        ("Training", {}, {**JOB, "status": {"conditions": [complete()]}}, None),
        ("Training", {}, {**JOB, "metadata": {"labels": {KUEUE: "team-a"}}}, None),
        ("Grading", {}, None, None),
        ("Ended", {"outcome": "Failed"}, None, None),
    ],
)
def test_how_far_a_run_is(stage: str, run: Mapping[str, Any], job: Object | None, standing: Standing | None) -> None:
    found = stand(running(stage, run=run), job)
    assert (found and found.standing) == standing


@pytest.mark.parametrize("meta", [{"annotations": {"trimtab.dev/paused": "true"}}, {"deletionTimestamp": ago(1)}])
def test_nobody_waits_for_what_is_paused_or_going_but_for_its_job(meta: Mapping[str, Any]) -> None:
    obj = running("Queued", run={"admittedAt": ago(1)})
    obj["metadata"] |= meta
    assert stand(obj, None) is None
    assert stand(obj, JOB) is not None


def test_a_change_in_the_line_makes_those_look_who_wait_in_it() -> None:
    store = Store.of(KINDS)

    def put(name: str, version: int, **run: Any) -> set[Ref]:
        obj = running(run.pop("stage", "Queued"), run=run)
        obj["metadata"] |= {"name": name, "uid": name, "resourceVersion": str(version)}
        return {ref for ref in store.absorb(obj) if ref.kind == "RetrainSchedule"}

    def ref(name: str) -> Ref:
        return Ref("RetrainSchedule", NAMESPACE, name)

    assert put("a", 1, stage="Training") == {ref("a")}
    assert put("b", 2, reason="AwaitingPlace") == {ref("a"), ref("b")}
    assert put("c", 3, stage="Ended", outcome="Failed") == {ref("c")}
    assert put("b", 4, reason="AwaitingPlace", message="another") == {ref("b")}
    assert put("a", 5, stage="Grading") == {ref("a"), ref("b")}


def test_what_is_told_changes_with_the_priority() -> None:
    waiting = running("Queued", run={"reason": "AwaitingPlace"})
    assert told(waiting) != told({**waiting, "spec": {**waiting["spec"], "priority": 3}})
    assert told(running("Grading")) == {}


# All together.


def test_turns_come_by_priority_then_by_time() -> None:
    lab = LineLab({"a": {"priority": -1}, "b": {}, "c": {"priority": 9}, "d": {}}, limit=1)
    lab.quiet()
    for _ in range(4):
        (name,) = lab.training()
        lab.end(name)
        lab.quiet()
    assert lab.training() == set()
    assert sorted(lab.started) == list("abcd")
    assert lab.started[1:] == [name for name in "cbda" if name != lab.started[0]]


def test_those_that_are_recorded_at_the_same_time_begin_by_their_priority() -> None:
    """Whoever is looked at first knows of all others that they are there, though they do not know it themselves."""
    lab = LineLab({"a": {"priority": -1}, "b": {"priority": 5}, "c": {"priority": 9}}, limit=1)
    records = {ref.name: ref for ref in lab.refs}
    for ref in lab.refs:
        lab.operator.dirty.discard(ref)
        run = run_of(lab.cluster.objects[ref], "Queued")
        lab.cluster.edit(ref, lambda obj, run=run: obj.update(status={"spent": ["Manual/now"], "runs": [run]}))
    lab.operator.hear()
    lab.operator.dirty &= {records["a"]}
    lab.quiet(1)
    assert (lab.of("a")["reason"], lab.of("b").get("reason")) == ("AwaitingPlace", None)
    lab.restart()
    lab.quiet()
    assert lab.started == ["c"]


def test_a_line_at_rest_writes_nothing() -> None:
    lab = LineLab({name: {} for name in "abcd"}, limit=1)
    lab.quiet()
    writes = lab.writes
    lab.quiet(120)
    assert lab.writes == writes
    assert len(lab.training()) == 1
