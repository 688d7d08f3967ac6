"""What an ABTest's status holds: the run, what routers are told, what was counted, and what came of it.

The ledger and the router's state are the memory of the experiment. All else in here can be computed from them and from
the spec, and is there for people.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trimtab.core.api import ApiModel, Conditions, Text
from trimtab.evidence.ledger import LedgerStatus
from trimtab.traffic.state import RouterStatus

HISTORY_ROWS = 10
Moment = Annotated[str, Field(max_length=20, json_schema_extra={"format": "date-time"})]
Decimal = Annotated[str, Field(max_length=32)]
Name = Annotated[str, Field(max_length=32)]
Count = Annotated[int, Field(ge=0)]
Percent = Annotated[int, Field(ge=0, le=100)]
Decision = Literal[
    "Waiting", "Running", "Paused", "StopHarm", "Win", "StopFutile", "Inconclusive", "Promoted", "Aborted"
]
BY_NAME = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class Share(ApiModel):
    """The share of one arm."""

    name: Name
    """The arm."""
    percent: Percent
    """Its share of the users."""


Shares = Annotated[list[Share], Field(max_length=8, json_schema_extra=BY_NAME)]


class Answered(ApiModel):
    """Annotations that were there before this run, and so are not meant for it."""

    promote: Annotated[str, Field(max_length=256)] = ""
    """The value of trimtab.dev/promote."""
    abort: Annotated[str, Field(max_length=256)] = ""
    """The value of trimtab.dev/abort."""


class RunArm(ApiModel):
    """One arm as it was when the run began."""

    name: Name
    """The arm."""
    revision: Annotated[str, Field(max_length=16)]
    """The revision of its deployment that is compared."""
    slots: Annotated[int, Field(ge=0, le=10_000)]
    """Slots of 10,000 that were set aside for it; the control needs none."""


class RunStatus(ApiModel):
    """One run of the experiment: what would make its counts another experiment's makes another run."""

    id: Annotated[str, Field(max_length=16)]
    """A hash of arms, their revisions, control, objective, guardrails and assignment."""
    definition: Annotated[str, Field(max_length=16)]
    """A hash of the same without the revisions."""
    started_at: Moment
    """When it began."""
    arms: Annotated[list[RunArm], Field(max_length=8, json_schema_extra=BY_NAME)]
    """What is compared."""
    answered: Answered = Answered()
    """Annotations of an earlier run."""
    stopped: Annotated[list[Name], Field(max_length=8)] = []
    """Arms that were shown to harm, and get no more users."""
    counted: Shares = []
    """The shares that are being counted; none while routers change to others."""
    batch: Count = 0
    """How often the bandit has drawn shares."""
    drawn: Shares = []
    """The shares that the bandit drew last."""
    drawn_at: Moment | None = None
    """When it drew them."""


class ArmStatus(ApiModel):
    """One arm, and what was counted for it in this run."""

    name: Name
    """The arm."""
    deployment: Annotated[str, Field(max_length=63)]
    """Its ModelDeployment."""
    revision: Annotated[str, Field(max_length=16)] = ""
    """The revision that was last seen to serve."""
    available: Count = 0
    """Pods of it that are ready."""
    weight: Percent = 0
    """The share of the users that it is to get."""
    applied: Percent | None = None
    """The share that all routers have confirmed; left out while they have not."""
    users: Count = 0
    """Users, as well as they can be counted."""
    requests: Count = 0
    """Requests that routers sent to it."""
    errors: Count = 0
    """Of these, the ones that failed."""
    outcomes: Count = 0
    """Outcomes that were reported for it."""
    mean: Decimal | None = None
    """The objective's mean: events per user or per request."""


class ArmEvidenceStatus(ApiModel):
    """One arm against the control."""

    name: Name
    """The arm."""
    lift: Decimal | None = None
    """By how many percent its mean differs from the control's."""
    lower: Decimal | None = None
    """The lower end of the confidence sequence, in percent: valid at any time."""
    upper: Decimal | None = None
    """The upper end."""
    e_value: Decimal
    """The evidence for an effect in the wanted direction."""


