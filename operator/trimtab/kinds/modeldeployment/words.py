"""A rollout in words: what `kubectl get` shows of it, and what it waits for."""

from __future__ import annotations

from trimtab.kinds.modeldeployment.course import Course
from trimtab.kinds.modeldeployment.progress import RolloutStatus
from trimtab.kinds.modeldeployment.walk import demands


def verdict(record: RolloutStatus) -> str:
    """The state of a rollout in a word or two."""
    if record.outcome == "RolledBack":
        return f"RolledBack: {record.reason}"[:64]
    if record.outcome is not None:
        return record.outcome
    stage: str = record.stage
    if stage == "Stepping":
        stage = f"Step {record.step} of {record.steps}, {record.weight} %"
    return f"{stage}, paused" if record.paused_at else stage


def waits(course: Course, record: RolloutStatus, asked: float) -> str:
    """What a candidate with traffic waits for, in a sentence that changes only with what was counted."""
    if record.stage == "Starting":
        return "its pods get ready"
    if record.clock_at is None:
        return f"traffic is being moved: {record.weight} % are to go to it"
    if record.stage == "Baking":
        return f"it has all traffic, and revision {record.previous} stays warm for {course.bake.total_seconds():.0f} s"
    requests, seconds = demands(course, record)
    share = f"copies of {course.shadow_percent} %" if record.stage == "Shadowing" else f"{record.weight} %"
    wanted = f"it gets {share} of the traffic for at least {seconds} s and {requests} requests"
    return f"{wanted}; it has answered {asked:.0f}" if asked else f"{wanted}; no request has come yet"
