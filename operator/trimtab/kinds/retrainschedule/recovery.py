"""Did it help? After a promotion that drift or bad quality had started, the same measure is looked at again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.core.conditions import parse_time, timestamp
from trimtab.core.objects import Object
from trimtab.kinds.retrainschedule.api import RetrainSchedule
from trimtab.kinds.retrainschedule.due import Occasion, beyond, part
from trimtab.kinds.retrainschedule.observe import Observed
from trimtab.kinds.retrainschedule.runs import Effectiveness, Run
from trimtab.kinds.retrainschedule.triggers import Performance

REMEMBERED = 64
"""More than there are runs in a status: each of them may add one, and in each pass again if it was forgotten."""
CAUSED = ("Drift", "Performance")
KNOWN = ("Recovered", "NotRecovered")


@dataclass(frozen=True)
class Lesson:
    """What the runs have taught."""

    runs: list[Run]
    acknowledged: list[str]
    """Occasions that retraining does not mend, the last one first."""


def learned(
    schedule: RetrainSchedule, runs: Sequence[Run], occasions: Sequence[Occasion], seen: Observed, now: datetime
) -> Lesson:
    """Judge the promoted runs whose effect is not known, and acknowledge what was not mended.

    An occasion whose run came to nothing is acknowledged as well: what started it goes on, and a second run would end
    like the first.
    """
    judged, spent = [], list(schedule.status.acknowledged)
    for run in runs:
        effect = _effect(schedule, run, occasions, seen, now)
        if effect == "NotRecovered" and run.effect != "NotRecovered":
            spent = [occasion.key for occasion in occasions if occasion.trigger == run.trigger] + spent
        key = f"{run.trigger}/{run.slot}"
        if run.trigger in CAUSED and run.stage == "Ended" and run.outcome != "Promoted":
            spent = spent if key in spent else [key, *spent]
        known = timestamp(now) if effect != run.effect and effect in KNOWN else run.effect_at
        judged.append(run.model_copy(update={"effect": effect, "effect_at": known}))
    return Lesson(judged, _known(spent))


def _known(keys: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(keys))[:REMEMBERED]


def _effect(
    schedule: RetrainSchedule, run: Run, occasions: Sequence[Occasion], seen: Observed, now: datetime
) -> Effectiveness | None:
    if run.trigger not in CAUSED or run.outcome != "Promoted" or run.effect in KNOWN:
        return run.effect
    triggers = schedule.spec.triggers
    if run.trigger == "Drift" and triggers.drift is not None:
        return _drifts(run, seen.deployments.get(triggers.drift.deployment), occasions)
    if run.trigger == "Performance" and triggers.performance is not None:
        return _performs(run, triggers.performance, seen.deployments.get(triggers.performance.deployment))
    return "Pending"


def _drifts(run: Run, deployment: Object | None, occasions: Sequence[Occasion]) -> Effectiveness:
    """An episode on the new revision's own profile says no at once. A yes takes a whole window without one."""
    drift = part(deployment or {}, "drift")
    if drift.get("digest") != run.digest or run.promoted_at is None:
        return "Pending"
    checked, window = drift.get("checkedAt"), timedelta(seconds=int(drift.get("windowSeconds") or 0))
    full = bool(checked) and parse_time(str(checked)) >= parse_time(run.promoted_at) + window
    # The old episode may still be told for a moment after the reference has changed.
    if any(occasion.trigger == "Drift" and (full or occasion.slot != run.slot) for occasion in occasions):
        return "NotRecovered"
    return "Recovered" if drift.get("state") == "OK" and full else "Pending"


def _performs(run: Run, trigger: Performance, deployment: Object | None) -> Effectiveness:
    """Enough outcomes of another revision than the one that served badly say yes or no."""
    quality = part(deployment or {}, "quality")
    revision = str(quality.get("revision", ""))
    slot = f"{trigger.deployment}/{revision}"
    enough = int(quality.get("labels") or 0) >= trigger.min_labels
    measured = next((m for m in quality.get("metrics") or () if m.get("name") == trigger.metric), None)
    if not revision or slot == run.slot or not enough or measured is None:
        return "Pending"
    return "NotRecovered" if beyond(trigger, measured) else "Recovered"
