"""From a version that may serve to one that does: every ModelDeployment of the model rolls it out by its own strategy.

The candidate stands in status, the MLModel imports it from there, and the deployments follow the MLModel. One that
rolls it back decides for all: the candidate is withdrawn, and the model is what its alias says again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from trimtab.core.conditions import parse_time, timestamp
from trimtab.core.objects import Object, condition
from trimtab.kinds.retrainschedule.api import RetrainSchedule
from trimtab.kinds.retrainschedule.observe import Observed
from trimtab.kinds.retrainschedule.runs import Run
from trimtab.kinds.retrainschedule.walk import Step, ended, overtaken, since, waits, waits_for_mlflow

STUCK_AFTER = timedelta(minutes=10)
"""A deployment that was asked for a revision this long ago, and says it sent it back, will not try it again; and one
that has been stalled so long with it is not going to serve it."""


def uri_of(run: Run) -> str:
    """The immutable reference of a run's version."""
    return f"models:/{run.model}/{run.version}"


def roll_out(schedule: RetrainSchedule, run: Run, seen: Observed, now: datetime) -> Step:
    """Follow the candidate until all deployments serve it, or one has sent it back."""
    if run.promoted_at is not None:
        return _promoted(schedule, run, seen, now)
    if (over := overtaken(schedule, run, seen, now)) is not None:
        return Step(over)
    if seen.model is None:
        return waits(run, f"MLModel {schedule.spec.model} is not there")
    found = next((r for r in _status(seen.model).get("revisions") or () if r.get("uri") == uri_of(run)), None)
    if found is None:
        return _importing(schedule, run, seen.model, now)
    run = run.model_copy(update={"digest": found["digest"]})
    if _status(seen.model).get("current") != found["digest"]:
        return _unapproved(schedule, run, now)
    return _serving(run, seen, now)


def _promoted(schedule: RetrainSchedule, run: Run, seen: Observed, now: datetime) -> Step:
    """All serve it. The run ends when the alias says so too, or when somebody else took the alias."""
    if seen.alias is None:
        return waits_for_mlflow(run, seen)
    champion = schedule.status.champion
    if seen.alias == run.version:
        message = f"version {run.version} is the champion, in place of {run.champion or 'none'}"
        return Step(ended(run, "Promoted", "Promoted", message, now))
    if champion is not None and champion.run == run.name and champion.moved_to:
        message = f"version {run.version} served, but somebody gave the alias to version {champion.moved_to} meanwhile"
        return Step(ended(run, "Superseded", "AliasMoved", message, now))
    return waits(run, f"version {run.version} serves; the alias is to follow")


def _importing(schedule: RetrainSchedule, run: Run, model: Object, now: datetime) -> Step:
    stalled = condition(model, "Stalled")
    told = condition(model, "Ready")
    if stalled.get("status") == "True" and _status(model).get("resolvedUri") == uri_of(run):
        message = f"MLModel {schedule.spec.model} cannot import version {run.version}: {told.get('message', '')}"
        return Step(ended(run, "Failed", str(told.get("reason", "ImportFailed")), message, now))
    return waits(run, f"MLModel {schedule.spec.model} imports version {run.version}: {told.get('message', '')}")


def _unapproved(schedule: RetrainSchedule, run: Run, now: datetime) -> Step:
    if since(run, now) > timedelta(seconds=schedule.spec.approval_timeout_seconds):
        message = (
            f"nobody approved version {run.version} on MLModel {schedule.spec.model} within approvalTimeoutSeconds"
        )
        return Step(ended(run, "Expired", "ApprovalExpired", message, now))
    return waits(run, f"version {run.version} waits for approval on MLModel {schedule.spec.model}")


def _serving(run: Run, seen: Observed, now: datetime) -> Step:
    missing = []
    for follower in seen.followers:
        sent_back = _sent_back(run, follower, now)
        name = follower["metadata"]["name"]
        if sent_back is not None:
            message = f"ModelDeployment {name} sent version {run.version} back: {sent_back.get('message', '')}"
            return Step(ended(run, "RolledBack", str(sent_back.get("reason") or "RolledBack"), message, now))
        if not serves(run, follower):
            missing.append(name)
    if missing:
        return waits(run, f"version {run.version} is being rolled out by {', '.join(missing[:5])}")
    return waits(run, f"version {run.version} serves; the alias is to follow", promoted_at=timestamp(now))


def serves(run: Run, follower: Object) -> bool:
    """Whether a deployment serves the run's bundle, with nothing of a rollout left to do."""
    status = _status(follower)
    row: Mapping[str, Any] = next(
        (r for r in status.get("revisions") or () if r.get("name") == status.get("serving")), {}
    )
    rollout = status.get("rollout") or {}
    return row.get("digest") == run.digest and rollout.get("stage", "Ended") == "Ended"


def _sent_back(run: Run, follower: Object, now: datetime) -> Mapping[str, Any] | None:
    """The rollout by which a deployment sent the run's version back, if it did."""
    status = _status(follower)
    for entry in status.get("history") or ():
        recent = parse_time(entry.get("startedAt", "1970-01-01T00:00:00Z")) >= parse_time(run.stage_at)
        if entry.get("outcome") == "RolledBack" and entry.get("version") == run.version and recent:
            return dict(entry)
    last = status.get("rollout") or {}
    # The same bytes under another version number: it sent them back before, and does not try them again.
    if last.get("outcome") == "RolledBack" and not serves(run, follower) and since(run, now) > STUCK_AFTER:
        return dict(last)
    return _stuck(run, follower, now)


def _stuck(run: Run, follower: Object, now: datetime) -> Mapping[str, Any] | None:
    """Why a deployment will not get on with the version by itself, if it has not for long.

    RollingUpdate sends nothing back: it leaves pods that crash without traffic, and waits for a mended version.
    """
    status, stalled = _status(follower), condition(follower, "Stalled")
    revision = (status.get("rollout") or {}).get("revision", "")
    wanted = any(
        row.get("name") == revision and row.get("digest") == run.digest for row in status.get("revisions") or ()
    )
    if not wanted or stalled.get("status") != "True" or now - parse_time(stalled["lastTransitionTime"]) < STUCK_AFTER:
        return None
    return {"reason": stalled.get("reason"), "message": stalled.get("message")}


def _status(obj: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = obj.get("status") or {}
    return found