class SampleRatioStatus(ApiModel):
    """Whether users arrived as the weights say."""

    e_value: Decimal
    """The evidence that they did not."""
    mismatch: bool
    """Whether it is enough to trust nothing."""
    segment: Count | None = None
    """The segment where it shows most."""
    arm: Name = ""
    """The arm where it shows most."""


class EvidenceStatus(ApiModel):
    """What the counts say."""

    measured_at: Moment
    """When counts were last written. They are read more often than that."""
    summary: Annotated[str, Field(max_length=256)] = ""
    """The lift of the best arm, with its interval."""
    rule: Annotated[str, Field(max_length=32)] = ""
    """The rule that spoke: Data, SampleRatio, Harm, Win, Futile, Time, or None."""
    reason: Text = ""
    """What it said."""
    arms: Annotated[list[ArmEvidenceStatus], Field(max_length=8, json_schema_extra=BY_NAME)] = []
    """Every arm against the control."""
    srm: SampleRatioStatus | None = None
    """The test of the sample ratio."""


class PowerStatus(ApiModel):
    """Whether the experiment can find what it looks for."""

    needed_users: Count
    """Users of all arms together that a test of fixed size would need."""
    days: Decimal | None = None
    """How long that takes at the traffic so far; left out without traffic."""


class SegmentStatus(ApiModel):
    """A stretch of constant weights."""

    number: Count
    """Its place, from 0."""
    weights: Shares
    """The shares of the arms."""
    seconds: Count
    """How long they were in effect on all routers."""


class VerdictStatus(ApiModel):
    """What was decided."""

    decision: Decision
    """Waiting and Running go on, Paused waits for a person, all others are answers."""
    final: bool = False
    """Whether traffic follows it. It then stays until another run begins or a person decides otherwise."""
    winner: Name = ""
    """The arm that was found, or chosen, to be better."""
    reason: Text
    """Why."""
    at: Moment
    """When the decision was first taken."""


class RunRow(ApiModel):
    """A run that is over."""

    id: Annotated[str, Field(max_length=16)]
    """The run."""
    started_at: Moment
    """When it began."""
    ended_at: Moment
    """When another took its place."""
    decision: Annotated[str, Field(max_length=32)] = ""
    """What had been decided."""
    winner: Name = ""
    """The arm that had won."""
    reason: Text = ""
    """Why."""
    summary: Annotated[str, Field(max_length=256)] = ""
    """The lift of the best arm, with its interval."""


class Status(ApiModel):
    """How the experiment stands."""

    observed_generation: Count = 0
    """The generation of the spec this status was written for."""
    conditions: Conditions = []
    """Ready, ArmsReady, TrafficApplied, Measured, Powered, Concluded; Reconciling and Stalled while they hold."""
    url: Annotated[str, Field(max_length=512)] = ""
    """Where users of the experiment call."""
    weights: Annotated[str, Field(max_length=32)] = ""
    """The shares of the arms, in the order of the spec."""
    users: Count = 0
    """Users of all arms."""
    run: RunStatus | None = None
    """The present run."""
    arms: Annotated[list[ArmStatus], Field(max_length=8, json_schema_extra=BY_NAME)] = []
    """The arms, in the order of the spec."""
    verdict: VerdictStatus | None = None
    """What was decided."""
    evidence: EvidenceStatus | None = None
    """What the counts say."""
    power: PowerStatus | None = None
    """Whether the experiment can find what it looks for."""
    segments: Annotated[list[SegmentStatus], Field(max_length=64)] = []
    """The stretches of constant weights; those of the same weights are one."""
    router: RouterStatus | None = None
    """What the routers are told."""
    ledger: LedgerStatus | None = None
    """What was counted, and where each source was last seen."""
    history: Annotated[list[RunRow], Field(max_length=HISTORY_ROWS)] = []
    """Earlier runs, the last one first."""
