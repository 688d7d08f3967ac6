"""What people are told, and what is on record as told. A message whose delivery is not recorded is sent again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from trimtab.core.conditions import parse_time
from trimtab.core.plan import Notice
from trimtab.kinds.retrainschedule.api import RetrainSchedule, Status
from trimtab.kinds.retrainschedule.observe import Observed, experiment, message_key
from trimtab.kinds.retrainschedule.runs import Run
from trimtab.kinds.retrainschedule.walk import approval_command

NEWS = timedelta(days=1)
"""What is older is no news: a channel that is added to an old schedule is not told its history."""
BY_OUTCOME = {"Failed": "RunFailed", "Rejected": "Rejected", "Promoted": "Promoted", "RolledBack": "RolledBack"}


def recorded(schedule: RetrainSchedule, runs: Sequence[Run], seen: Observed) -> list[Run]:
    """The runs with what was delivered by now."""
    return [run.model_copy(update={"notified": [*run.notified, *_delivered(schedule, run, seen)][:64]}) for run in runs]


def _delivered(schedule: RetrainSchedule, run: Run, seen: Observed) -> Iterator[str]:
    for notify in schedule.spec.notify:
        for event in notify.events:
            words = f"{event}/{notify.channel}"
            if words not in run.notified and message_key(schedule, run, event, notify.channel) in seen.delivered:
                yield words


def notices(schedule: RetrainSchedule, status: Status, seen: Observed, now: datetime) -> Iterator[Notice]:
    """The messages that are due and not on record, oldest run first."""
    for run in reversed(status.runs):
        events = _events(schedule, status, run)
        told = {event: text for event, text, since in events if now - parse_time(since) < NEWS}
        for notify in schedule.spec.notify:
            if notify.channel not in seen.channels:
                continue
            for event in notify.events:
                if event in told and f"{event}/{notify.channel}" not in run.notified:
                    title = f"{experiment(schedule)}: {event}"
                    yield Notice(message_key(schedule, run, event, notify.channel), notify.channel, title, told[event])


def _events(schedule: RetrainSchedule, status: Status, run: Run) -> Iterator[tuple[str, str, str]]:
    """What of this run people may want to know, and since when it is so."""
    at = run.ended_at or run.stage_at
    head = f"Run {run.name} of model {schedule.spec.model} ({run.trigger}: {run.cause})."
    if run.stage == "AwaitingApproval":
        text = f"{head} Version {run.version} waits for approval: {approval_command(schedule, run)}"
        yield "AwaitingApproval", text, at
    if run.stage != "Ended":
        return
    if (event := BY_OUTCOME.get(str(run.outcome))) is not None:
        yield event, f"{head} {run.reason}: {run.message}", at
    ineffective = run.effect == "NotRecovered" or f"{run.trigger}/{run.slot}" in status.acknowledged
    if ineffective:
        text = f"{head} It did not mend what had started it. No other run is started for that."
        yield "RetrainIneffective", text, run.effect_at or at
    if status.circuit.opened_at is not None and run.ended_at == status.circuit.opened_at:
        count = status.circuit.failures
        text = f"{head} {count} runs in a row came to nothing; no run is started until somebody looks."
        yield "CircuitOpen", text, at
