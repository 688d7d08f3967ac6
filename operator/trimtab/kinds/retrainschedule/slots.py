"""The calendar: which instants a cron expression stands for in a time zone.

The expression is followed on the wall clock, and each local time is then looked up on the time line. So a local time
that comes twice is one slot, at its first instant; one that the clocks skip falls on the instant at which they go
forward; and several that fall on one instant are one slot. Slots depend on nothing but expression, zone and time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

FURTHEST = timedelta(days=366 * 9)
"""29 February may be eight years away; what does not come within nine does not come."""


class NoCalendar(Exception):  # noqa: N818 - it is the answer to a question
    """The expression or the zone makes no sense; the message says which and why."""


def last_slot(expression: str, zone: str, now: datetime) -> datetime | None:
    """The last slot that is not after `now` (aware, as the answer, which is in UTC); None if there never was one."""
    where = _zone(zone)
    # Within an hour that comes for the second time all of it has been before.
    wall = now.astimezone(where).replace(tzinfo=None, microsecond=0, fold=0) + _repeated(now, where)
    for local in _walk(expression, wall + timedelta(seconds=1), backwards=True):
        if (found := instant(local, where)) <= now:
            return found
    return None


def next_slot(expression: str, zone: str, now: datetime) -> datetime | None:
    """The first slot after `now`; None if there is none within nine years."""
    where = _zone(zone)
    wall = now.astimezone(where).replace(tzinfo=None, microsecond=0, fold=0)
    for local in _walk(expression, wall, backwards=False):
        if (found := instant(local, where)) > now:
            return found
    return None


def instant(local: datetime, where: tzinfo) -> datetime:
    """The instant of a local time: the first of two, or that of the change where clocks skip it (PEP 495)."""
    early = local.replace(tzinfo=where, fold=0).astimezone(UTC)
    if early.astimezone(where).replace(tzinfo=None) == local:
        return early
    late, before = early, local.replace(tzinfo=where, fold=1).astimezone(UTC)
    offset = before.astimezone(where).utcoffset()
    while late - before > timedelta(seconds=1):
        middle = (before + (late - before) / 2).replace(microsecond=0)
        if middle.astimezone(where).utcoffset() == offset:
            before = middle
        else:
            late = middle
    return late


def _repeated(now: datetime, where: tzinfo) -> timedelta:
    """How far clocks went back, if the wall clock shows a time that it has shown before; else nothing."""
    local = now.astimezone(where)
    first, second = local.replace(fold=0).utcoffset(), local.utcoffset()
    return first - second if local.fold and first is not None and second is not None else timedelta(0)


def _walk(expression: str, wall: datetime, *, backwards: bool) -> Iterator[datetime]:
    """Local times that match, from `wall` on, without an end that matters."""
    try:
        for local in CronSim(expression, wall, reverse=backwards):
            if abs(local - wall) > FURTHEST:
                return
            yield local
    except (CronSimError, OverflowError) as error:
        raise NoCalendar(f"cron.schedule {expression!r} cannot be followed: {error}") from error


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise NoCalendar(f"cron.timeZone {name!r} is not in the tz database") from error
