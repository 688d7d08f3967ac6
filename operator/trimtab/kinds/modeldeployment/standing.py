"""Where a ModelDeployment stands before anything is decided: who serves, which rollout goes on, which one begins.

The memory is `status.serving` and `status.rollout`. If all status was lost the front Service still knows who serves,
and without it the pods do; a rollout whose memory was lost begins anew, with a candidate that has no traffic.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from trimtab.core import metadata
from trimtab.core.conditions import timestamp
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.course import Course
from trimtab.kinds.modeldeployment.observe import Observed
from trimtab.kinds.modeldeployment.progress import RolloutStatus
from trimtab.kinds.modeldeployment.routing import serving_by
from trimtab.kinds.modeldeployment.sizes import available
from trimtab.kinds.modeldeployment.walk import Orders, ended


@dataclass(frozen=True)
class Standing:
    """What there is to go on from."""

    serving: str
    """Who has the traffic that no candidate has."""
    record: RolloutStatus | None
    """The rollout that is under way, or the last one."""
    closed: RolloutStatus | None = None
    """One that was overtaken just now."""
    waiting: str = ""
    """A revision that an experiment holds back."""


def standing(mdep: ModelDeployment, course: Course, target: str, seen: Observed, now: datetime) -> Standing:
    """Who serves, and which rollout this pass is about. `target` is the revision asked for, empty if none is known."""
    memory = _serving(mdep, seen, target)
    before = _believable(mdep.status.rollout, memory)
    if before is not None and before.under_way and _goes_on(before, course, target):
        return Standing(serving_by(before), before)
    serving = _returned(before, memory, seen)
    closed = _overtaken(before) if before is not None and before.under_way else None
    record = closed or before
    if not target or target == serving or _rejected(mdep, record, target):
        return Standing(serving, record, closed)
    if seen.held_by:
        return Standing(serving, record, closed, waiting=target)
    begun = RolloutStatus(revision=target, previous=serving, strategy=course.strategy, started_at=timestamp(now))
    return Standing(serving, begun, closed)


def orders(mdep: ModelDeployment, revision: str, held_by: str) -> Orders:
    """What annotations and experiments ask of this candidate."""
    notes = mdep.metadata.get("annotations") or {}
    return Orders(
        abort=notes.get(metadata.ABORT) == revision,
        promote=notes.get(metadata.PROMOTE) == revision,
        paused=notes.get(metadata.ROLLOUT_PAUSED) == "true" or bool(held_by),
    )


def _serving(mdep: ModelDeployment, seen: Observed, target: str) -> str:
    """The revision with traffic, by status, else by the front Service, else by its pods."""
    known = {*seen.deployments, *(r.name for r in mdep.status.revisions)}
    for name in (mdep.status.serving, seen.selected(mdep.metadata["name"])):
        if name in known:
            return name
    largest = max(seen.deployments, key=lambda name: (available(seen.deployment(name)), name), default="")
    return largest if available(seen.deployment(largest)) or not target else target


def _believable(record: RolloutStatus | None, serving: str) -> RolloutStatus | None:
    """The record, unless it contradicts who serves: then one of the two was edited, and traffic counts more."""
    if record is None or (record.under_way and serving_by(record) != serving):
        return None
    return record


def _goes_on(record: RolloutStatus, course: Course, target: str) -> bool:
    if record.stage == "Baking":
        return target in (record.revision, "")
    return (record.revision, record.strategy) == (target, course.strategy)


def _overtaken(record: RolloutStatus) -> RolloutStatus:
    if record.stage == "Baking":
        return ended(record, "Promoted", "Superseded", "another revision was asked for while it baked")
    return ended(record, "Superseded", "Superseded", "another revision, or another strategy, was asked for")


def _returned(record: RolloutStatus | None, memory: str, seen: Observed) -> str:
    """Who serves after a candidate that had all traffic was sent back, until the status says so too."""
    back = record is not None and record.outcome == "RolledBack" and record.revision == memory
    return record.previous if back and record is not None and record.previous in seen.deployments else memory


def _rejected(mdep: ModelDeployment, record: RolloutStatus | None, target: str) -> bool:
    """Whether this revision was sent back before, or is not wanted; a person may ask for it all the same."""
    wishes = orders(mdep, target, "")
    sent_back = record is not None and record.outcome == "RolledBack" and record.revision == target
    return wishes.abort or (sent_back and not wishes.promote)
