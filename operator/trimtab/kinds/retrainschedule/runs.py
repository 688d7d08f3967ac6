"""The part of the status that remembers runs. It is all the memory there is: a new process goes on from here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trimtab.core.api import ApiModel, Digest, Short, Text
from trimtab.kinds.retrainschedule.gate import GateStatus

Time = Annotated[str, Field(max_length=20, json_schema_extra={"format": "date-time"})]
Trigger = Literal["Cron", "Drift", "Performance", "Manual"]
Stage = Literal["Queued", "Training", "Grading", "AwaitingApproval", "RollingOut", "Ended"]
Outcome = Literal["Promoted", "Rejected", "RolledBack", "Failed", "Skipped", "Expired", "Superseded"]
Effectiveness = Literal["Pending", "Recovered", "NotRecovered"]
Slot = Annotated[str, Field(max_length=128)]
Version = Annotated[str, Field(max_length=20)]
RunName = Annotated[str, Field(max_length=63)]

BAD: tuple[Outcome, ...] = ("Failed", "Rejected", "RolledBack")


class Run(ApiModel):
    """One run: a Job, the version it made, the verdict on it, and what became of it."""

    name: RunName
    """The name of its Job, and its id in MLflow: a hash of trigger and slot, so that a slot has one run."""
    trigger: Trigger
    """What started it."""
    slot: Slot
    """What exactly: the scheduled time, the episode of drift, the revision that serves badly, or the annotation."""
    stage: Stage = "Queued"
    """Queued: its Job is not there yet. Training, Grading: a Job is at work. AwaitingApproval: a person is asked.
    RollingOut: the ModelDeployments of the model try it. Ended: see outcome."""
    stage_at: Time
    """When the stage began."""
    outcome: Outcome | None = None
    """How it ended."""
    reason: Annotated[str, Field(max_length=128)] = ""
    """Why, in one word."""
    message: Text = ""
    """Why, or what it waits for."""
    recorded_at: Time
    """When the trigger was taken."""
    queued_at: Time | None = None
    """Since when it waits, where that is longer: a run that takes over from one that waited takes its turn, too."""
    admitted_at: Time | None = None
    """When it was given one of the places to train in its namespace."""
    started_at: Time | None = None
    """When its Job was seen."""
    ended_at: Time | None = None
    """When it ended."""
    missing_at: Time | None = None
    """Since when its Job is missing."""
    cause: Text = ""
    """What started it, in a sentence."""
    features: Annotated[list[Short], Field(max_length=10)] = []
    """The features that had drifted most when it was started."""
    model: Short = ""
    """The registered model it makes a version of."""
    mlflow_run_id: Annotated[str, Field(max_length=64)] = ""
    """The MLflow run it logs to."""
    version: Version = ""
    """The version it registered."""
    digest: Digest | None = None
    """The bundle that was imported from it."""
    champion: Version = ""
    """The version that it was compared with, and is to follow."""
    progress: Annotated[str, Field(max_length=128)] = ""
    """How far it says it is."""
    gate: GateStatus | None = None
    """The evaluator's verdict."""
    promoted_at: Time | None = None
    """When the ModelDeployments had taken it."""
    excess: Annotated[str, Field(max_length=32)] = ""
    """The drift score, or the metric, that started it."""
    effect: Effectiveness | None = None
    """Whether what had started it was better after promotion."""
    effect_at: Time | None = None
    """When that was known."""
    notified: Annotated[list[Annotated[str, Field(max_length=96)]], Field(max_length=64)] = []
    """Messages that were delivered: event and channel."""

    @property
    def under_way(self) -> bool:
        """True from its Job to its end."""
        return self.stage not in ("Queued", "Ended")


class Candidate(ApiModel):
    """The version that the MLModel is to import in place of the alias."""

    version: Version
    """The version."""
    uri: Annotated[str, Field(max_length=1024)]
    """models:/NAME/VERSION."""
    run: RunName
    """The run that made it."""


class Champion(ApiModel):
    """The version that the last promoted run made the champion: what alias and tags in MLflow are repaired from."""

    model: Short
    """The registered model."""
    alias: Annotated[str, Field(max_length=128)]
    """The alias."""
    version: Version
    """The version."""
    run: RunName
    """The run that made it."""
    previous: Version = ""
    """The version the alias stood for before."""
    gate: Annotated[str, Field(max_length=512)] = ""
    """The verdict it was promoted by."""
    promoted_at: Time
    """When."""
    confirmed_at: Time | None = None
    """When the alias was first seen to stand for it."""
    moved_to: Version = ""
    """The version that somebody else gave the alias to afterwards. Nothing is repaired then."""


class Circuit(ApiModel):
    """How many runs in a row came to nothing."""

    failures: Annotated[int, Field(ge=0)] = 0
    """Failed, rejected and rolled back runs since the last success."""
    last_at: Time | None = None
    """When the last of them ended."""
    opened_at: Time | None = None
    """Since when no run is started."""
    reset: Annotated[str, Field(max_length=128)] = ""
    """The value of the annotation trimtab.dev/reset-circuit that was honoured last."""


class Passed(ApiModel):
    """A time of the calendar that came without a run."""

    slot: Slot
    """The scheduled time."""
    reason: Annotated[str, Field(max_length=128)]
    """Why, in one word."""
    message: Text
    """Why, and what to do."""


class Calendar(ApiModel):
    """How far the calendar has been followed."""

    key: Annotated[str, Field(max_length=16)]
    """A hash of schedule and time zone: others begin anew."""
    since: Time
    """All times until then are done with."""
