"""The line of a namespace: which of its schedules train, which have a place, and which wait for one.

It is read from their statuses and Jobs each time, and kept nowhere. So another leader, or the same one after a restart,
sees the same line. One namespace has one line, and not the whole cluster: who may write schedules there may set their
priority, and is told who goes first, which is nothing for strangers.

A schedule whose run has a say in the line refers to it, and tells it so: the others look again when that changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from trimtab.core import metadata
from trimtab.core.jobs import has_ended
from trimtab.core.objects import JOB, Object, Ref
from trimtab.core.view import View

LINE = "TrainingLine"
"""A kind of address that no object has."""
AWAITING = "AwaitingPlace"
"""The reason of a run that waits in line. One that was just recorded waits in it, too, and does not know it yet."""
CANNOT_BEGIN, NOT_MADE = "CannotBegin", "JobNotMade"
"""The reasons of runs that nobody has to wait for: something else keeps them, or they had their turn in vain."""
KUEUE = "kueue.x-k8s.io/queue-name"


class Standing(StrEnum):
    """How far a run in the line is."""

    WAITING = "Waiting"
    ADMITTED = "Admitted"
    """It has a place, and its Job is about to be made."""
    TRAINING = "Training"


@dataclass(frozen=True)
class Stand:
    """One schedule's run in the line."""

    run: str
    priority: int
    since: str
    standing: Standing

    @property
    def turn(self) -> tuple[int, str, str]:
        """Whose turn is sooner is less: the higher priority, the longer wait, and then the name."""
        return -self.priority, self.since, self.run


def line(namespace: str) -> Ref:
    """What the schedules of a namespace refer to while they stand in its line."""
    return Ref(LINE, namespace, "")


def joined(schedule: Object) -> tuple[Ref, ...]:
    """The line, if a run of this schedule (a raw object) may have a say in it."""
    run = _present(schedule)
    early = run is not None and run.get("stage") in ("Queued", "Training")
    return (line(schedule["metadata"]["namespace"]),) if early else ()


def told(schedule: Object) -> Mapping[Ref, str]:
    """What a schedule (a raw object) tells its line."""
    found = stand(schedule, None)
    if found is None:
        return {}
    word = metadata.fingerprint([found.run, found.priority, found.since, found.standing])
    return {line(schedule["metadata"]["namespace"]): word}


def others(view: View, namespace: str, uid: str) -> tuple[Stand, ...]:
    """All that stand in the line but the schedule of this uid, by their turns."""
    found = []
    for schedule in view.referrers(line(namespace), "RetrainSchedule"):
        run = _present(schedule)
        if run is not None and schedule["metadata"]["uid"] != uid:
            found.append(stand(schedule, view.get(Ref(JOB.kind, namespace, str(run["name"])))))
    return tuple(sorted((one for one in found if one is not None), key=lambda one: one.turn))


def stand(schedule: Object, job: Object | None) -> Stand | None:
    """Where a schedule's run stands, given the Job of that run. None for what is Kueue's, is over, or cannot move."""
    run = _present(schedule)
    standing = _standing(schedule, run, job) if run is not None else None
    if run is None or standing is None:
        return None
    since = str(run.get("queuedAt") or run.get("recordedAt", ""))
    return Stand(str(run["name"]), int(schedule["spec"].get("priority", 0)), since, standing)


def _standing(schedule: Object, run: Mapping[str, Any], job: Object | None) -> Standing | None:
    if job is not None:
        ours = KUEUE not in job["metadata"].get("labels", {})
        return Standing.TRAINING if ours and not has_ended(job) else None
    if schedule["spec"].get("job", {}).get("queueName"):
        return None
    if run.get("stage") == "Training":
        return Standing.TRAINING
    meta = schedule["metadata"]
    still = "deletionTimestamp" in meta or meta.get("annotations", {}).get(metadata.PAUSED) == "true"
    if still or run.get("stage") != "Queued":
        return None
    if run.get("admittedAt"):
        return Standing.ADMITTED
    return None if run.get("reason") in (CANNOT_BEGIN, NOT_MADE) else Standing.WAITING


def _present(schedule: Object) -> Mapping[str, Any] | None:
    """The run under way, or else the one that is to begin; as `observe.present`, of a raw object."""
    runs = (schedule.get("status") or {}).get("runs") or ()
    living = [run for run in runs if run.get("stage") != "Ended"]
    started = (run for run in living if run.get("stage") != "Queued")
    return next(started, living[-1] if living else None)
