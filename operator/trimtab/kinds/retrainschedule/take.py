"""Which occasions become runs in this pass. A run is recorded first; its Job is made by a later pass, from the record.

What asks once (a scheduled time, an annotation) is taken or passed over, and is done with either way. What goes on
(drift, bad quality) is only ever held up: it is looked at again in each pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from trimtab.core.conditions import timestamp
from trimtab.kinds.retrainschedule.api import RetrainSchedule, Status
from trimtab.kinds.retrainschedule.due import (
    Occasion,
    by_hand,
    followed,
    run_name,
    scheduled,
    spent,
    too_late,
)
from trimtab.kinds.retrainschedule.limits import Hold, cooldown, holds, opened, undecided, within_week
from trimtab.kinds.retrainschedule.observe import present
from trimtab.kinds.retrainschedule.runs import Passed, Run
from trimtab.kinds.retrainschedule.slots import NoCalendar
from trimtab.kinds.retrainschedule.walk import ended

SPENT = 64
SUSPENDED = Hold("Suspended", "spec.suspend is true")


@dataclass(frozen=True)
class Taken:
    """The status after the occasions of this pass, and what was held up."""

    status: Status
    held: Hold | None = None
    """Why drift or bad quality that is seen starts no run now."""
    no_calendar: str = ""
    """Why the calendar cannot be followed."""
    ended: list[Run] = field(default_factory=list)
    """Runs that had to make room."""


def take(schedule: RetrainSchedule, status: Status, occasions: list[Occasion], now: datetime) -> Taken:
    """Go through what asks for a run, the one a person asks for first. `status` is the one of this pass so far."""
    known = schedule.model_copy(update={"status": status})
    taken = _by_calendar(known, _by_hand(known, Taken(status), now), now)
    for occasion in occasions:
        taken = _by_evidence(known.model_copy(update={"status": taken.status}), taken, occasion, now)
    return replace(taken, status=_remembering(schedule, taken.status, occasions))


def _by_hand(schedule: RetrainSchedule, taken: Taken, now: datetime) -> Taken:
    occasion = by_hand(schedule)
    # While the circuit is open the annotation waits: whoever closes it wants this run, too.
    if occasion is None or spent(schedule, occasion) or opened(taken.status.circuit, schedule) is not None:
        return taken
    if schedule.spec.suspend:
        return _passed(taken, occasion, SUSPENDED)
    return _once(schedule, taken, occasion, now)


def _by_calendar(schedule: RetrainSchedule, taken: Taken, now: datetime) -> Taken:
    calendar, cron = followed(schedule, now), schedule.spec.triggers.cron
    taken = replace(taken, status=taken.status.model_copy(update={"calendar": calendar}))
    if calendar is None or cron is None or schedule.spec.suspend:
        return taken
    try:
        occasion = scheduled(schedule, calendar, now)
    except NoCalendar as error:
        return replace(taken, no_calendar=str(error))
    if occasion is None:
        return taken
    after = calendar.model_copy(update={"since": occasion.slot})
    taken = replace(taken, status=taken.status.model_copy(update={"calendar": after}))
    hold = holds(schedule, taken.status, now)
    if too_late(cron, occasion.slot, now):
        message = "the operator was away for longer than startingDeadlineSeconds allows"
        return _passed(taken, occasion, Hold("DeadlineMissed", message))
    if hold is not None:
        return _passed(taken, occasion, hold)
    return _once(schedule, taken, occasion, now)


def _once(schedule: RetrainSchedule, taken: Taken, occasion: Occasion, now: datetime) -> Taken:
    """A run for an occasion that does not come again, as the concurrency policy has it."""
    runs = taken.status.runs
    active = present(runs)
    if active is None:
        return _recorded(schedule, taken, occasion, now)
    policy = schedule.spec.concurrency_policy
    if policy == "Forbid":
        return _passed(
            taken, occasion, Hold("RunUnderWay", f"run {active.name} is under way, and the policy is Forbid")
        )
    replaces = policy == "Replace" and active.stage != "RollingOut"
    gone = [run for run in runs if run.stage == "Queued" or (replaces and run.stage != "Ended")]
    over = [ended(run, "Superseded", "Replaced", f"a newer run was asked for: {occasion.why}", now) for run in gone]
    names = {run.name: run for run in over}
    status = taken.status.model_copy(update={"runs": [names.get(run.name, run) for run in runs]})
    waited = next((run.queued_at or run.recorded_at for run in gone if run.stage == "Queued"), None)
    return _recorded(schedule, replace(taken, status=status, ended=[*taken.ended, *over]), occasion, now, waited)


def _by_evidence(schedule: RetrainSchedule, taken: Taken, occasion: Occasion, now: datetime) -> Taken:
    """A run for what goes on, unless something holds it up."""
    if spent(schedule, occasion):
        return taken
    hold = SUSPENDED if schedule.spec.suspend else None
    if hold is None and occasion.problems:
        message = f"the data themselves are broken, and must not be learned from: {occasion.problems}"
        hold = Hold("DataQualityBreach", message)
    hold = hold or holds(schedule, taken.status, now) or cooldown(schedule, taken.status, now)
    hold = hold or undecided(taken.status)
    if hold is not None:
        return replace(taken, held=taken.held or hold)
    active = present(taken.status.runs)
    if active is not None:
        return replace(taken, held=taken.held or Hold("RunUnderWay", f"run {active.name} is under way"))
    return _recorded(schedule, taken, occasion, now)


def _recorded(
    schedule: RetrainSchedule, taken: Taken, occasion: Occasion, now: datetime, waited: str | None = None
) -> Taken:
    """The record of a new run. One that is recorded already was started by this very occasion, and stays as it is.
    `waited` is since when the one has waited whose turn it takes over."""
    name, status = run_name(schedule, occasion.trigger, occasion.slot), taken.status
    if any(run.name == name for run in status.runs):
        return replace(taken, status=_done_with(status, occasion))
    at = timestamp(now)
    run = Run(
        name=name,
        trigger=occasion.trigger,
        slot=occasion.slot,
        stage_at=at,
        recorded_at=at,
        queued_at=waited,
        cause=occasion.why,
        message=occasion.why,
        excess=occasion.excess,
        features=list(occasion.features),
    )
    counts = occasion.trigger != "Manual"
    starts = [at, *within_week(status.starts, now)][:168] if counts else within_week(status.starts, now)
    return replace(
        taken,
        status=_done_with(status, occasion).model_copy(update={"runs": [run, *status.runs], "starts": starts}),
    )


def _passed(taken: Taken, occasion: Occasion, hold: Hold) -> Taken:
    passed = Passed(slot=occasion.slot, reason=hold.reason, message=hold.message)
    return replace(taken, status=_done_with(taken.status, occasion).model_copy(update={"passed": passed}))


def _done_with(status: Status, occasion: Occasion) -> Status:
    if occasion.trigger == "Cron":
        return status.model_copy(update={"last_slot": occasion.slot})
    return status.model_copy(update={"spent": [occasion.key, *status.spent]})


def _remembering(schedule: RetrainSchedule, status: Status, occasions: list[Occasion]) -> Status:
    """The status with as many slots as it may hold: those that still ask, which would start another run once they were
    forgotten, and of the others the newest."""
    asking = {occasion.key for occasion in (by_hand(schedule), *occasions) if occasion is not None}
    slots = list(dict.fromkeys(status.spent))
    room = SPENT - sum(slot in asking for slot in slots)
    others = set([slot for slot in slots if slot not in asking][:room])
    return status.model_copy(update={"spent": [slot for slot in slots if slot in asking or slot in others]})
