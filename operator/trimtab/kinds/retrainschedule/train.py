"""From a recorded run to a version: its Job is made, watched, and asked for nothing.

What a trainer says of its result is a hint. The truth is the version in MLflow that carries the run's name as a tag;
a trainer that names another one, or none, is not believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from trimtab.core import pods
from trimtab.core.conditions import parse_time, timestamp
from trimtab.core.objects import Object, condition
from trimtab.kinds.retrainschedule.admission import held_up, leaves
from trimtab.kinds.retrainschedule.api import RetrainSchedule
from trimtab.kinds.retrainschedule.children import NOTHING_TO_DO, TRAINER, train_job
from trimtab.kinds.retrainschedule.observe import Observed
from trimtab.kinds.retrainschedule.runs import Run
from trimtab.kinds.retrainschedule.walk import (
    WORDS_AFTER,
    Step,
    ended,
    enters,
    exit_codes,
    finished,
    own_pods,
    waits,
    waits_for_mlflow,
    why_failed,
)

LOST_AFTER = timedelta(seconds=60)
"""A Job that is missing for so long is gone, and not just late on its watch."""


def begin(schedule: RetrainSchedule, run: Run, seen: Observed, now: datetime) -> Step:
    """Make the Job when there is a place for it, or adopt it. The run is Training only once its Job was seen."""
    job = seen.jobs.get(run.name)
    if job is not None:
        at = job["metadata"].get("creationTimestamp") or timestamp(now)
        return enters(run, "Training", f"Job {run.name} trains", now, started_at=at, reason="")
    if schedule.spec.suspend:
        return Step(ended(run, "Skipped", "Suspended", "spec.suspend was set before its Job began", now))
    if schedule.status.circuit.opened_at is not None:
        return Step(ended(run, "Skipped", "CircuitOpen", "the circuit opened before its Job began", now))
    if seen.registered is None:
        return waits(leaves(run), f"MLModel {schedule.spec.model} has to exist, with an alias as its source")
    if seen.alias is None:
        return waits_for_mlflow(leaves(run), seen)
    if (held := held_up(schedule, run, seen, now)) is not None:
        return held
    wanted = train_job(schedule, run, seen.registered, seen.alias, seen.platform)
    step = waits(run, f"Job {run.name} is being made", model=seen.registered.name, reason="")
    return Step(step.run, apply=(wanted,))


def train(schedule: RetrainSchedule, run: Run, seen: Observed, now: datetime) -> Step:
    """Watch the Job, and look up what it registered when it has ended."""
    run = _tracked(run, seen)
    job = seen.jobs.get(run.name)
    if job is None:
        return _missing(schedule, run, seen, now)
    run = run.model_copy(update={"missing_at": None})
    own = own_pods(run, seen, "trainer")
    if (at := finished(job, "Failed")) is not None:
        return _failed(run, job, own, at, now)
    if finished(job, "Complete") is not None:
        return _complete(schedule, run, seen, _words(own), now)
    return waits(run, _doing(schedule, run, job, own))


def _tracked(run: Run, seen: Observed) -> Run:
    found = seen.tracked
    if found is None:
        return run
    told = {"mlflow_run_id": found.run_id[:64], "progress": found.progress[:128]}
    return run.model_copy(update={name: value for name, value in told.items() if value})


def _missing(schedule: RetrainSchedule, run: Run, seen: Observed, now: datetime) -> Step:
    """Somebody deleted the Job. What it has registered counts; it is not started a second time."""
    if seen.silence is not None:
        return waits_for_mlflow(run, seen)
    if seen.tracked is not None and seen.tracked.version:
        return _complete(schedule, run, seen, {}, now)
    if run.missing_at is None:
        return waits(run, f"Job {run.name} is not there", missing_at=timestamp(now))
    if now < parse_time(run.missing_at) + LOST_AFTER:
        return waits(run, f"Job {run.name} is not there")
    message = f"Job {run.name} was deleted before it registered a version; it is not started again"
    return Step(ended(run, "Failed", "JobLost", message, now))


def _failed(run: Run, job: Object, own: list[Object], at: datetime, now: datetime) -> Step:
    codes = exit_codes(own, TRAINER)
    told = condition(job, "Failed")
    if NOTHING_TO_DO in codes or f"exit code {NOTHING_TO_DO} " in f"{told.get('message', '')} ":
        why = _words(own).get("skipped") or "the trainer found nothing to do"
        return Step(ended(run, "Skipped", "NothingToDo", str(why), now))
    if not codes and now < at + WORDS_AFTER:
        return waits(run, f"Job {run.name} has failed; its pod's last words are waited for")
    trouble = why_failed(job, own)
    return Step(ended(run, "Failed", trouble.reason, trouble.message, now))


def _complete(schedule: RetrainSchedule, run: Run, seen: Observed, words: Mapping[str, Any], now: datetime) -> Step:
    """The Job has ended well. It is asked for what it did, and MLflow for whether that is so."""
    if seen.silence is not None or seen.alias is None or seen.registered is None:
        return waits_for_mlflow(run, seen)
    version = seen.tracked.version if seen.tracked is not None else ""
    if not version:
        return Step(_nothing(run, seen.registered.name, words, now))
    known = run.model_copy(update={"version": version, "champion": seen.alias, "model": seen.registered.name})
    if seen.alias == version:
        message = f"the alias was given to version {version} before anybody judged it; it is left there"
        return Step(ended(known, "Superseded", "PromotedByHand", message, now))
    if schedule.spec.gate is not None:
        return enters(known, "Grading", f"version {version} is to be compared with {seen.alias or 'the floor'}", now)
    return accepted(schedule, known, now)


def _nothing(run: Run, model: str, words: Mapping[str, Any], now: datetime) -> Run:
    if words.get("skipped"):
        return ended(run, "Skipped", "NothingToDo", str(words["skipped"]), now)
    said = f", although its trainer speaks of version {str(words['version'])[:20]}" if words.get("version") else ""
    message = (
        f"Job {run.name} ended well, but no version of {model} in MLflow carries the tag trimtab.dev/run-id={run.name}"
        f"{said}; docs/training.md says how a trainer registers what it made"
    )
    return ended(run, "Failed", "NoVersion", message, now)


def accepted(schedule: RetrainSchedule, run: Run, now: datetime) -> Step:
    """What follows where nothing more has to be shown."""
    if schedule.spec.approval == "Required":
        return enters(run, "AwaitingApproval", f"version {run.version} waits for a person", now)
    return enters(run, "RollingOut", f"version {run.version} is to be imported", now)


def _words(own: list[Object]) -> Mapping[str, Any]:
    """What the trainer left as its last words. Of several pods the one speaks that tells of a version."""
    said = [words for pod in own if (words := pods.last_words(pod, TRAINER))]
    return next((words for words in said if "version" in words or "skipped" in words), said[0] if said else {})


def _doing(schedule: RetrainSchedule, run: Run, job: Object, own: list[Object]) -> str:
    if job["spec"].get("suspend"):
        return f"Job {run.name} waits for Kueue to admit it to the queue {schedule.spec.job.queue_name or 'it is in'}"
    if (failing := condition(job, "FailureTarget")).get("status") == "True":
        return f"Job {run.name} has failed, and its pods are being ended: {failing.get('message', '')}"
    trouble = pods.trouble(own) or pods.refusal(job)
    if trouble is not None:
        return trouble.message
    return f"Job {run.name} trains{': ' + run.progress if run.progress else ''}"
