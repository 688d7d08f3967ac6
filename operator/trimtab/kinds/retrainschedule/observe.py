"""What is read before a RetrainSchedule is judged: from memory its model, deployments, Jobs and pods; from MLflow what
its run registered and whom the alias stands for; from the notifier what was delivered.

A tracking server that is silent leaves gaps here and nothing else: what is not known is None, and `silence` says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trimtab.core import metadata
from trimtab.core.jobs import has_ended
from trimtab.core.objects import JOB, Object, Ref
from trimtab.core.platform import Platform
from trimtab.core.view import View
from trimtab.kinds.retrainschedule.api import RetrainSchedule
from trimtab.kinds.retrainschedule.line import Stand, joined, others
from trimtab.kinds.retrainschedule.runs import Run

ALIAS = re.compile(r"^models:/(?P<name>[^/@]+)@(?P<alias>[^/@]+)$")
NOW_SECONDS = 0.0
"""A Job that has ended told MLflow all it had to tell: only an answer from after that end counts."""
SOON = 1.0
WHILE_TRAINING = 15.0
RESTING = 30.0
TAGS_SECONDS = 600.0


class TrackingError(Exception):
    """MLflow did not answer; `reason` is fit for a condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Tracked:
    """What MLflow knows of a run that carries the tag trimtab.dev/run-id."""

    run_id: str = ""
    status: str = ""
    progress: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    version: str = ""
    """The model version that carries the tag; empty while none does."""


class Tracking(Protocol):
    """The questions that are asked of MLflow. Answers may be as old as the caller allows; TrackingError otherwise."""

    async def tracked(self, experiment: str, model: str, run: str, max_age_seconds: float) -> Tracked | None:
        """What there is of a run, or None; only versions of that model count."""

    async def alias(self, model: str, alias: str, max_age_seconds: float) -> str:
        """The version the alias stands for, or an empty string."""

    async def tags(self, model: str, version: str, max_age_seconds: float) -> Mapping[str, str]:
        """The tags of a version; none where there is no such version."""


class Notifier(Protocol):
    """What is known of messages."""

    def channels(self) -> frozenset[str]:
        """The channels that are configured."""

    def delivered(self, keys: Iterable[str]) -> frozenset[str]:
        """Those of these messages that need not be sent again."""


@dataclass(frozen=True)
class Registered:
    """The registered model behind an MLModel, and the alias that names its champion."""

    name: str
    alias: str
    allow_pickle: bool = False
    """Whether the MLModel lets pickle files be loaded."""


@dataclass(frozen=True)
class Observed:
    """All that a decision about a RetrainSchedule depends on, beside the object itself."""

    platform: Platform
    model: Object | None = None
    registered: Registered | None = None
    """None where the MLModel is missing, or its source is no alias."""
    deployments: Mapping[str, Object] = field(default_factory=dict)
    """The ModelDeployments that triggers name, as far as they exist."""
    followers: Sequence[Object] = ()
    """The ModelDeployments that follow the model, and stay."""
    jobs: Mapping[str, Object] = field(default_factory=dict)
    """By name."""
    pods: Sequence[Object] = ()
    tracked: Tracked | None = None
    """Of the run under way."""
    alias: str | None = None
    """The version that the alias stands for; empty for none, None while that is not known."""
    tags: Mapping[str, str] | None = None
    """Of the champion that the last promoted run made; None while they are not known."""
    silence: TrackingError | None = None
    """Why something of MLflow is not known."""
    channels: frozenset[str] = frozenset()
    delivered: frozenset[str] = frozenset()
    line: Sequence[Stand] = ()
    """The other runs of the namespace that train or wait for their turn, as long as an own one has not begun."""


def model_ref(obj: Object) -> Ref:
    """The MLModel that a RetrainSchedule (a raw object) refers to."""
    return Ref("MLModel", obj["metadata"]["namespace"], str(obj.get("spec", {}).get("model", "")))


def references(obj: Object) -> Sequence[Ref]:
    """The MLModel, the ModelDeployments of the triggers, and the line that a run waits in."""
    namespace, triggers = obj["metadata"]["namespace"], obj.get("spec", {}).get("triggers") or {}
    named = {str((triggers.get(kind) or {}).get("deployment", "")) for kind in ("drift", "performance")} - {""}
    return [model_ref(obj), *(Ref("ModelDeployment", namespace, name) for name in sorted(named)), *joined(obj)]


def experiment(schedule: RetrainSchedule) -> str:
    """The MLflow experiment that all runs of a schedule log to."""
    return f"{schedule.metadata['namespace']}/{schedule.metadata['name']}"


