"""Which instants a cron expression stands for: time zones, both changes of clocks, and what does not exist."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from trimtab.kinds.retrainschedule.slots import NoCalendar, instant, last_slot, next_slot

BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def slots(expression: str, zone: str, begin: str, end: str) -> list[str]:
    """All slots after `begin` up to `end`, one by one, as a clock that ticks would meet them."""
    found, now = [], at(begin)
    while (slot := next_slot(expression, zone, now)) is not None and slot <= at(end):
        found.append(slot.strftime("%d %H:%M"))
        now = slot
    return found


@pytest.mark.parametrize(
    ("expression", "begin", "end", "expected"),
    [
        # 2030-03-31 02:00 becomes 03:00 in Berlin (01:00 UTC).
        ("30 2 * * *", "2030-03-30 12:00", "2030-04-01 12:00", ["31 01:00", "01 00:30"]),
        ("0,30 2-3 * * *", "2030-03-31 00:00", "2030-03-31 12:00", ["31 01:00", "31 01:30"]),
        ("*/20 * * * *", "2030-03-31 00:30", "2030-03-31 01:40", ["31 00:40", "31 01:00", "31 01:20", "31 01:40"]),
        # 2030-10-27 03:00 becomes 02:00 in Berlin (01:00 UTC): what is named twice runs once, at the first.
        ("30 2 * * *", "2030-10-26 12:00", "2030-10-28 12:00", ["27 00:30", "28 01:30"]),
        ("0 3 * * *", "2030-10-26 12:00", "2030-10-28 12:00", ["27 02:00", "28 02:00"]),
        ("0 2,3 * * *", "2030-10-26 12:00", "2030-10-27 12:00", ["27 00:00", "27 02:00"]),
    ],
)
def test_clocks_that_change(expression: str, begin: str, end: str, expected: list[str]) -> None:
    assert slots(expression, BERLIN, begin, end) == expected


def test_looking_back_finds_what_looking_forward_found() -> None:
    for zone in ("UTC", BERLIN, "Australia/Lord_Howe", "Pacific/Apia"):
        for year, month, day in (
            (2030, 3, 30),
            (2030, 4, 6),
            (2030, 10, 5),
            (2030, 10, 26),
            (2030, 11, 2),
            (2011, 12, 29),
        ):
            now, end = (
                datetime(year, month, day, tzinfo=UTC),
                datetime(year, month, day, tzinfo=UTC) + timedelta(days=3),
            )
            while (slot := next_slot("7,37 1-3 * * *", zone, now)) is not None and slot <= end:
                assert last_slot("7,37 1-3 * * *", zone, slot) == slot, (zone, slot)
                assert last_slot("7,37 1-3 * * *", zone, slot - timedelta(seconds=1)) != slot
                assert last_slot("7,37 1-3 * * *", zone, slot + timedelta(seconds=1)) == slot
                assert slot > now
                now = slot


def test_no_pass_during_a_change_of_clocks_finds_an_earlier_slot_than_the_one_before() -> None:
    now, before = at("2030-10-26 22:00"), datetime.min.replace(tzinfo=UTC)
    for _ in range(6 * 60):
        now += timedelta(minutes=1)
        slot = last_slot("*/10 * * * *", BERLIN, now)
        assert slot is not None
        assert before <= slot <= now
        before = slot


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        ("2030-03-31 01:59", "2030-03-31 00:59"),
        ("2030-03-31 02:00", "2030-03-31 01:00"),
        ("2030-03-31 02:59", "2030-03-31 01:00"),
        ("2030-03-31 03:00", "2030-03-31 01:00"),
        ("2030-10-27 02:30", "2030-10-27 00:30"),
        ("2030-10-27 03:00", "2030-10-27 02:00"),
    ],
)
def test_a_local_time_has_one_instant(local: str, expected: str) -> None:
    assert instant(datetime.fromisoformat(local), ZoneInfo(BERLIN)) == at(expected)


def test_rare_days_are_found_and_days_that_never_come_are_not() -> None:
    assert next_slot("0 0 29 2 *", "UTC", at("2030-01-01 00:00")) == at("2032-02-29 00:00")
    assert next_slot("0 0 29 2 *", "UTC", at("2097-01-01 00:00")) == at("2104-02-29 00:00")


@pytest.mark.parametrize(
    ("expression", "zone", "message"),
    [
        ("61 * * * *", "UTC", "cron.schedule '61 \\* \\* \\* \\*' cannot be followed: Bad minute"),
        ("0 0 30 2 *", "UTC", "cannot be followed: Bad day-of-month"),
        ("0 3 * * 0", "Europe/Berlinn", "cron.timeZone 'Europe/Berlinn' is not in the tz database"),
    ],
)
def test_what_is_no_calendar_is_refused_by_name(expression: str, zone: str, message: str) -> None:
    for ask in (last_slot, next_slot):
        with pytest.raises(NoCalendar, match=message):
            ask(expression, zone, at("2030-01-01 00:00"))
