"""What is decided about a RetrainSchedule, case by case: which occasions become runs, and where runs go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.memory_operator import PLATFORM
from tests.unit.kinds import kubelet
from tests.unit.kinds.builders import NOW, NOW_TEXT, ago, complete, condition, digest, failed
from tests.unit.kinds.retrain_lab import (
    DRIFT,
    SUNDAYS,
    deployment_object,
    drifted,
    model_object,
    schedule_object,
    trained,
    verdict,
)
from trimtab.core import metadata
from trimtab.core.objects import Object, Ref
from trimtab.core.plan import Alias, Notice, Plan, Tags
from trimtab.kinds.retrainschedule.api import RetrainSchedule
from trimtab.kinds.retrainschedule.children import RUN
from trimtab.kinds.retrainschedule.due import calendar_key, run_name
from trimtab.kinds.retrainschedule.observe import Observed, Registered, TrackingError
from trimtab.kinds.retrainschedule.plan import plan
from trimtab.kinds.retrainschedule.promotion import tags_of

HOURLY = {"cron": {"schedule": "0 * * * *", "timeZone": "UTC", "startingDeadlineSeconds": 3600}}
QUALITY = {"performance": {"deployment": "risk", "metric": "Accuracy", "below": "0.8", "minLabels": 500}}
SEEN = Observed(PLATFORM, model_object(), Registered("credit", "champion"), alias="1")
SILENT = replace(SEEN, alias=None, silence=TrackingError("RegistryUnreachable", "MLflow does not answer"))
MANUAL = {"trimtab.dev/run": "now"}
# NOW is 2030-01-02T03:04:05Z, a Wednesday.
LAST_HOUR = "2030-01-02T03:00:00Z"


def planned(obj: Object, seen: Observed = SEEN, now: datetime = NOW) -> Plan:
    return plan(RetrainSchedule.parse(obj), seen, now)


def name_of(obj: Object, trigger: str = "Manual", slot: str = "now") -> str:
    return run_name(RetrainSchedule.parse(obj), trigger, slot)


def followed(obj: Object, since: str, **status: Any) -> Object:
    """The same schedule with its calendar followed so far."""
    key = calendar_key(RetrainSchedule.parse(obj).spec.triggers.cron)  # type: ignore[arg-type]
    return {**obj, "status": {"observedGeneration": 1, "calendar": {"key": key, "since": since}, **status}}


def run_of(obj: Object, stage: str, trigger: str = "Manual", slot: str = "now", **more: Any) -> Object:
    """A run of that occasion in that stage."""
    body = {"stageAt": ago(60), "recordedAt": ago(120), "model": "credit", "cause": "it was asked for"}
    if stage not in ("Queued", "Training"):
        body |= {"version": "2", "champion": "1"}
    return {"name": name_of(obj, trigger, slot), "trigger": trigger, "slot": slot, "stage": stage, **body, **more}


def running(
    stage: str, status: Mapping[str, Any] | None = None, run: Mapping[str, Any] | None = None, **spec: Any
) -> Object:
    """A schedule with one run, by hand, in that stage."""
    obj = schedule_object(annotations=MANUAL, **spec)
    row = run_of(obj, stage, **(run or {}))
    return {**obj, "status": {"observedGeneration": 1, "spent": ["Manual/now"], "runs": [row], **(status or {})}}


def over(outcome: str, seconds_ago: float = 60, **more: Any) -> dict[str, Any]:
    """What a run has that ended so."""
    at = ago(seconds_ago)
    return {
        "outcome": outcome,
        "reason": "X",
        "message": "m",
        "startedAt": ago(900),
        "endedAt": at,
        "stageAt": at,
        **more,
    }


def job(obj: Object, *conditions: Mapping[str, Any], gate: bool = False, **more: Any) -> dict[str, Object]:
    name = f"{name_of(obj)}{'-gate' if gate else ''}"
    meta = {"name": name, "creationTimestamp": ago(90)}
    return {name: {"metadata": meta, "spec": {}, "status": {"conditions": list(conditions)}, **more}}


def pod(obj: Object, component: str, *containers: Object) -> Object:
    labels = {metadata.SCHEDULE: "weekly", RUN: name_of(obj), "app.kubernetes.io/component": component}
    return kubelet.pod("weekly-x", labels, *containers)


def says(obj: Object, words: Mapping[str, Any], code: int = 0, component: str = "trainer") -> Object:
    name = "trainer" if component == "trainer" else "evaluate"
    return pod(obj, component, kubelet.container(kubelet.ended(code, json.dumps(dict(words))), name=name))


def runs(given: Plan) -> list[tuple[str, ...]]:
    """Trigger, slot, stage and, once there are any, outcome and reason."""
    rows = ((r["trigger"], r["slot"], r["stage"], r.get("outcome"), r["reason"]) for r in given.status["runs"])
    return [tuple(value for value in row if value) for row in rows]


def only(given: Plan) -> Object:
    (row,) = given.status["runs"]
    return dict(row)


def judged(given: Plan) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in given.status["conditions"]}


def message(given: Plan, type_: str = "Ready") -> str:
    return next(str(c["message"]) for c in given.status["conditions"] if c["type"] == type_)


# What asks for a run.


def test_a_new_schedule_waits_and_says_for_what() -> None:
    given = planned(
        schedule_object(triggers={**SUNDAYS, **DRIFT}),
        replace(SEEN, deployments={"risk": deployment_object(drift={"state": "OK"})}),
    )
    assert (given.apply, given.status["runs"], given.effects) == ((), [], ())
    assert judged(given) == {
        "Ready": ("True", "Scheduled"),
        "ModelResolved": ("True", "AliasFound"),
        "Retraining": ("False", "NoRun"),
        "TriggersReady": ("True", "TriggersSet"),
    }
    assert (
        message(given) == "waits for 2030-01-06T02:00:00Z or Critical drift of risk or the annotation trimtab.dev/run"
    )
    assert given.requeue_after == timedelta(hours=12)


def test_a_slot_that_came_is_recorded_and_given_a_place_before_its_job_is_made() -> None:
    obj = followed(schedule_object(triggers=HOURLY), "2030-01-02T02:00:00Z")
    first = planned(obj)
    assert (first.apply, runs(first)) == ((), [("Cron", LAST_HOUR, "Queued")])
    second = planned({**obj, "status": first.status})
    assert (second.apply, only(second)["admittedAt"], second.requeue_after) == ((), ago(0), timedelta(seconds=1))
    third = planned({**obj, "status": second.status})
    (made,) = third.apply
    assert made["metadata"]["name"] == name_of(obj, "Cron", LAST_HOUR) == only(third)["name"]
    assert runs(third) == [("Cron", LAST_HOUR, "Queued")]
    assert Ref("Job", "team-a", made["metadata"]["name"]) in third.keep


def test_where_there_is_no_limit_the_job_is_made_from_the_record() -> None:
    unlimited = replace(SEEN, platform=replace(SEEN.platform, max_concurrent_runs=0))
    given = planned(running("Queued"), unlimited)
    assert (len(given.apply), only(given).get("admittedAt")) == (1, None)


def test_of_missed_slots_only_the_last_one_runs() -> None:
    given = planned(followed(schedule_object(triggers=HOURLY), "2029-12-24T00:00:00Z"))
    assert runs(given) == [("Cron", LAST_HOUR, "Queued")]


def test_a_slot_that_was_missed_for_too_long_is_told_and_does_not_run() -> None:
    given = planned(followed(schedule_object(triggers=SUNDAYS), "2029-12-23T02:00:00Z"))
    assert given.status["runs"] == []
    assert (given.status["passed"]["slot"], given.status["passed"]["reason"]) == (
        "2029-12-30T02:00:00Z",
        "DeadlineMissed",
    )


def test_a_new_schedule_has_nothing_to_catch_up_on() -> None:
    obj = schedule_object(triggers=HOURLY)
    obj["metadata"]["creationTimestamp"] = "2030-01-02T03:00:30Z"
    assert planned(obj).status["runs"] == []


def test_another_calendar_begins_now() -> None:
    obj = followed(schedule_object(triggers=HOURLY), "2030-01-01T00:00:00Z")
    obj["status"]["calendar"]["key"] = "another"
    given = planned(obj)
    assert (given.status["runs"], given.status["calendar"]["since"]) == ([], NOW_TEXT)


def test_suspending_starts_nothing_and_resuming_catches_up_on_nothing() -> None:
    obj = followed(schedule_object(triggers=HOURLY, suspend=True, annotations=MANUAL), "2030-01-02T02:00:00Z")
    held = planned(obj, replace(SEEN, deployments={"risk": deployment_object(drift=drifted())}))
    assert (held.status["runs"], held.status.get("nextScheduledAt")) == ([], None)
    assert judged(held)["Suspended"] == ("True", "Suspended")
    obj["spec"]["suspend"] = False
    resumed = planned({**obj, "status": held.status}, now=NOW + timedelta(minutes=30))
    assert (resumed.status["runs"], "Suspended" in judged(resumed)) == ([], False)
    later = planned({**obj, "status": resumed.status}, now=NOW + timedelta(hours=1))
    assert runs(later) == [("Cron", "2030-01-02T04:00:00Z", "Queued")]


def test_a_clock_that_goes_back_starts_nothing_again_and_that_is_told() -> None:
    obj = followed(schedule_object(triggers=HOURLY), LAST_HOUR)
    given = planned(obj, now=NOW - timedelta(hours=5))
    assert given.status["runs"] == []
    assert judged(given)["TriggersReady"] == ("False", "ClockWentBack")


def test_a_slot_that_is_on_record_is_not_recorded_again() -> None:
    obj = schedule_object(triggers=HOURLY)
    row = run_of(obj, "Ended", "Cron", LAST_HOUR, **over("Failed"))
    given = planned(followed(obj, "2030-01-02T02:00:00Z", runs=[row]))
    assert [r["name"] for r in given.status["runs"]] == [row["name"]]


@pytest.mark.parametrize(
    ("policy", "stage", "expected"),
    [
        ("Forbid", "Training", [("Manual", "now", "Training")]),
        ("Queue", "Training", [("Cron", LAST_HOUR, "Queued"), ("Manual", "now", "Training")]),
        ("Replace", "Training", [("Cron", LAST_HOUR, "Queued"), ("Manual", "now", "Ended", "Superseded", "Replaced")]),
        ("Replace", "RollingOut", [("Cron", LAST_HOUR, "Queued"), ("Manual", "now", "RollingOut")]),
    ],
)
def test_the_policy_says_what_becomes_of_a_run_under_way(policy: str, stage: str, expected: list[Any]) -> None:
    base = running(stage, concurrencyPolicy=policy, triggers=HOURLY)
    obj = followed(base, "2030-01-02T02:00:00Z", **base["status"])
    obj["status"]["calendar"]["since"] = "2030-01-02T02:00:00Z"
    given = planned(obj, replace(SEEN, jobs=job(obj)))
    assert runs(given) == expected
    if policy == "Forbid":
        assert given.status["passed"]["reason"] == "RunUnderWay"
    kept = Ref("Job", "team-a", name_of(obj)) in given.keep
    assert kept == (expected[-1][2] != "Ended"), "the Job of a run that was replaced goes"


def test_the_newest_of_those_that_queue_wins() -> None:
    base = running("Training", concurrencyPolicy="Queue", triggers=HOURLY)
    waiting = run_of(base, "Queued", "Cron", "2030-01-02T02:00:00Z")
    status = {**base["status"], "runs": [waiting, *base["status"]["runs"]]}
    given = planned(followed(base, "2030-01-02T02:00:00Z", **status), replace(SEEN, jobs=job(base)))
    assert runs(given) == [
        ("Cron", LAST_HOUR, "Queued"),
        ("Cron", "2030-01-02T02:00:00Z", "Ended", "Superseded", "Replaced"),
        ("Manual", "now", "Training"),
    ]


def test_an_annotation_starts_one_run_by_each_value() -> None:
    obj = schedule_object(annotations=MANUAL)
    first = planned(obj)
    assert (runs(first), first.status["spent"]) == ([("Manual", "now", "Queued")], ["Manual/now"])
    ended_run = {**only(first), **over("Failed"), "stage": "Ended"}
    again = planned({**obj, "status": {**first.status, "runs": [ended_run]}})
    assert runs(again) == [("Manual", "now", "Ended", "Failed", "X")]


def drifting_with(obj: Object, spent: list[str]) -> Plan:
    """What is planned in an episode of drift, with these slots spent."""
    seen = replace(SEEN, deployments={"risk": deployment_object(drift=drifted())})
    return planned({**obj, "status": {"observedGeneration": 1, "spent": spent}}, seen)


def test_an_annotation_that_stands_for_years_starts_no_second_run() -> None:
    obj = schedule_object(annotations=MANUAL, triggers=DRIFT)
    others = [f"Drift/{number:012x}" for number in range(63)]
    given = drifting_with(obj, [*others, "Manual/now"])
    assert runs(given) == [("Drift", "0123456789ab", "Queued")]
    assert given.status["spent"] == ["Drift/0123456789ab", *others[:62], "Manual/now"]
    ended_run = {**only(given), **over("Skipped"), "stage": "Ended"}
    assert len(planned({**obj, "status": {**given.status, "runs": [ended_run]}}).status["runs"]) == 1


def test_an_episode_that_goes_on_is_not_forgotten_for_what_people_ask() -> None:
    obj = schedule_object(annotations=MANUAL, triggers=DRIFT, cooldownSeconds=0)
    others = [f"Manual/{number}" for number in range(63)]
    given = drifting_with(obj, [*others, "Drift/0123456789ab"])
    assert runs(given) == [("Manual", "now", "Queued")]
    assert given.status["spent"] == ["Manual/now", *others[:62], "Drift/0123456789ab"]


def test_however_many_runs_came_to_nothing_a_second_pass_changes_nothing() -> None:
    obj = schedule_object(triggers=DRIFT, historyLimit=50)
    rows = [run_of(obj, "Ended", "Drift", f"{number:012x}", **over("Skipped", 60 * number)) for number in range(50)]
    first = planned({**obj, "status": {"observedGeneration": 1, "runs": rows}})
    assert planned({**obj, "status": first.status}).status == first.status


@pytest.mark.parametrize(
    ("drift", "starts"),
    [
        (drifted(), True),
        (drifted(level="Warning"), False),
        (drifted(level="OK", episode=None), False),
        ({"state": "InsufficientData"}, False),
    ],
)
def test_an_episode_of_the_level_asked_for_starts_a_run(drift: Object, starts: bool) -> None:
    obj = schedule_object(triggers=DRIFT)
    given = planned(obj, replace(SEEN, deployments={"risk": deployment_object(drift=drift)}))
    assert runs(given) == ([("Drift", "0123456789ab", "Queued")] if starts else [])
    if starts:
        row = only(given)
        assert (row["excess"], row["features"]) == ("1.4", ["age"])
        assert row["cause"] == "risk has drifted: Critical, score 1.4"


def test_an_episode_starts_one_run_whatever_becomes_of_it() -> None:
    obj = schedule_object(triggers=DRIFT, cooldownSeconds=0)
    row = run_of(obj, "Ended", "Drift", "0123456789ab", **over("Rejected", 7200))
    status = {"observedGeneration": 1, "spent": ["Drift/0123456789ab"], "runs": [row]}
    given = planned({**obj, "status": status}, replace(SEEN, deployments={"risk": deployment_object(drift=drifted())}))
    assert len(given.status["runs"]) == 1
    assert given.status["acknowledged"] == ["Drift/0123456789ab"]
    assert judged(given)["RetrainIneffective"] == ("True", "RetrainIneffective")
    assert "a person has to look" in message(given, "RetrainIneffective")


@pytest.mark.parametrize(
    ("quality", "starts"),
    [
        ({"lower": "0.7", "upper": "0.79"}, True),
        ({"lower": "0.7", "upper": "0.81"}, False),
        ({"realised": "0.5"}, False),
        ({"lower": "0.7", "upper": "much"}, False),
    ],
)
def test_bad_quality_starts_a_run_when_it_is_proven(quality: Object, starts: bool) -> None:
    told = {"revision": "rev1", "labels": 500, "metrics": [{"name": "Accuracy", "realised": "0.75", **quality}]}
    seen = replace(SEEN, deployments={"risk": deployment_object(quality=told)})
    given = planned(schedule_object(triggers=QUALITY), seen)
    assert runs(given) == ([("Performance", "risk/rev1", "Queued")] if starts else [])
    few = replace(SEEN, deployments={"risk": deployment_object(quality={**told, "labels": 499})})
    assert planned(schedule_object(triggers=QUALITY), few).status["runs"] == []


HELD = {
    "DataQualityBreach": ({}, {}),
    "Suspended": ({"suspend": True}, {}),
    "CircuitOpen": ({}, {"circuit": {"failures": 3, "openedAt": ago(9), "lastAt": ago(9)}}),
    "BackingOff": ({}, {"circuit": {"failures": 1, "lastAt": ago(200)}}),
    "BudgetSpent": ({"maxRunsPerWeek": 2}, {"starts": [ago(86_400), ago(2 * 86_400)]}),
    "CoolingDown": ({}, {"runs": ["over"]}),
}


@pytest.mark.parametrize("why", HELD)
def test_what_holds_up_a_run_for_drift_is_named(why: str) -> None:
    spec, status = HELD[why]
    obj = schedule_object(triggers=DRIFT, **spec)
    rows = [run_of(obj, "Ended", "Cron", LAST_HOUR, **over("Skipped"))] if "runs" in status else []
    broken = [{"feature": "age", "problem": "Unit", "message": "the values look like those of training times 10"}]
    drift = drifted(problems=broken if why == "DataQualityBreach" else [])
    seen = replace(SEEN, deployments={"risk": deployment_object(drift=drift)})
    given = planned({**obj, "status": {"observedGeneration": 1, **status, "runs": rows}}, seen)
    assert len(given.status["runs"]) == len(rows)
    assert judged(given)["RetrainBlocked"] == ("True", why)


@pytest.mark.parametrize(
    ("problem", "starts"), [("Missing", 0), ("Type", 0), ("Stuck", 0), ("Unit", 0), ("Range", 1), ("Unseen", 1)]
)
def test_broken_data_are_not_learned_from_but_new_ones_are(problem: str, starts: int) -> None:
    obj = schedule_object(triggers=DRIFT)
    drift = drifted(problems=[{"feature": "temp", "problem": problem, "message": "temp: much of it"}])
    given = planned(obj, replace(SEEN, deployments={"risk": deployment_object(drift=drift)}))
    assert len(given.status["runs"]) == starts
    blocked = next((c for c in given.status["conditions"] if c["type"] == "RetrainBlocked"), {"message": ""})
    assert ("temp: much of it" in blocked["message"]) == (not starts)


@pytest.mark.parametrize(("failures", "pause"), [(1, 300), (2, 600), (3, 1200), (8, 6 * 3600), (50, 6 * 3600)])
def test_the_pause_after_failures_doubles_up_to_six_hours(failures: int, pause: int) -> None:
    obj = schedule_object(triggers=DRIFT, failureThreshold=100)
    seen = replace(SEEN, deployments={"risk": deployment_object(drift=drifted())})
    for since, starts in ((pause - 1, 0), (pause, 1)):
        circuit = {"failures": failures, "lastAt": ago(since)}
        given = planned({**obj, "status": {"observedGeneration": 1, "circuit": circuit}}, seen)
        assert len(given.status["runs"]) == starts


def test_runs_every_day_fit_into_seven_a_week_when_clocks_change() -> None:
    days = [NOW - timedelta(days=n) + timedelta(hours=1, seconds=30) for n in range(1, 8)]
    starts = [day.strftime("%Y-%m-%dT%H:%M:%SZ") for day in days]
    obj = followed(schedule_object(triggers=HOURLY), "2030-01-02T02:00:00Z", starts=starts)
    assert runs(planned(obj)) == [("Cron", LAST_HOUR, "Queued")]


def test_the_circuit_opens_after_so_many_bad_runs_and_a_person_closes_it() -> None:
    obj = running("Training", {"circuit": {"failures": 2, "lastAt": ago(9_000)}})
    seen = replace(SEEN, jobs=job(obj, failed("DeadlineExceeded", "was active longer", 60)))
    opened = planned(obj, seen)
    assert runs(opened) == [("Manual", "now", "Ended", "Failed", "DeadlineExceeded")]
    assert opened.status["circuit"] == {"failures": 3, "lastAt": NOW_TEXT, "openedAt": NOW_TEXT, "reset": ""}
    assert judged(opened)["Ready"] == ("False", "CircuitOpen")
    assert "kubectl annotate --overwrite rts weekly trimtab.dev/reset-circuit=<anything new>" in message(opened)
    obj["metadata"]["annotations"] |= {"trimtab.dev/run": "again"}
    assert len(planned({**obj, "status": opened.status}).status["runs"]) == 1
    obj["metadata"]["annotations"] |= {"trimtab.dev/reset-circuit": "1"}
    closed = planned({**obj, "status": opened.status})
    assert closed.status["circuit"] == {"failures": 0, "reset": "1"}
    assert runs(closed)[0] == ("Manual", "again", "Queued")


def test_nothing_starts_without_a_model_that_can_be_promoted() -> None:
    obj = schedule_object(annotations=MANUAL)
    absent = planned(obj, replace(SEEN, model=None, registered=None, alias=None))
    assert (absent.status["runs"], judged(absent)["Ready"]) == ([], ("False", "ModelNotFound"))
    fixed = planned(obj, replace(SEEN, model=model_object("models:/credit/1"), registered=None, alias=None))
    assert judged(fixed)["Stalled"] == ("True", "SourceNotAlias")


def test_a_calendar_that_makes_no_sense_is_named() -> None:
    bad = {"cron": {"schedule": "61 * * * *", "timeZone": "UTC"}}
    given = planned(schedule_object(triggers=bad))
    assert judged(given)["Ready"] == ("False", "CalendarInvalid")
    assert message(given) == "cron.schedule '61 * * * *' cannot be followed: Bad minute"


def test_a_trigger_without_its_deployment_is_named() -> None:
    obj = schedule_object(triggers=DRIFT)
    assert judged(planned(obj))["TriggersReady"] == ("False", "DeploymentNotFound")
    quiet = replace(SEEN, deployments={"risk": deployment_object()})
    assert judged(planned(obj, quiet))["TriggersReady"] == ("False", "NotMonitored")


# Where a run goes.


def test_a_job_that_is_there_is_adopted() -> None:
    given = planned(running("Queued"), replace(SEEN, jobs=job(running("Queued"))))
    assert (given.apply, runs(given)) == ((), [("Manual", "now", "Training")])
    assert only(given)["startedAt"] == ago(90)


def test_a_job_that_is_lost_is_not_made_again() -> None:
    obj = running("Training")
    first = planned(obj)
    assert (first.apply, only(first)["missingAt"]) == ((), NOW_TEXT)
    later = planned({**obj, "status": first.status}, now=NOW + timedelta(seconds=61))
    assert (later.apply, runs(later)) == ((), [("Manual", "now", "Ended", "Failed", "JobLost")])
    registered = planned({**obj, "status": first.status}, replace(SEEN, tracked=trained("2")))
    assert runs(registered) == [("Manual", "now", "Grading")]


def test_a_silent_mlflow_keeps_every_stage_waiting() -> None:
    for stage, jobs in (("Queued", {}), ("Training", job(running("Training"), complete(90_000)))):
        obj = running(stage)
        given = planned(obj, replace(SILENT, jobs=jobs), NOW + timedelta(days=3))
        assert (given.apply, only(given)["stage"], only(given).get("outcome")) == ((), stage, None)
        assert judged(given)["Ready"] == ("Unknown", "RegistryUnreachable")
        assert judged(given)["Reconciling"] == ("True", "RegistryUnreachable")
    obj = running("RollingOut", run={"promotedAt": ago(9)})
    assert runs(planned(obj, SILENT)) == [("Manual", "now", "RollingOut")]


@pytest.mark.parametrize(
    ("condition_", "container", "expected"),
    [
        (
            failed("BackoffLimitExceeded"),
            kubelet.container(kubelet.ended(137, "", "OOMKilled"), name="trainer"),
            "OutOfMemory",
        ),
        (failed("DeadlineExceeded"), kubelet.container(kubelet.ended(143), name="trainer"), "DeadlineExceeded"),
        (
            failed(),
            kubelet.container(kubelet.ended(10, kubelet.words("BadData", "no rows")), name="trainer"),
            "BadData",
        ),
        (failed("BackoffLimitExceeded", "", 60), None, "BackoffLimitExceeded"),
        (failed("PodFailurePolicy", "Container trainer failed with exit code 3 matching", 60), None, "NothingToDo"),
        (failed(), kubelet.container(kubelet.ended(3, '{"skipped": "no new rows"}'), name="trainer"), "NothingToDo"),
    ],
)
def test_a_job_that_failed_ends_its_run_for_the_reason_it_had(condition_: Any, container: Any, expected: str) -> None:
    obj = running("Training")
    pods = [pod(obj, "trainer", container)] if container else []
    row = only(planned(obj, replace(SEEN, jobs=job(obj, condition_), pods=pods)))
    assert (row["stage"], row["reason"]) == ("Ended", expected)
    assert row["outcome"] == ("Skipped" if expected == "NothingToDo" else "Failed")


def test_a_run_that_was_evicted_until_its_deadline_says_so() -> None:
    obj = running("Training")
    own = pod(obj, "trainer", kubelet.container(kubelet.ended(137), name="trainer"))
    own["status"] |= {"phase": "Failed", "conditions": [kubelet.evicted("usage exceeds the total limit 64Mi")]}
    row = only(planned(obj, replace(SEEN, jobs=job(obj, failed("DeadlineExceeded", "was active longer")), pods=[own])))
    assert row["reason"] == "DeadlineExceeded"
    assert row["message"].endswith("was active longer; pod weekly-x was evicted: usage exceeds the total limit 64Mi")


def test_a_job_whose_pods_do_not_end_at_once_is_not_said_to_train() -> None:
    """Kubernetes calls a Job failed only when the last of its pods is gone, which can take all their grace."""
    obj = running("Training")
    ending = {**failed("DeadlineExceeded", "was active longer"), "type": "FailureTarget"}
    given = planned(obj, replace(SEEN, jobs=job(obj, ending)))
    assert runs(given) == [("Manual", "now", "Training")]
    assert only(given)["message"].endswith("has failed, and its pods are being ended: was active longer")


def test_the_last_words_of_a_pod_are_waited_for() -> None:
    obj = running("Training")
    assert runs(planned(obj, replace(SEEN, jobs=job(obj, failed())))) == [("Manual", "now", "Training")]


@pytest.mark.parametrize(
    ("tracked", "words", "expected"),
    [
        (trained("2"), {"version": "2"}, ("Grading",)),
        (trained("2"), {}, ("Grading",)),
        (trained("2"), {"version": "9"}, ("Grading",)),
        (trained(""), {"version": "9"}, ("Ended", "Failed", "NoVersion")),
        (None, {"version": "9"}, ("Ended", "Failed", "NoVersion")),
        (None, {"skipped": "no new rows"}, ("Ended", "Skipped", "NothingToDo")),
        (trained("1"), {}, ("Ended", "Superseded", "PromotedByHand")),
    ],
)
def test_what_a_trainer_says_is_a_hint_and_mlflow_the_truth(tracked: Any, words: Any, expected: Any) -> None:
    obj = running("Training")
    given = planned(obj, replace(SEEN, jobs=job(obj, complete()), pods=[says(obj, words)], tracked=tracked))
    assert runs(given) == [("Manual", "now", *expected)]
    if expected[-1] == "NoVersion":
        assert (
            f"carries the tag trimtab.dev/run-id={name_of(obj)}, although its trainer speaks of version 9"
            in only(given)["message"]
        )


def test_a_job_that_waits_for_kueue_is_told_so() -> None:
    obj = running("Training")
    jobs = job(obj)
    jobs[name_of(obj)]["spec"]["suspend"] = True
    assert "waits for Kueue to admit it" in only(planned(obj, replace(SEEN, jobs=jobs)))["message"]


def test_the_gate_is_judged_by_a_job_of_its_own() -> None:
    obj = running("Grading")
    given = planned(obj)
    (made,) = given.apply
    assert made["metadata"]["name"] == f"{name_of(obj)}-gate"
    assert given.status.get("candidate") is None
    (container,) = made["spec"]["template"]["spec"]["containers"]
    env = {item["name"]: item["value"] for item in container["env"]}
    assert (env["TRIMTAB_CHAMPION_URI"], env["TRIMTAB_CHALLENGER_URI"]) == ("models:/credit/1", "models:/credit/2")
    assert (env["TRIMTAB_HOLDOUT_DIGEST"], env["TRIMTAB_HOLDOUT_TARGET"]) == (digest(99), "y")
    gate = json.loads(env["TRIMTAB_GATE"])
    assert (gate["metric"], gate["mode"], gate["margin"], "holdout" in gate) == (
        "roc_auc",
        "NonInferior",
        "0.01",
        False,
    )


@pytest.mark.parametrize(
    ("word", "approval", "expected"),
    [
        ("Passed", "Auto", ("RollingOut",)),
        ("Passed", "Required", ("AwaitingApproval",)),
        ("Rejected", "Auto", ("Ended", "Rejected", "Worse")),
    ],
)
def test_a_verdict_decides(word: str, approval: str, expected: Any) -> None:
    obj = running("Grading", approval=approval)
    seen = replace(SEEN, jobs=job(obj, complete(), gate=True), pods=[says(obj, verdict(word), 0, "evaluator")])
    given = planned(obj, seen)
    assert runs(given) == [("Manual", "now", *expected)]
    row = only(given)
    assert (row["gate"]["verdict"], row["gate"]["lower"], row["gate"]["rows"]) == (word, "-0.002", 2000)
    assert bool(given.status.get("candidate")) == (expected == ("RollingOut",))


def test_a_verdict_that_was_lost_is_asked_for_again_and_one_that_makes_no_sense_is_not() -> None:
    obj = running("Grading")
    gone = planned(obj, replace(SEEN, jobs=job(obj, complete(11), gate=True)))
    assert Ref("Job", "team-a", f"{name_of(obj)}-gate") not in gone.keep
    assert runs(gone) == [("Manual", "now", "Grading")]
    late = planned(obj, replace(SEEN, jobs=job(obj, complete(5), gate=True)))
    assert Ref("Job", "team-a", f"{name_of(obj)}-gate") in late.keep
    odd = replace(SEEN, jobs=job(obj, complete(), gate=True), pods=[says(obj, {"verdict": "Fine"}, 0, "evaluator")])
    assert runs(planned(obj, odd)) == [("Manual", "now", "Ended", "Failed", "VerdictUnreadable")]


def test_a_gate_that_cannot_be_judged_fails_the_run() -> None:
    obj = running("Grading")
    ended = kubelet.container(kubelet.ended(10, kubelet.words("HoldoutInvalid", "no column y")), name="evaluate")
    seen = replace(SEEN, jobs=job(obj, failed(), gate=True), pods=[pod(obj, "evaluator", ended)])
    assert runs(planned(obj, seen)) == [("Manual", "now", "Ended", "Failed", "HoldoutInvalid")]


@pytest.mark.parametrize("stage", ["Grading", "AwaitingApproval", "RollingOut"])
def test_a_champion_that_changes_in_mid_run_ends_it(stage: str) -> None:
    obj = running(stage)
    given = planned(obj, replace(SEEN, alias="7"))
    assert runs(given) == [("Manual", "now", "Ended", "Superseded", "ChampionChanged")]
    assert given.status.get("candidate") is None
    by_hand = planned(obj, replace(SEEN, alias="2"))
    assert runs(by_hand) == [("Manual", "now", "Ended", "Superseded", "PromotedByHand")]
    other = planned(obj, replace(SEEN, registered=Registered("fraud", "champion")))
    assert runs(other) == [("Manual", "now", "Ended", "Superseded", "ModelChanged")]


def test_approval_is_asked_for_with_the_command_that_gives_it_and_expires() -> None:
    obj = running("AwaitingApproval", approval="Required")
    waits = planned(obj)
    command = f"kubectl annotate --overwrite rts weekly trimtab.dev/approve-run={name_of(obj)}"
    assert message(waits, "ApprovalPending") == command
    assert (judged(waits)["Ready"], command in message(waits)) == (("True", "AwaitingApproval"), True)
    obj["metadata"]["annotations"]["trimtab.dev/approve-run"] = "another"
    expired = planned(obj, now=NOW + timedelta(days=8))
    assert runs(expired) == [("Manual", "now", "Ended", "Expired", "ApprovalExpired")]
    obj["metadata"]["annotations"]["trimtab.dev/approve-run"] = name_of(obj)
    approved = planned(obj)
    assert runs(approved) == [("Manual", "now", "RollingOut")]
    assert approved.status["candidate"] == {"version": "2", "uri": "models:/credit/2", "run": name_of(obj)}


ROLLING = replace(SEEN, model=model_object("models:/credit@champion", 2, 1, current=2))


def test_the_rollout_ends_when_every_follower_serves() -> None:
    obj = running("RollingOut")
    assert "imports version 2" in only(planned(obj))["message"]
    one = planned(obj, replace(ROLLING, followers=[deployment_object(2), deployment_object(1, "other")]))
    assert (runs(one), only(one)["digest"]) == ([("Manual", "now", "RollingOut")], digest(2))
    assert only(one)["message"] == "version 2 is being rolled out by other"
    baking = deployment_object(2, rollout={"stage": "Baking"})
    assert only(planned(obj, replace(ROLLING, followers=[baking]))).get("promotedAt") is None
    done = planned(obj, replace(ROLLING, followers=[deployment_object(2)], tags={}))
    assert (only(done)["promotedAt"], runs(done)) == (NOW_TEXT, [("Manual", "now", "RollingOut")])
    assert done.effects[0] == Alias("credit", "champion", "2")
    assert isinstance(done.effects[1], Tags)


def test_a_follower_that_sends_it_back_ends_the_run_and_the_alias_stays() -> None:
    entry = {
        "outcome": "RolledBack",
        "version": "2",
        "reason": "HarmProven",
        "message": "it fails more",
        "startedAt": ago(30),
    }
    obj = running("RollingOut")
    given = planned(obj, replace(ROLLING, followers=[deployment_object(1, history=[entry])]))
    assert runs(given) == [("Manual", "now", "Ended", "RolledBack", "HarmProven")]
    assert (given.status.get("candidate"), given.effects, given.status.get("champion")) == (None, (), None)
    assert only(given)["message"] == "ModelDeployment risk sent version 2 back: it fails more"
    old = planned(obj, replace(ROLLING, followers=[deployment_object(1, history=[{**entry, "startedAt": ago(3000)}])]))
    assert runs(old) == [("Manual", "now", "RollingOut")]


@pytest.mark.parametrize(
    ("minutes", "version", "status", "ends"),
    [(11, 2, "True", True), (9, 2, "True", False), (11, 3, "True", False), (11, 2, "False", False)],
)
def test_a_follower_that_stays_stalled_with_it_has_sent_it_back(
    minutes: int, version: int, status: str, ends: bool
) -> None:
    """RollingUpdate leaves pods that crash without traffic, and says so for ever."""
    stalled = {
        **condition("Stalled", status, "CrashLooping", "no weights"),
        "lastTransitionTime": ago(60 * minutes),
    }
    rows = [{"name": f"rev{n}", "digest": digest(n), "version": str(n)} for n in (1, version)]
    follower = deployment_object(
        1, revisions=rows, rollout={"revision": f"rev{version}", "stage": "Starting"}, conditions=[stalled]
    )
    given = planned(running("RollingOut"), replace(ROLLING, followers=[follower]))
    if not ends:
        assert runs(given) == [("Manual", "now", "RollingOut")]
        return
    assert runs(given) == [("Manual", "now", "Ended", "RolledBack", "CrashLooping")]
    assert only(given)["message"] == "ModelDeployment risk sent version 2 back: no weights"
    assert given.status.get("candidate") is None


def test_an_import_that_fails_ends_the_run_and_one_that_waits_for_approval_expires() -> None:
    model = model_object()
    model["status"] |= {
        "resolvedUri": "models:/credit/2",
        "conditions": [
            condition("Stalled", "True", "PickleRefused"),
            condition("Ready", "False", "PickleRefused", "no"),
        ],
    }
    obj = running("RollingOut")
    assert runs(planned(obj, replace(SEEN, model=model))) == [("Manual", "now", "Ended", "Failed", "PickleRefused")]
    waits = replace(SEEN, model=model_object("models:/credit@champion", 2, 1, current=1))
    assert runs(planned(obj, waits)) == [("Manual", "now", "RollingOut")]
    assert runs(planned(obj, waits, NOW + timedelta(days=8))) == [
        ("Manual", "now", "Ended", "Expired", "ApprovalExpired")
    ]


# The champion.


def champion(**more: Any) -> dict[str, Any]:
    obj = running("RollingOut")
    base = {"model": "credit", "alias": "champion", "version": "2", "run": name_of(obj), "previous": "1"}
    return {"champion": {**base, "promotedAt": ago(30), **more}}


def ended_promoted(**more: Any) -> Object:
    return running("Ended", champion(**more), over("Promoted", promotedAt=ago(30), digest=digest(2)))


def test_the_run_ends_when_the_alias_was_seen_to_be_right() -> None:
    obj = running("RollingOut", champion(), {"promotedAt": ago(5)})
    given = planned(obj, replace(ROLLING, alias="2"))
    assert runs(given) == [("Manual", "now", "Ended", "Promoted", "Promoted")]
    assert given.status["champion"]["confirmedAt"] == NOW_TEXT
    assert judged(given)["LastRunSucceeded"] == ("True", "RunPromoted")


@pytest.mark.parametrize(
    ("confirmed", "alias", "repaired", "moved"),
    [
        (False, "1", True, ""),
        (False, "", True, ""),
        (False, "7", False, "7"),
        (True, "", True, ""),
        (True, "2", False, ""),
        (True, "1", False, "1"),
        (True, "7", False, "7"),
    ],
)
def test_an_alias_is_repaired_unless_a_person_has_moved_it(
    confirmed: bool, alias: str, repaired: bool, moved: str
) -> None:
    obj = ended_promoted(**({"confirmedAt": ago(20)} if confirmed else {}))
    tags = tags_of(RetrainSchedule.parse(obj), RetrainSchedule.parse(obj).status.champion)  # type: ignore[arg-type]
    given = planned(obj, replace(SEEN, alias=alias, tags=tags))
    assert given.effects == ((Alias("credit", "champion", "2"),) if repaired else ())
    assert given.status["champion"]["movedTo"] == moved
    assert ("AliasMoved" in judged(given)) == bool(moved)


def test_a_person_who_gives_the_alias_back_ends_the_quarrel() -> None:
    given = planned(ended_promoted(confirmedAt=ago(20), movedTo="7"), replace(SEEN, alias="2"))
    assert (given.status["champion"]["movedTo"], "AliasMoved" in judged(given)) == ("", False)


def test_tags_tell_of_the_promotion_and_are_repaired() -> None:
    obj = ended_promoted(confirmedAt=ago(20), gate="Passed: roc_auc 0.91 against 0.9")
    given = planned(obj, replace(SEEN, alias="2", tags={"mine": "x"}))
    (wanted,) = given.effects
    assert wanted == Tags(
        "credit",
        "2",
        {
            "trimtab.dev/promoted-at": ago(30),
            "trimtab.dev/promoted-by": f"RetrainSchedule team-a/weekly, run {name_of(obj)}",
            "trimtab.dev/promoted-from": "1",
            "trimtab.dev/promoted-gate": "Passed: roc_auc 0.91 against 0.9",
        },
    )
    assert isinstance(wanted, Tags)
    assert planned(obj, replace(SEEN, alias="2", tags={**wanted.tags, "mine": "x"})).effects == ()


def test_another_model_is_not_given_the_alias_of_this_one() -> None:
    given = planned(
        ended_promoted(confirmedAt=ago(20)), replace(SEEN, registered=Registered("fraud", "champion"), alias="4")
    )
    assert (given.effects, given.status.get("champion")) == ((), None)


def test_the_candidate_stays_until_the_model_must_have_seen_the_alias() -> None:
    obj = ended_promoted(confirmedAt=ago(20))
    obj["status"]["candidate"] = {"version": "2", "uri": "models:/credit/2", "run": name_of(obj)}
    seen = replace(SEEN, alias="2")
    assert planned(obj, seen).status["candidate"]["version"] == "2"
    assert planned(obj, seen, NOW + timedelta(seconds=11)).status.get("candidate") is None
    assert planned(obj, replace(SEEN, alias="7")).status.get("candidate") is None


# What people are told.


def test_messages_are_sent_until_they_are_on_record() -> None:
    notify = [{"channel": "slack", "events": ["RunFailed"]}, {"channel": "pager", "events": ["RunFailed"]}]
    obj = running("Ended", None, over("Failed", reason="JobLost", message="it is gone"), notify=notify)
    seen = replace(SEEN, channels=frozenset({"slack"}))
    first = planned(obj, seen)
    (notice,) = first.effects
    assert isinstance(notice, Notice)
    assert (notice.channel, notice.title) == ("slack", "team-a/weekly: RunFailed")
    assert notice.body == f"Run {name_of(obj)} of model credit (Manual: it was asked for). JobLost: it is gone"
    assert judged(first)["ChannelsReady"] == ("False", "ChannelUnknown")
    told = planned(obj, replace(seen, delivered=frozenset({notice.key})))
    assert (told.effects, only(told)["notified"]) == ((), ["RunFailed/slack"])
    assert planned({**obj, "status": told.status}, seen).effects == ()
    assert planned(obj, seen, NOW + timedelta(days=2)).effects == (), "old news"


def test_that_a_run_did_not_help_is_news_when_it_is_known_however_long_after_the_run() -> None:
    notify = [{"channel": "slack", "events": ["RetrainIneffective"]}]
    obj = schedule_object(triggers=DRIFT, notify=notify)
    long_ago = {"promotedAt": ago(3 * 86_400), "digest": digest(2), "effect": "Pending"}
    row = run_of(obj, "Ended", "Drift", "an earlier one", **over("Promoted", 3 * 86_400, **long_ago))
    again = deployment_object(drift=drifted(digest=digest(2)))
    seen = replace(SEEN, deployments={"risk": again}, channels=frozenset({"slack"}))
    first = planned({**obj, "status": {"observedGeneration": 1, "runs": [row]}}, seen)
    assert (only(first)["effect"], only(first)["effectAt"]) == ("NotRecovered", NOW_TEXT)
    (notice,) = first.effects
    assert isinstance(notice, Notice)
    assert notice.title == "team-a/weekly: RetrainIneffective"
    later = {**obj, "status": first.status}
    assert planned(later, seen, NOW + timedelta(hours=1)).effects == first.effects, "until it is on record"
    assert planned(later, seen, NOW + timedelta(days=1)).effects == ()


def test_history_is_kept_as_long_as_asked() -> None:
    obj = schedule_object(historyLimit=2)
    rows = [run_of(obj, "Ended", "Cron", f"2030-01-0{n}T00:00:00Z", **over("Promoted")) for n in (5, 4, 3)]
    given = planned({**obj, "status": {"observedGeneration": 1, "runs": rows}})
    assert [row["slot"] for row in given.status["runs"]] == ["2030-01-05T00:00:00Z", "2030-01-04T00:00:00Z"]
