"""The decision about a RetrainSchedule.

    the run under way goes one stage on ─► what ended counts ─► the alias is looked at ─► what is due becomes a record

Each pass does all of it from what the status remembers and what was observed. Records come before Jobs, and a candidate
stands only for a run that has passed what it had to pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from trimtab.core import conditions
from trimtab.core.conditions import timestamp
from trimtab.core.objects import JOB, Object, Ref
from trimtab.core.plan import Effect, Notice, Plan
from trimtab.kinds.retrainschedule import due
from trimtab.kinds.retrainschedule.agenda import requeue
from trimtab.kinds.retrainschedule.api import RetrainSchedule, Status
from trimtab.kinds.retrainschedule.children import gate_name
from trimtab.kinds.retrainschedule.grade import ask, grade
from trimtab.kinds.retrainschedule.judge import Pass, judge
from trimtab.kinds.retrainschedule.limits import counted
from trimtab.kinds.retrainschedule.notices import notices, recorded
from trimtab.kinds.retrainschedule.observe import Observed, present
from trimtab.kinds.retrainschedule.promotion import candidate, following, promoted, repairs
from trimtab.kinds.retrainschedule.recovery import learned
from trimtab.kinds.retrainschedule.rollout import roll_out
from trimtab.kinds.retrainschedule.runs import Run
from trimtab.kinds.retrainschedule.slots import NoCalendar, next_slot
from trimtab.kinds.retrainschedule.take import Taken, take
from trimtab.kinds.retrainschedule.train import begin, train
from trimtab.kinds.retrainschedule.walk import Step

JOBS_KEPT = 2
"""Of so many ended runs the Jobs stay, for their logs."""
STAGES = {"Queued": begin, "Training": train, "Grading": grade, "AwaitingApproval": ask, "RollingOut": roll_out}


def plan(schedule: RetrainSchedule, seen: Observed, now: datetime) -> Plan:
    """Judge one RetrainSchedule; the same input gives the same plan."""
    run = present(schedule.status.runs)
    step = STAGES[run.stage](schedule, run, seen, now) if run is not None else None
    status = _after(schedule, step, seen, now)
    occasions = list(due.observed(schedule, seen))
    lesson = learned(schedule, recorded(schedule, status.runs, seen), occasions, seen, now)
    status = status.model_copy(update={"runs": lesson.runs, "acknowledged": lesson.acknowledged})
    taken = take(schedule, status, occasions, now) if seen.registered is not None else Taken(status)
    taken = Taken(_finished(schedule, taken.status, now), taken.held, taken.no_calendar)
    done = Pass(schedule, seen, taken, occasions, step, now)
    messages = list(notices(schedule, taken.status, seen, now))
    return _planned(done, messages)


def _after(schedule: RetrainSchedule, step: Step | None, seen: Observed, now: datetime) -> Status:
    """The status after the run under way has gone on: champion, candidate and circuit with it."""
    status, run = schedule.status, step.run if step else None
    runs = [run if run is not None and old.name == run.name else old for old in status.runs]
    champion = status.champion
    if run is not None and run.promoted_at and seen.registered and (champion is None or champion.run != run.name):
        champion = promoted(run, seen.registered)
    else:
        champion = following(champion, seen, now)
    over = [run] if run is not None and run.stage == "Ended" else []
    return status.model_copy(
        update={
            "runs": runs,
            "champion": champion,
            "candidate": candidate(schedule, run, champion, seen, now),
            "circuit": counted(status.circuit, over, schedule),
        }
    )


def _finished(schedule: RetrainSchedule, status: Status, now: datetime) -> Status:
    """The status with what follows from the rest of it."""
    living = [run for run in status.runs if run.stage != "Ended"]
    ended = [run for run in status.runs if run.stage == "Ended"]
    # The alias may have moved a moment ago: what the candidate stands on is kept as long as there is a candidate.
    own = status.candidate.run if status.candidate else ""
    ended = [run for at, run in enumerate(ended) if at < schedule.spec.history_limit or run.name == own]
    latest = present(living) or (ended[0] if ended else None)
    names = {run.name for run in (*living, *ended)}
    return status.model_copy(
        update={
            "runs": [run for run in status.runs if run.name in names],
            "last_outcome": str(latest.outcome or latest.stage) if latest else "",
            "next_scheduled_at": _next(schedule, now),
            "observed_generation": schedule.metadata["generation"],
        }
    )


def _next(schedule: RetrainSchedule, now: datetime) -> str | None:
    cron = schedule.spec.triggers.cron
    if cron is None or schedule.spec.suspend:
        return None
    try:
        slot = next_slot(cron.schedule, cron.time_zone, now)
    except NoCalendar:
        return None
    return timestamp(slot) if slot else None


def _planned(done: Pass, messages: Sequence[Notice]) -> Plan:
    schedule, status = done.schedule, done.status
    before = [condition.dump() for condition in schedule.status.conditions]
    merged = conditions.merge(before, judge(done), schedule.metadata["generation"], done.now)
    whole = Status.model_validate({**dict(status), "conditions": merged})
    step, namespace = done.step, schedule.metadata["namespace"]
    effects: tuple[Effect, ...] = (*repairs(schedule, status.champion, done.seen), *messages)
    return Plan(
        apply=_wanted(done),
        keep=frozenset(Ref(JOB.kind, namespace, name) for name in _kept(status.runs, step)),
        status=whole.dump(),
        requeue_after=requeue(done, notices=bool(messages)),
        effects=effects,
    )


def _wanted(done: Pass) -> tuple[Object, ...]:
    """The Jobs to make, unless their run had to make room in this very pass."""
    step = done.step
    if step is None or not step.apply:
        return ()
    run = next((run for run in done.status.runs if run.name == step.run.name), None)
    return step.apply if run is not None and run.stage != "Ended" else ()


def _kept(runs: Iterable[Run], step: Step | None) -> set[str]:
    """The Jobs that stay: of what is under way, and of the last runs that came to an end of their own."""
    living = [run for run in runs if run.stage != "Ended"]
    ended = [run for run in runs if run.stage == "Ended" and run.outcome != "Superseded"][:JOBS_KEPT]
    names = {name for run in (*living, *ended) for name in (run.name, gate_name(run))}
    return names - (step.drop if step else frozenset())
