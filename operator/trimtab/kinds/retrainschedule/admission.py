"""Who of a namespace may train now, where no Kueue decides that.

    waits in line ──its turn, and room──► admittedAt ──still room for all who have it──► its Job is made

Nothing locks anything here, so two schedules may find the same place free at the same time. Therefore a place is
claimed in the status first, and the Job made by a later pass, if all who train and all who have claimed a place fit:
of those that claimed too much, the ones whose turn is later take it back. Whoever is the last to claim sees the claims
of all others when it decides about its Job, and so the Jobs are never more than there are places.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from trimtab.core.conditions import parse_time, timestamp
from trimtab.kinds.retrainschedule.api import RetrainSchedule
from trimtab.kinds.retrainschedule.line import AWAITING, CANNOT_BEGIN, NOT_MADE, Stand, Standing
from trimtab.kinds.retrainschedule.observe import Observed
from trimtab.kinds.retrainschedule.runs import Run
from trimtab.kinds.retrainschedule.walk import Step, ended, enters, since, waits

PLACE_LASTS = timedelta(seconds=60)
STANDS_ASIDE = timedelta(seconds=60)
"""A Job that the API server refuses (a policy, a quota) must not keep a place from all others for ever."""
NAMED = 3
ONCE = ("Cron", "Manual")


def leaves(run: Run) -> Run:
    """The run outside the line: it cannot begin anyway, and nobody has to wait for it."""
    return run.model_copy(update={"admitted_at": None, "reason": CANNOT_BEGIN})


def held_up(schedule: RetrainSchedule, run: Run, seen: Observed, now: datetime) -> Step | None:
    """Why the Job of a run that could begin is not made in this pass; None if it is."""
    limit = seen.platform.max_concurrent_runs
    if not limit or schedule.spec.job.queue_name:
        return None
    if run.reason == NOT_MADE and timedelta(0) <= since(run, now) < STANDS_ASIDE:
        return Step(run)
    if run.admitted_at is None:
        return _in_line(schedule, run, seen, now)
    training, claims = _of(seen, Standing.TRAINING), _of(seen, Standing.ADMITTED)
    free = limit - len(training)
    if len(claims) < free:
        return _overdue(run, now)
    own = _own(schedule, run)
    if sum(claim.turn < own.turn for claim in claims) < free:
        return waits(run, "others claimed a place at the same moment, and take it back")
    return waits(run, _behind(own, seen, limit), admitted_at=None, reason=AWAITING)


def _in_line(schedule: RetrainSchedule, run: Run, seen: Observed, now: datetime) -> Step:
    limit, own = seen.platform.max_concurrent_runs, _own(schedule, run)
    ahead = [one for one in _of(seen, Standing.WAITING) if one.turn < own.turn]
    taken = len(_of(seen, Standing.TRAINING)) + len(_of(seen, Standing.ADMITTED))
    if taken + len(ahead) < limit:
        message = f"it has a place, and Job {run.name} is about to be made"
        return waits(run, message, admitted_at=timestamp(now), reason="")
    longest = seen.platform.max_queued_runs
    if run.trigger in ONCE and len(ahead) >= longest:
        message = f"{len(ahead)} runs of this namespace wait before it, and no more than {longest} may"
        return Step(ended(run, "Skipped", "QueueFull", message, now))
    return waits(run, _behind(own, seen, limit), reason=AWAITING)


def _overdue(run: Run, now: datetime) -> Step | None:
    """The place is given back when the Job should have been there long since; otherwise the Job is made."""
    if run.admitted_at is None or now - parse_time(run.admitted_at) < PLACE_LASTS:
        return None
    message = f"Job {run.name} could not be made when it was its turn; others may go first, and it is tried again soon"
    return enters(run, "Queued", message, now, admitted_at=None, reason=NOT_MADE)


def _behind(own: Stand, seen: Observed, limit: int) -> str:
    """Which place in the line it has, behind whom, and what keeps it."""
    waiting = [one for one in _of(seen, Standing.WAITING) if one.turn < own.turn]
    busy = [one for one in seen.line if one.standing is not Standing.WAITING]
    first = f"first in line behind {_names(busy)}"
    place = f"number {len(waiting) + 1} in line, behind {_names(waiting)}" if waiting else first
    return f"{place}; {min(len(busy), limit)} of {limit} places to train in this namespace are taken"


def _names(stands: Sequence[Stand]) -> str:
    named = ", ".join(one.run for one in stands[-NAMED:]) if stands else "nobody"
    return f"{named} and {len(stands) - NAMED} more" if len(stands) > NAMED else named


def _of(seen: Observed, standing: Standing) -> list[Stand]:
    return [one for one in seen.line if one.standing is standing]


def _own(schedule: RetrainSchedule, run: Run) -> Stand:
    waits_since = run.queued_at or run.recorded_at
    return Stand(run.name, schedule.spec.priority, waits_since, Standing.WAITING)
