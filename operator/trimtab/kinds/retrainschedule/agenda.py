"""When to look at a RetrainSchedule again without being told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from trimtab.core.conditions import parse_time
from trimtab.kinds.retrainschedule.judge import Pass
from trimtab.kinds.retrainschedule.line import AWAITING
from trimtab.kinds.retrainschedule.observe import present

AT_LEAST = timedelta(seconds=1)
WHILE_WORKING = timedelta(seconds=10)
"""Jobs, pods and the line are news by themselves; progress, aliases and followers are not."""
SETTLING = timedelta(seconds=3)
RESTING = timedelta(seconds=60)
MESSAGES = timedelta(seconds=10)
LONGEST = timedelta(hours=12)
"""Clocks are set and time zones are changed by law: nothing is put off for longer."""


def requeue(done: Pass, *, notices: bool) -> timedelta | None:
    """The first of all appointments; None when only news can change anything."""
    times = [time for time in _times(done) if time is not None]
    if notices:
        times.append(MESSAGES)
    return max(min(times), AT_LEAST) if times else None


def _times(done: Pass) -> Iterator[timedelta | None]:
    status, now = done.status, done.now
    run = present(status.runs)
    if run is not None:
        begins = run.stage == "Queued" and (
            done.step is None or bool(done.step.apply) or done.step.run.name != run.name or run.admitted_at is not None
        )
        yield RESTING if run.reason == AWAITING else AT_LEAST if begins else WHILE_WORKING
        if run.promoted_at is not None:
            yield SETTLING
    champion = status.champion
    if champion is not None:
        yield RESTING if champion.confirmed_at else SETTLING
    if status.candidate is not None:
        yield WHILE_WORKING
    if status.next_scheduled_at:
        yield min(parse_time(status.next_scheduled_at) - now, LONGEST)
    yield _until(done.taken.held.until, now) if done.taken.held else None


def _until(moment: datetime | None, now: datetime) -> timedelta | None:
    return moment - now if moment is not None else None