def message_keys(schedule: RetrainSchedule) -> dict[str, str]:
    """The keys of all messages that the runs in status may cause, and what status calls each: event and channel."""
    return {
        message_key(schedule, run, event, notify.channel): f"{event}/{notify.channel}"
        for run in schedule.status.runs
        for notify in schedule.spec.notify
        for event in notify.events
    }


def message_key(schedule: RetrainSchedule, run: Run, event: str, channel: str) -> str:
    """What one message is known by."""
    return metadata.fingerprint([schedule.metadata["uid"], run.name, event, channel], 16)


async def observe(
    schedule: RetrainSchedule, view: View, platform: Platform, tracking: Tracking, notifier: Notifier
) -> Observed:
    """Gather model, deployments, Jobs and pods from memory, and ask MLflow what the present run depends on."""
    namespace, name = schedule.metadata["namespace"], schedule.metadata["name"]
    raw = {"metadata": schedule.metadata, "spec": schedule.spec.dump()}
    model_at, *triggers = references(raw)
    model = view.get(model_at)
    registered = _registered(model)
    jobs = {job["metadata"]["name"]: job for job in view.children(schedule.metadata["uid"], JOB.kind)}
    asked = await _ask(schedule, registered, jobs, tracking)
    return Observed(
        platform=platform,
        model=model,
        registered=registered,
        deployments={ref.name: found for ref in triggers if (found := view.get(ref)) is not None},
        followers=[obj for obj in view.referrers(model_at, "ModelDeployment") if _follows(obj)],
        jobs=jobs,
        pods=view.pods(metadata.SCHEDULE, namespace, name),
        tracked=asked.tracked,
        alias=asked.alias,
        tags=asked.tags,
        silence=asked.silence,
        channels=notifier.channels(),
        delivered=notifier.delivered(message_keys(schedule)),
        line=_line(schedule, view, platform),
    )


def _line(schedule: RetrainSchedule, view: View, platform: Platform) -> Sequence[Stand]:
    run = present(schedule.status.runs)
    if run is None or run.stage != "Queued" or not platform.max_concurrent_runs:
        return ()
    return others(view, schedule.metadata["namespace"], schedule.metadata["uid"])


@dataclass
class _Asked:
    """What MLflow has answered until now."""

    tracked: Tracked | None = None
    alias: str | None = None
    tags: Mapping[str, str] | None = None
    silence: TrackingError | None = None


async def _ask(
    schedule: RetrainSchedule, registered: Registered | None, jobs: Mapping[str, Object], tracking: Tracking
) -> _Asked:
    """Ask one thing after the other; the first that is not answered ends it, since the rest would only wait as well."""
    asked, champion = _Asked(), schedule.status.champion
    run = present(schedule.status.runs)
    if registered is None:
        return asked
    try:
        asked.alias = await tracking.alias(registered.name, registered.alias, _alias_age(schedule, run))
        if champion is not None and not champion.moved_to:
            age = TAGS_SECONDS if _settled(schedule) else SOON
            asked.tags = await tracking.tags(registered.name, champion.version, age)
        if run is not None and run.stage == "Training":
            age = NOW_SECONDS if _over(jobs.get(run.name)) else WHILE_TRAINING
            asked.tracked = await tracking.tracked(experiment(schedule), registered.name, run.name, age)
    except TrackingError as error:
        asked.silence = error
    return asked


def present(runs: Sequence[Run]) -> Run | None:
    """The run that is under way, or else the one that is to begin."""
    living = [run for run in runs if run.stage != "Ended"]
    return next((run for run in living if run.under_way), living[-1] if living else None)


def _alias_age(schedule: RetrainSchedule, run: Run | None) -> float:
    """How old the answer may be: what is about to be decided by it must be of now."""
    return SOON if run is not None or not _settled(schedule) else RESTING


def _settled(schedule: RetrainSchedule) -> bool:
    champion = schedule.status.champion
    return champion is None or champion.confirmed_at is not None


def _over(job: Object | None) -> bool:
    """Whether a Job has ended, or is not there."""
    return job is None or has_ended(job)


def _registered(model: Object | None) -> Registered | None:
    spec = (model or {}).get("spec", {})
    match = ALIAS.match(spec.get("source", {}).get("uri", ""))
    return Registered(match["name"], match["alias"], bool(spec.get("allowPickle"))) if match else None


def _follows(deployment: Object) -> bool:
    """Whether it is to serve what is current: not if it is pinned, or on its way out."""
    pinned = deployment.get("spec", {}).get("model", {}).get("revision")
    return not pinned and "deletionTimestamp" not in deployment["metadata"]
