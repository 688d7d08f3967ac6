"""What asks for a run right now, and why it may not have one. Nothing here depends on what was asked before.

A trigger has a slot, which names its occasion: the scheduled time, the episode of drift, the revision that serves
badly, the annotation's value. Run names are made from slots, so that an occasion has one run whoever starts it, and
however often.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from trimtab.core import metadata
from trimtab.core.conditions import parse_time, timestamp
from trimtab.core.objects import Object
from trimtab.evidence.drift.quality import BROKEN
from trimtab.kinds.retrainschedule.api import RetrainSchedule
from trimtab.kinds.retrainschedule.observe import Observed
from trimtab.kinds.retrainschedule.runs import Calendar, Trigger
from trimtab.kinds.retrainschedule.slots import last_slot
from trimtab.kinds.retrainschedule.triggers import Cron, DriftTrigger, Performance

LEVELS = ("OK", "Warning", "Critical")
SLOT_LIMIT = 100


@dataclass(frozen=True)
class Occasion:
    """One reason to train."""

    trigger: Trigger
    slot: str
    excess: str = ""
    """The drift score, or the metric."""
    problems: str = ""
    """Why the data must not be learned from, if so."""
    why: str = ""
    """In a sentence."""
    features: tuple[str, ...] = ()
    """What has drifted most."""

    @property
    def key(self) -> str:
        """What the status remembers it by."""
        return f"{self.trigger}/{self.slot}"


def run_name(schedule: RetrainSchedule, trigger: str, slot: str) -> str:
    """The name of the run of an occasion. The uid keeps namesakes apart, in other namespaces and in other times."""
    meta = schedule.metadata
    return f"{meta['name']}-{metadata.fingerprint([meta['uid'], trigger, slot])}"


def calendar_key(cron: Cron) -> str:
    """What tells one calendar from another."""
    return metadata.fingerprint([cron.schedule, cron.time_zone])


def followed(schedule: RetrainSchedule, now: datetime) -> Calendar | None:
    """How far the calendar is followed before this pass. A new one begins now, and so does one that was suspended:
    neither has anything to catch up on."""
    cron, known = schedule.spec.triggers.cron, schedule.status.calendar
    if cron is None:
        return None
    resumed = any(c.type == "Suspended" and c.status == "True" for c in schedule.status.conditions)
    if known is None and not schedule.status.observed_generation:
        return Calendar(key=calendar_key(cron), since=schedule.metadata.get("creationTimestamp") or timestamp(now))
    if known is None or known.key != calendar_key(cron):
        return Calendar(key=calendar_key(cron), since=timestamp(now))
    if resumed and not schedule.spec.suspend:
        return known.model_copy(update={"since": max(known.since, timestamp(now))})
    return known


def scheduled(schedule: RetrainSchedule, calendar: Calendar, now: datetime) -> Occasion | None:
    """The last time of the calendar, if it came after all that is done with. NoCalendar where it cannot be followed."""
    cron = schedule.spec.triggers.cron
    if cron is None or (slot := last_slot(cron.schedule, cron.time_zone, now)) is None:
        return None
    if slot <= parse_time(calendar.since):
        return None
    return Occasion("Cron", timestamp(slot), why=f"it was scheduled for {timestamp(slot)}")


def by_hand(schedule: RetrainSchedule) -> Occasion | None:
    """The annotation, if it has a value, whether or not that has started a run before."""
    value = str((schedule.metadata.get("annotations") or {}).get(metadata.RUN, ""))
    slot = value if len(value) <= SLOT_LIMIT else metadata.fingerprint(value, 32)
    return Occasion("Manual", slot, why=f"the annotation {metadata.RUN} asks for it") if slot else None


def observed(schedule: RetrainSchedule, seen: Observed) -> Iterator[Occasion]:
    """Episodes of drift and bad quality as they stand, whether or not they have started a run before."""
    triggers = schedule.spec.triggers
    if triggers.drift is not None and (found := seen.deployments.get(triggers.drift.deployment)):
        yield from _drift(triggers.drift, found)
    if triggers.performance is not None and (found := seen.deployments.get(triggers.performance.deployment)):
        yield from _performance(triggers.performance, found)


def spent(schedule: RetrainSchedule, occasion: Occasion) -> bool:
    """Whether this very occasion has started a run, or is known not to be mended by one."""
    status = schedule.status
    return occasion.key in status.spent or occasion.key in status.acknowledged


def _drift(trigger: DriftTrigger, deployment: Object) -> Iterator[Occasion]:
    drift = part(deployment, "drift")
    episode = str((drift.get("episode") or {}).get("id", ""))
    level = str(drift.get("level", "OK"))
    if episode and level in LEVELS and LEVELS.index(level) >= LEVELS.index(trigger.level):
        score = str(drift.get("score", ""))
        why = f"{trigger.deployment} has drifted: {level}, score {score or 'unknown'}"
        worst = tuple(str(item.get("name"))[:253] for item in (drift.get("features") or ())[:10])
        yield Occasion("Drift", episode[:SLOT_LIMIT], score[:32], problems(deployment), why, worst)


def _performance(trigger: Performance, deployment: Object) -> Iterator[Occasion]:
    quality = part(deployment, "quality")
    measured: Mapping[str, Any] = next((m for m in quality.get("metrics") or () if m.get("name") == trigger.metric), {})
    revision = str(quality.get("revision", ""))
    if revision and int(quality.get("labels") or 0) >= trigger.min_labels and beyond(trigger, measured):
        value = str(measured.get("realised", ""))
        why = (
            f"{trigger.metric} of {trigger.deployment} is {value or 'unknown'}, and that is proven to be out of bounds"
        )
        yield Occasion("Performance", f"{trigger.deployment}/{revision}", value[:32], problems(deployment), why)


def beyond(trigger: Performance, measured: Mapping[str, Any]) -> bool:
    """Whether the whole confidence interval is on the bad side: a point estimate alone starts nothing."""
    if trigger.below is not None:
        upper = _number(measured.get("upper"))
        return upper is not None and upper < float(trigger.below)
    lower = _number(measured.get("lower"))
    return trigger.above is not None and lower is not None and lower > float(trigger.above)


def problems(deployment: Object) -> str:
    """What is broken in the data themselves, in a sentence, or an empty string."""
    found = part(deployment, "drift").get("problems") or ()
    broken = [item for item in found if isinstance(item, Mapping) and item.get("problem") in BROKEN]
    return "; ".join(str(item.get("message") or item.get("problem")) for item in broken[:3])


def too_late(cron: Cron, slot: str, now: datetime) -> bool:
    """Whether a scheduled time was missed for too long."""
    return now - parse_time(slot) > timedelta(seconds=cron.starting_deadline_seconds)


def part(deployment: Object, name: str) -> Mapping[str, Any]:
    """A part of a ModelDeployment's status; empty where there is none."""
    found = deployment.get("status", {}).get(name)
    return found if isinstance(found, Mapping) else {}


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
