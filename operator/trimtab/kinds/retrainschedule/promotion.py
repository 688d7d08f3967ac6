"""The champion: what the status says of it, and how alias and tags in MLflow are kept as the status says.

MLflow keeps no history of aliases and lets anybody move them. So the status is the record and MLflow its projection,
repaired whenever it says something else, with one exception: a person who gives the alias to another version after a
promotion has decided something, and is not overruled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from trimtab.core.conditions import parse_time, timestamp
from trimtab.core.objects import GROUP
from trimtab.core.plan import Alias, Effect, Tags
from trimtab.kinds.retrainschedule.api import RetrainSchedule
from trimtab.kinds.retrainschedule.gate import GateStatus
from trimtab.kinds.retrainschedule.observe import Observed, Registered, experiment
from trimtab.kinds.retrainschedule.rollout import uri_of
from trimtab.kinds.retrainschedule.runs import Candidate, Champion, Run

DEFAULT_POLL = 30


def promoted(run: Run, registered: Registered) -> Champion:
    """The record of a promotion that has just been decided."""
    return Champion(
        model=registered.name,
        alias=registered.alias[:128],
        version=run.version,
        run=run.name,
        previous=run.champion,
        gate=_summary(run.gate),
        promoted_at=run.promoted_at or run.stage_at,
    )


def following(champion: Champion | None, seen: Observed, now: datetime) -> Champion | None:
    """The champion after a look at the alias. None once the MLModel follows another model or alias."""
    found = seen.registered
    if champion is None or (found is not None and (found.name, found.alias) != (champion.model, champion.alias)):
        return None
    if found is None or seen.alias is None:
        return champion
    if seen.alias == champion.version:
        return champion.model_copy(update={"confirmed_at": champion.confirmed_at or timestamp(now), "moved_to": ""})
    may_repair = ("",) if champion.confirmed_at else ("", champion.previous)
    if seen.alias in may_repair:
        return champion
    return champion.model_copy(update={"moved_to": seen.alias})


def repairs(schedule: RetrainSchedule, champion: Champion | None, seen: Observed) -> Iterator[Effect]:
    """What has to change in MLflow for it to say what the status says."""
    if champion is None or champion.moved_to or seen.registered is None:
        return
    if seen.alias is not None and seen.alias != champion.version:
        yield Alias(champion.model, champion.alias, champion.version)
    wanted = tags_of(schedule, champion)
    if seen.tags is not None and not wanted.items() <= seen.tags.items():
        yield Tags(champion.model, champion.version, wanted)


def tags_of(schedule: RetrainSchedule, champion: Champion) -> Mapping[str, str]:
    """What a promoted version says of its promotion."""
    return {
        f"{GROUP}/promoted-at": champion.promoted_at,
        f"{GROUP}/promoted-by": f"RetrainSchedule {experiment(schedule)}, run {champion.run}",
        f"{GROUP}/promoted-from": champion.previous or "none",
        f"{GROUP}/promoted-gate": champion.gate or "none",
    }


def candidate(
    schedule: RetrainSchedule, run: Run | None, champion: Champion | None, seen: Observed, now: datetime
) -> Candidate | None:
    """The version that the MLModel is to import in place of the alias.

    It stays for a while after the alias says the same: the MLModel may still remember what the alias said before.
    """
    if run is not None and run.stage == "RollingOut":
        return Candidate(version=run.version, uri=uri_of(run), run=run.name)
    before = schedule.status.candidate
    if before is None or champion is None or champion.run != before.run or champion.moved_to:
        return None
    source = (seen.model or {}).get("spec", {}).get("source", {})
    until = timedelta(seconds=int(source.get("pollSeconds", DEFAULT_POLL)))
    settled = champion.confirmed_at is not None and now >= parse_time(champion.confirmed_at) + until
    return None if settled else before


def _summary(gate: GateStatus | None) -> str:
    if gate is None:
        return ""
    numbers = f"{gate.challenger} against {gate.champion or 'none'}, difference {gate.difference or 'unknown'}"
    interval = f" [{gate.lower}, {gate.upper}]" if gate.lower else ""
    return f"{gate.verdict}: {gate.metric} {numbers}{interval} on {gate.rows} rows"[:512]
