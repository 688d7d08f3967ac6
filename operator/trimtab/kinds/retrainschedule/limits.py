"""What keeps runs apart from each other: cooldown, budget, backoff, and the circuit that opens when nothing helps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.core import metadata
from trimtab.core.conditions import parse_time, timestamp
from trimtab.kinds.retrainschedule.api import RetrainSchedule, Status
from trimtab.kinds.retrainschedule.runs import BAD, Circuit, Run

WEEK = timedelta(days=7) - timedelta(hours=3)
"""Short by what clocks shift and starts are late, so that seven runs a week are enough for one a day."""
AHEAD = timedelta(days=1)
"""What lies further in the future than this was written by a clock that ran ahead, and holds nothing."""
FIRST_BACKOFF, LAST_BACKOFF = timedelta(minutes=5), timedelta(hours=6)


@dataclass(frozen=True)
class Hold:
    """Why no run may start now, in one word and in a sentence, and until when where that is known."""

    reason: str
    message: str
    until: datetime | None = None


def holds(schedule: RetrainSchedule, status: Status, now: datetime) -> Hold | None:
    """What holds every run but those by hand."""
    return opened(status.circuit, schedule) or _backoff(status.circuit, now) or _budget(schedule, status, now)


def opened(circuit: Circuit, schedule: RetrainSchedule) -> Hold | None:
    """The circuit, if it is open; runs by hand do not pass it either."""
    if circuit.opened_at is None:
        return None
    name = schedule.metadata["name"]
    how = f"kubectl annotate --overwrite rts {name} {metadata.RESET_CIRCUIT}=<anything new>"
    message = f"{circuit.failures} runs in a row came to nothing; find out why, then let runs start again by: {how}"
    return Hold("CircuitOpen", message)


def cooldown(schedule: RetrainSchedule, status: Status, now: datetime) -> Hold | None:
    """What holds runs for drift and performance after any run."""
    ends = [parse_time(run.ended_at) for run in status.runs if run.ended_at and run.started_at]
    last = max((end for end in ends if end < now + AHEAD), default=None)
    until = last + timedelta(seconds=schedule.spec.cooldown_seconds) if last else now
    if now >= until:
        return None
    return Hold(
        "CoolingDown", f"the last run ended a short while ago; none is started before {timestamp(until)}", until
    )


def undecided(status: Status) -> Hold | None:
    """What holds runs for drift and performance while nobody knows whether the last one has helped."""
    champion = status.champion
    if champion is None or champion.moved_to:
        return None
    for run in status.runs:
        if run.name == champion.run and run.effect == "Pending":
            message = f"whether run {run.name} has helped shows once version {run.version} was asked enough"
            return Hold("EffectPending", f"{message}; the trigger's deployment has to serve it")
    return None


def _backoff(circuit: Circuit, now: datetime) -> Hold | None:
    """After each bad run in a row the pause doubles, from five minutes to six hours."""
    if not circuit.failures or circuit.last_at is None:
        return None
    pause = min(FIRST_BACKOFF * 2 ** min(circuit.failures - 1, 10), LAST_BACKOFF)
    last = parse_time(circuit.last_at)
    until = last + pause
    if now >= until or last > now + AHEAD:
        return None
    message = f"{circuit.failures} runs in a row came to nothing; none is started before {timestamp(until)}"
    return Hold("BackingOff", message, until)


def _budget(schedule: RetrainSchedule, status: Status, now: datetime) -> Hold | None:
    limit, recent = schedule.spec.max_runs_per_week, within_week(status.starts, now)
    if len(recent) < limit:
        return None
    until = parse_time(recent[limit - 1]) + WEEK
    message = f"{len(recent)} runs have started within a week, and maxRunsPerWeek is {limit}"
    return Hold("BudgetSpent", f"{message}; none is started before {timestamp(until)}", until)


def within_week(starts: Sequence[str], now: datetime) -> list[str]:
    """The starts that still count, the last one first."""
    return sorted((at for at in starts if -AHEAD < now - parse_time(at) < WEEK), reverse=True)


def counted(circuit: Circuit, ended: Iterable[Run], schedule: RetrainSchedule) -> Circuit:
    """The circuit after these runs have ended, the first one first, and after what a person asks for."""
    for run in ended:
        if run.outcome == "Promoted":
            circuit = circuit.model_copy(update={"failures": 0, "last_at": None, "opened_at": None})
        elif run.outcome in BAD:
            failures = circuit.failures + 1
            opens = circuit.opened_at or (run.ended_at if failures >= schedule.spec.failure_threshold else None)
            circuit = circuit.model_copy(update={"failures": failures, "last_at": run.ended_at, "opened_at": opens})
    asked = str((schedule.metadata.get("annotations") or {}).get(metadata.RESET_CIRCUIT, ""))[:128]
    if asked and asked != circuit.reset:
        return Circuit(reset=asked)
    return circuit
