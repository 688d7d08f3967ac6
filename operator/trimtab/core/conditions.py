"""Conditions as the API conventions and kstatus read them.

`Ready` is always there. `Reconciling` and `Stalled` exist only while they are true, so that
`kubectl wait`, Flux, Helm and Argo CD all come to the same verdict. Times change only when a
status flips: anything else would make every pass a write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from trimtab.core.objects import Object
from trimtab.core.plan import Event

Truth = Literal["True", "False", "Unknown"]
MESSAGE_LIMIT = 2_000
NOTE_LIMIT = 1_000  # of the 1,024 bytes, not characters, that an Event may have


@dataclass(frozen=True)
class Condition:
    """One judgement: its type, whether it holds, a CamelCase reason, and a sentence for people."""

    type: str
    status: Truth
    reason: str
    message: str


def timestamp(moment: datetime) -> str:
    """A moment as Kubernetes writes it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""Only a hand writes other times into a status, and at the ends of the calendar nothing can be added to them."""


def parse_time(text: str) -> datetime:
    """The moment a Kubernetes timestamp names, or the nearest that can be reckoned with."""
    return min(max(datetime.fromisoformat(text.replace("Z", "+00:00")), EARLIEST), LATEST)


def ready(reason: str, message: str) -> tuple[Condition, ...]:
    """All is as asked."""
    return (Condition("Ready", "True", reason, message),)


def progressing(reason: str, message: str) -> tuple[Condition, ...]:
    """On the way; nothing is wrong."""
    return Condition("Ready", "Unknown", reason, message), Condition("Reconciling", "True", reason, message)


def failing(reason: str, message: str) -> tuple[Condition, ...]:
    """Wrong, and waiting will not mend it."""
    return Condition("Ready", "False", reason, message), Condition("Stalled", "True", reason, message)


def merge(
    previous: Sequence[Mapping[str, Any]],
    wanted: Iterable[Condition],
    generation: int,
    now: datetime,
) -> list[Object]:
    """The condition list to write, `Ready` first, keeping the time of each status that did not flip."""
    before = {item["type"]: item for item in previous}
    merged = []
    for item in wanted:
        old = before.get(item.type, {})
        flipped = old.get("status") != item.status
        merged.append(
            {
                "type": item.type,
                "status": item.status,
                "reason": item.reason,
                "message": item.message[:MESSAGE_LIMIT],
                "observedGeneration": generation,
                "lastTransitionTime": timestamp(now) if flipped else old["lastTransitionTime"],
            }
        )
    return sorted(merged, key=lambda item: (item["type"] != "Ready", item["type"]))


ALARMS: Mapping[str, Truth] = {"DriftDetected": "True", "DataQuality": "False", "QualityDegraded": "True"}
"""Conditions beside `Ready` whose coming, worsening and going people should learn of, and the status that is bad."""


def transition(previous: Sequence[Mapping[str, Any]], merged: Sequence[Mapping[str, Any]]) -> tuple[Event, ...]:
    """The events that a change of `Ready` or of an alarm deserves; nothing while status and reason stay."""
    return (*_readiness(previous, merged), *_alarms(previous, merged))


def _alarms(previous: Sequence[Mapping[str, Any]], merged: Sequence[Mapping[str, Any]]) -> Iterator[Event]:
    before = {item["type"]: item for item in previous}
    for new in merged:
        bad, old = ALARMS.get(new["type"]), before.get(new["type"], {})
        same = (old.get("status"), old.get("reason")) == (new["status"], new["reason"])
        if bad is None or same or bad not in (old.get("status"), new["status"]):
            continue
        kind: Literal["Normal", "Warning"] = "Warning" if new["status"] == bad else "Normal"
        yield Event(kind, new["reason"], _note(f"{new['type']} is {new['status']}: {new['message']}"))


def _readiness(previous: Sequence[Mapping[str, Any]], merged: Sequence[Mapping[str, Any]]) -> tuple[Event, ...]:
    old = next((item for item in previous if item["type"] == "Ready"), {})
    new = next((item for item in merged if item["type"] == "Ready"), {})
    if (old.get("status"), old.get("reason")) == (new.get("status"), new.get("reason")):
        return ()
    if new["status"] == "Unknown" and not old:
        return ()  # "it exists and is being worked on" is what the object itself already says
    kind: Literal["Normal", "Warning"] = "Warning" if new["status"] == "False" else "Normal"
    return (Event(kind, new["reason"], _note(new["message"])),)


def _note(text: str) -> str:
    return text.encode()[:NOTE_LIMIT].decode(errors="ignore")


def overruled(status: Object, by: Iterable[Condition], previous: Sequence[Mapping[str, Any]], now: datetime) -> Object:
    """A planned status whose overall verdict gives way to what happened when the plan was carried out."""
    kept = [
        Condition(item["type"], item["status"], item["reason"], item["message"])
        for item in status.get("conditions", ())
        if item["type"] not in ("Ready", "Reconciling", "Stalled")
    ]
    generation = status["observedGeneration"]
    return {**status, "conditions": merge(previous, [*kept, *by], generation, now)}
