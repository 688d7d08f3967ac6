"""From a version to a verdict, and from a verdict to a person's word where that is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from trimtab.core import metadata, pods
from trimtab.core.conditions import timestamp
from trimtab.core.objects import Object
from trimtab.kinds.retrainschedule.api import RetrainSchedule
from trimtab.kinds.retrainschedule.children import EVALUATOR, gate_job, gate_name
from trimtab.kinds.retrainschedule.gate import CHECKS, VALUE_LIMIT, GateStatus
from trimtab.kinds.retrainschedule.observe import Observed
from trimtab.kinds.retrainschedule.runs import Run
from trimtab.kinds.retrainschedule.train import accepted
from trimtab.kinds.retrainschedule.walk import (
    WORDS_AFTER,
    Step,
    annotation,
    approval_command,
    ended,
    enters,
    finished,
    overtaken,
    own_pods,
    since,
    waits,
    waits_for_mlflow,
    why_failed,
)


def grade(schedule: RetrainSchedule, run: Run, seen: Observed, now: datetime) -> Step:
    """Make the evaluator's Job, and take its verdict."""
    if (over := overtaken(schedule, run, seen, now)) is not None:
        return Step(over)
    gate = schedule.spec.gate
    if gate is None:
        return accepted(schedule, run, now)
    if seen.registered is None:
        return waits_for_mlflow(run, seen)
    job, own = seen.jobs.get(gate_name(run)), own_pods(run, seen, "evaluator")
    if job is None:
        step = waits(run, f"version {run.version} is being compared with {run.champion or 'the floor'}")
        return Step(step.run, apply=(gate_job(schedule, run, gate, seen.registered, seen.platform),))
    if (at := finished(job, "Failed")) is not None:
        if not own and now < at + WORDS_AFTER:
            return waits(run, f"Job {gate_name(run)} has failed; its pod's last words are waited for")
        trouble = why_failed(job, own)
        message = f"version {run.version} could not be judged: {trouble.message}"
        return Step(ended(run, "Failed", trouble.reason, message, now))
    if (at := finished(job, "Complete")) is not None:
        return _judged(schedule, run, own, at, now)
    held = pods.trouble(own) or pods.refusal(job)
    return waits(run, held.message if held else f"version {run.version} is being compared")


def _judged(schedule: RetrainSchedule, run: Run, own: list[Object], at: datetime, now: datetime) -> Step:
    words = next((found for pod in own if "verdict" in (found := pods.last_words(pod, EVALUATOR))), None)
    if words is None:
        if now < at + WORDS_AFTER:
            return waits(run, "the evaluator's last words are waited for")
        # Judging twice on the same rows comes to the same verdict.
        step = waits(
            run, f"the verdict of Job {gate_name(run)} was lost with its pod; version {run.version} is judged again"
        )
        return Step(step.run, drop=frozenset({gate_name(run)}))
    try:
        verdict = read(words)
    except (ValidationError, AttributeError, TypeError) as error:
        message = f"what the evaluator said cannot be read ({type(error).__name__}): {json.dumps(words)[:300]}"
        return Step(ended(run, "Failed", "VerdictUnreadable", message, now))
    known = run.model_copy(update={"gate": verdict})
    if verdict.verdict == "Passed":
        return accepted(schedule, known, now)
    message = verdict.message or f"version {run.version} did not pass the gate"
    return Step(ended(known, "Rejected", verdict.reason or "GateRejected", message, now))


def read(words: Mapping[str, Any]) -> GateStatus:
    """The evaluator's last words as the status keeps them: rows and texts beyond its bounds are cut, not refused.

    ValidationError where they are no verdict.
    """
    rows = words.get("checks") or []
    checks = [{key: _cut(value) for key, value in row.items()} for row in rows[:CHECKS]]
    return GateStatus.model_validate({**words, "checks": checks})


def _cut(value: Any) -> Any:
    return value[: VALUE_LIMIT - 10] if isinstance(value, str) else value


def ask(schedule: RetrainSchedule, run: Run, seen: Observed, now: datetime) -> Step:
    """Wait for a person's word, as long as the spec allows."""
    if (over := overtaken(schedule, run, seen, now)) is not None:
        return Step(over)
    if schedule.spec.approval == "Auto" or annotation(schedule, metadata.APPROVE_RUN) == run.name:
        return enters(run, "RollingOut", f"version {run.version} is to be imported", now)
    patience = timedelta(seconds=schedule.spec.approval_timeout_seconds)
    if since(run, now) > patience:
        message = f"nobody approved version {run.version} within approvalTimeoutSeconds"
        return Step(ended(run, "Expired", "ApprovalExpired", message, now))
    until = timestamp(now - since(run, now) + patience)
    message = f"version {run.version} waits for approval until {until}: {approval_command(schedule, run)}"
    return waits(run, message)
