"""The way of a run, one stage at a time.

    Queued ──Job──► Training ──version in MLflow──► Grading ──passed──► AwaitingApproval ──► RollingOut ──► Ended
                       │                              │                      │                   │
                       └─ Failed, Skipped             └─ Rejected, Failed    └─ Expired          └─ RolledBack, Promoted

A pass takes a run one stage further at most, and a Job is there before any stage says so: whatever write was the last
of a process, the next one finds either the record without the Job, which it makes, or the Job, which it adopts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from trimtab.core import metadata, pods
from trimtab.core.conditions import parse_time, timestamp
from trimtab.core.objects import Object, condition
from trimtab.kinds.retrainschedule.api import RetrainSchedule
from trimtab.kinds.retrainschedule.children import RUN
from trimtab.kinds.retrainschedule.observe import Observed
from trimtab.kinds.retrainschedule.runs import Outcome, Run, Stage

MESSAGE_LIMIT = 2_000
# Jobs and their pods come over two watches: a Job that has ended may be seen before the last words of its pod.
WORDS_AFTER = timedelta(seconds=10)


@dataclass(frozen=True)
class Step:
    """Where a run stands after this pass."""

    run: Run
    apply: tuple[Object, ...] = ()
    """Jobs that are to be made."""
    drop: frozenset[str] = field(default_factory=frozenset)
    """Jobs that told nothing and are to be made again."""
    silent: bool = False
    """It waits for MLflow."""
    reason: str = ""
    """What keeps it, where something does."""


def waits(run: Run, message: str, **changes: Any) -> Step:
    """The run stays where it is, and says what for."""
    return Step(run.model_copy(update={"message": message[:MESSAGE_LIMIT], **changes}))


def waits_for_mlflow(run: Run, seen: Observed) -> Step:
    """A tracking server that is silent keeps a run waiting, for however long. It never fails one."""
    said = str(seen.silence) if seen.silence else "MLflow has not answered yet"
    step = waits(run, said)
    return Step(step.run, silent=True, reason=seen.silence.reason if seen.silence else "")


def enters(run: Run, stage: Stage, message: str, now: datetime, **changes: Any) -> Step:
    """The run goes on to the next stage."""
    update = {"stage": stage, "stage_at": timestamp(now), "message": message[:MESSAGE_LIMIT], **changes}
    return Step(run.model_copy(update=update))


def ended(run: Run, outcome: Outcome, reason: str, message: str, now: datetime) -> Run:
    """The run with its outcome."""
    return run.model_copy(
        update={
            "stage": "Ended",
            "stage_at": timestamp(now),
            "outcome": outcome,
            "reason": reason[:128],
            "message": message[:MESSAGE_LIMIT],
            "ended_at": timestamp(now),
        }
    )


def since(run: Run, now: datetime) -> timedelta:
    """How long the run has been in its stage."""
    return now - parse_time(run.stage_at)


def own_pods(run: Run, seen: Observed, component: str) -> list[Object]:
    """The pods of one of the run's Jobs."""
    wanted = {RUN: run.name, "app.kubernetes.io/component": component}
    return [pod for pod in seen.pods if wanted.items() <= pod["metadata"].get("labels", {}).items()]


def finished(job: Object, type_: str) -> datetime | None:
    """When the Job became Complete or Failed; None if it did not."""
    found = condition(job, type_)
    return parse_time(found["lastTransitionTime"]) if found.get("status") == "True" else None


def why_failed(job: Object, own: list[Object]) -> pods.Trouble:
    """The reason of a Job that failed: what its pods say, or else the Job. A deadline explains how its pods ended.

    A pod that its node has no room for does not count as an attempt, and can be evicted until the deadline.
    """
    told, trouble = condition(job, "Failed"), pods.trouble(own)
    message = told.get("message", "")
    if told.get("reason") == "DeadlineExceeded":
        before = f"; {trouble.message}" if trouble is not None and trouble.reason == "Evicted" else ""
        said = f"Job {job['metadata']['name']} took longer than it may: {message}{before}"
        return pods.Trouble(9, "DeadlineExceeded", said)
    return trouble or pods.Trouble(
        9, told.get("reason") or "JobFailed", f"Job {job['metadata']['name']} failed: {message}"
    )


def exit_codes(own: list[Object], container: str) -> set[int]:
    """With which codes a container of these pods has ended."""
    statuses = (status for pod in own for status in pod.get("status", {}).get("containerStatuses", ()))
    states = (status.get("state", {}).get("terminated") for status in statuses if status["name"] == container)
    return {int(state.get("exitCode", 0)) for state in states if state}


def overtaken(schedule: RetrainSchedule, run: Run, seen: Observed, now: datetime) -> Run | None:
    """The run, ended, if what it was compared with is not the champion any more: a verdict holds for one pair."""
    if seen.registered is not None and seen.registered.name != run.model:
        message = (
            f"the MLModel {schedule.spec.model} stands for {seen.registered.name} now, and no longer for {run.model}"
        )
        return ended(run, "Superseded", "ModelChanged", message, now)
    if seen.alias is None or seen.alias == run.champion:
        return None
    if seen.alias == run.version:
        message = f"somebody else gave the alias to version {run.version} before it was promoted; it is left there"
        return ended(run, "Superseded", "PromotedByHand", message, now)
    message = f"the champion was version {run.champion or 'none'}, and now is {seen.alias or 'none'}; run again"
    return ended(run, "Superseded", "ChampionChanged", message, now)


def annotation(schedule: RetrainSchedule, name: str) -> str:
    """An annotation's value, or an empty string."""
    return str((schedule.metadata.get("annotations") or {}).get(name, ""))


def approval_command(schedule: RetrainSchedule, run: Run) -> str:
    """What a person types to approve a run."""
    return f"kubectl annotate --overwrite rts {schedule.metadata['name']} {metadata.APPROVE_RUN}={run.name}"
