"""Conditions keep their times, their order and their limits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from trimtab.core import conditions
from trimtab.core.conditions import Condition
from trimtab.core.objects import Object
from trimtab.core.plan import Event

NOON = datetime(2026, 1, 2, 12, 0, 0, 999, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def merged(*wanted: Condition, previous: list[Object] | None = None, now: datetime = NOON) -> list[Object]:
    return conditions.merge(previous or [], wanted, 7, now)


def test_times_are_written_in_utc_and_whole_seconds_and_read_back() -> None:
    east = NOON.astimezone(timezone(timedelta(hours=5)))
    assert conditions.timestamp(east) == "2026-01-02T12:00:00Z"
    assert conditions.parse_time("2026-01-02T12:00:00Z") == NOON.replace(microsecond=0)


def test_a_condition_is_written_whole() -> None:
    assert merged(Condition("Ready", "True", "Reconciled", "all is well")) == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Reconciled",
            "message": "all is well",
            "observedGeneration": 7,
            "lastTransitionTime": "2026-01-02T12:00:00Z",
        }
    ]


def test_ready_comes_first_and_the_rest_by_name() -> None:
    found = merged(*(Condition(name, "True", "R", "") for name in ("Zeta", "Available", "Ready", "Resolved")))
    assert [item["type"] for item in found] == ["Ready", "Available", "Resolved", "Zeta"]


def test_the_time_is_kept_until_the_status_flips() -> None:
    before = merged(*conditions.progressing("PodsStarting", "1 of 2"))
    same = merged(*conditions.progressing("RolloutInProgress", "2 of 2"), previous=before, now=LATER)
    assert [item["lastTransitionTime"] for item in same] == ["2026-01-02T12:00:00Z"] * 2
    assert same[0]["reason"] == "RolloutInProgress"
    flipped = merged(*conditions.ready("Reconciled", ""), previous=same, now=LATER)
    assert flipped[0]["lastTransitionTime"] == "2026-01-02T13:00:00Z"


def test_what_is_no_longer_wanted_goes() -> None:
    before = merged(*conditions.failing("CrashLooping", "it said nothing"))
    assert [item["type"] for item in before] == ["Ready", "Stalled"]
    assert [item["type"] for item in merged(*conditions.ready("Reconciled", ""), previous=before)] == ["Ready"]


def test_long_messages_are_cut_to_what_the_schema_takes() -> None:
    (item,) = merged(Condition("Ready", "False", "R", "x" * 10_000))
    assert len(item["message"]) == conditions.MESSAGE_LIMIT


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (conditions.ready("R", "m"), {"Ready": "True"}),
        (conditions.progressing("R", "m"), {"Ready": "Unknown", "Reconciling": "True"}),
        (conditions.failing("R", "m"), {"Ready": "False", "Stalled": "True"}),
    ],
)
def test_kstatus_sees_one_verdict(made: tuple[Condition, ...], expected: dict[str, str]) -> None:
    assert {item.type: item.status for item in made} == expected
    assert {(item.reason, item.message) for item in made} == {("R", "m")}


def test_an_event_tells_of_a_transition_and_of_nothing_else() -> None:
    good, bad = merged(*conditions.ready("Reconciled", "well")), merged(*conditions.failing("Broken", "ill"))
    assert conditions.transition([], good) == (Event("Normal", "Reconciled", "well"),)
    assert conditions.transition(good, good) == ()
    assert conditions.transition(good, bad) == (Event("Warning", "Broken", "ill"),)
    other = merged(*conditions.failing("Broken", "ill in other words"))
    assert conditions.transition(bad, other) == ()
    assert conditions.transition(bad, merged(*conditions.failing("Worse", "ill"))) != ()


def test_the_first_look_at_a_new_object_is_no_event() -> None:
    assert conditions.transition([], merged(*conditions.progressing("PodsStarting", "0 of 2"))) == ()


def test_alarms_are_told_of_when_they_come_get_worse_and_go() -> None:
    def drift(status: conditions.Truth, reason: str) -> list[Object]:
        return merged(*conditions.ready("Reconciled", "well"), Condition("DriftDetected", status, reason, "age moved"))

    unknown, none = drift("Unknown", "InsufficientData"), drift("False", "NoDrift")
    warned, critical = drift("True", "Warning"), drift("True", "Critical")
    assert conditions.transition(unknown, none) == ()
    assert conditions.transition(none, warned) == (Event("Warning", "Warning", "DriftDetected is True: age moved"),)
    assert conditions.transition(warned, warned) == ()
    assert conditions.transition(warned, critical) == (
        Event("Warning", "Critical", "DriftDetected is True: age moved"),
    )
    assert conditions.transition(critical, none) == (Event("Normal", "NoDrift", "DriftDetected is False: age moved"),)
    sound, broken = (merged(Condition("DataQuality", status, "Any", "")) for status in ("True", "False"))
    assert [event.type for event in conditions.transition([*unknown, *sound], [*unknown, *broken])] == ["Warning"]


def test_a_note_fits_an_event_in_any_script() -> None:
    (event,) = conditions.transition([], merged(*conditions.failing("Broken", "模" * 1_500)))
    assert len(event.note.encode()) <= 1_024
    assert set(event.note) == {"模"}


def test_an_overruled_status_keeps_everything_but_the_verdict() -> None:
    planned: Object = {
        "observedGeneration": 7,
        "url": "http://m",
        "conditions": merged(Condition("Available", "True", "Enough", "2 pods"), *conditions.ready("Reconciled", "")),
    }
    status = conditions.overruled(planned, conditions.failing("QuotaExceeded", "no more pods"), [], LATER)
    assert status["url"] == "http://m"
    verdicts = {item["type"]: (item["status"], item["reason"]) for item in status["conditions"]}
    assert verdicts == {
        "Ready": ("False", "QuotaExceeded"),
        "Stalled": ("True", "QuotaExceeded"),
        "Available": ("True", "Enough"),
    }
    assert planned["conditions"][0]["reason"] == "Reconciled", "the plan itself is left alone"


@pytest.mark.parametrize(("text", "year"), [("0001-01-01T00:00:00Z", 1970), ("9999-12-31T23:59:59Z", 9000)])
def test_with_any_time_that_a_hand_has_written_can_be_reckoned(text: str, year: int) -> None:
    moment = conditions.parse_time(text)
    assert moment.year == year
    assert moment + timedelta(days=365) > moment - timedelta(days=365)
