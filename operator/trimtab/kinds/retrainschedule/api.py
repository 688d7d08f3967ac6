"""The shape of a RetrainSchedule. These models are its CRD and its `kubectl explain`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from trimtab.core.api import DNS_LABEL, NAME_LIMIT, ApiModel, Conditions, matching, rule, rules
from trimtab.core.objects import Object
from trimtab.core.schema import AGE, READY, Column, Definition, Names
from trimtab.kinds.retrainschedule.gate import Gate
from trimtab.kinds.retrainschedule.job import JobSpec
from trimtab.kinds.retrainschedule.runs import Calendar, Candidate, Champion, Circuit, Passed, Run, Slot, Time
from trimtab.kinds.retrainschedule.triggers import Triggers

# The name of the evaluator's Job is the schedule's, "-", 8 digits and "-gate", and has to fit the 63 of a label.
SCHEDULE_NAME_LIMIT = 48
Event = Literal[
    "RunFailed", "Rejected", "AwaitingApproval", "Promoted", "RolledBack", "RetrainIneffective", "CircuitOpen"
]


class Notify(ApiModel):
    """Whom to tell of what."""

    channel: Annotated[
        str,
        matching(
            r"^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$",
            "notify.channel must be a key of the Secret that notifications.secretName of the chart names",
            max_length=63,
        ),
    ]
    """A channel of this installation: a key of the Secret that the chart's notifications.secretName names."""
    events: Annotated[list[Event], Field(min_length=1, max_length=8)] = [
        "RunFailed",
        "AwaitingApproval",
        "Promoted",
        "RolledBack",
        "RetrainIneffective",
        "CircuitOpen",
    ]
    """Of what."""


class Spec(ApiModel):
    """When to train, by which Job, and what the result must show before it serves."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": rules(
            rule(
                "!has(self.priority) || self.priority == 0 || !has(self.job.queueName) || self.job.queueName == ''",
                "priority is for the operator's own line; with job.queueName Kueue decides, by job.priorityClassName: "
                "leave one of them out",
            ),
        ),
    }

    model: Annotated[
        str,
        matching(
            DNS_LABEL,
            "model must be the name of an MLModel: a-z, 0-9 and '-', and a letter first",
            max_length=NAME_LIMIT,
        ),
    ]
    """An MLModel in this namespace whose source is an alias, models:/NAME@ALIAS. What is promoted gets the alias."""
    triggers: Triggers = Triggers()
    """What starts a run."""
    job: JobSpec
    """The Job that trains."""
    gate: Gate | None = None
    """What the result must show. Without it every result is rolled out."""
    approval: Literal["Auto", "Required"] = "Auto"
    """Required makes what passed the gate wait for the annotation trimtab.dev/approve-run=<run>."""
    approval_timeout_seconds: Annotated[int, Field(ge=60, le=2_592_000)] = 604_800
    """How long it waits for approval."""
    concurrency_policy: Literal["Forbid", "Replace", "Queue"] = "Forbid"
    """What becomes of a scheduled or manual run while another one is under way: Forbid drops it, Replace ends the other
    one unless it is being rolled out, Queue lets the newest wait. Runs for drift and performance always wait."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Which run of this namespace trains first when more are to begin than may train at once (the chart's
    retraining.maxConcurrentRuns): the higher number. With job.queueName Kueue decides."""
    cooldown_seconds: Annotated[int, Field(ge=0, le=31_536_000)] = 86_400
    """How long after the end of a run none is started for drift or performance."""
    max_runs_per_week: Annotated[int, Field(ge=1, le=168)] = 7
    """How many runs may start within a week, not counting those by hand."""
    failure_threshold: Annotated[int, Field(ge=1, le=100)] = 3
    """After so many failed, rejected or rolled back runs in a row none is started until the annotation
    trimtab.dev/reset-circuit gets a new value."""
    suspend: bool = False
    """Start nothing. What is under way goes on. Nothing is caught up on afterwards."""
    history_limit: Annotated[int, Field(ge=1, le=50)] = 10
    """How many ended runs the status remembers."""
    notify: Annotated[
        list[Notify],
        Field(
            max_length=8,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["channel"]},
        ),
    ] = []
    """Whom to tell of what."""


class Status(ApiModel):
    """What runs, what came of it, and what is waited for."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the spec this status was written for."""
    conditions: Conditions = []
    """Ready, ModelResolved, TriggersReady, Retraining, LastRunSucceeded; others while they hold."""
    next_scheduled_at: Time | None = None
    """The next time of the calendar."""
    last_slot: Slot = ""
    """The last time of the calendar that was taken."""
    calendar: Calendar | None = None
    """How far the calendar has been followed."""
    passed: Passed | None = None
    """The last time of the calendar that came without a run."""
    last_outcome: Annotated[str, Field(max_length=64)] = ""
    """The stage of the run under way, or how the last one ended."""
    candidate: Candidate | None = None
    """The version that is being rolled out."""
    champion: Champion | None = None
    """The version that the last promoted run made."""
    circuit: Circuit = Circuit()
    """How many runs in a row came to nothing."""
    acknowledged: Annotated[list[Slot], Field(max_length=64)] = []
    """Episodes of drift and revisions that serve badly which retraining did not mend. They start no run."""
    spent: Annotated[list[Slot], Field(max_length=64)] = []
    """Slots of drift, performance and annotations that have started a run, the last one first."""
    starts: Annotated[list[Time], Field(max_length=168)] = []
    """When runs were started within the last week, the last one first."""
    runs: Annotated[
        list[Run],
        Field(
            max_length=60,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    """The runs, the newest first."""


class RetrainSchedule(ApiModel):
    """One RetrainSchedule, as read from the API server."""

    kind: Literal["RetrainSchedule"] = "RetrainSchedule"
    metadata: dict[str, Any]
    spec: Spec
    status: Status = Status()

    @classmethod
    def parse(cls, obj: Object) -> RetrainSchedule:
        """Read a raw object; pydantic's ValidationError where it does not have this shape."""
        return cls.model_validate(obj)


DEFINITION = Definition(
    names=Names("RetrainSchedule", "retrainschedules", "rts"),
    description="When a better model is made, who judges it, and how it comes to serve.",
    spec=Spec,
    status=Status,
    columns=(
        Column("Model", ".spec.model"),
        Column("Last", ".status.lastOutcome"),
        Column("Next", ".status.nextScheduledAt"),
        *READY,
        Column("Suspend", ".spec.suspend", "boolean", priority=1),
        Column("Candidate", ".status.candidate.version", priority=1),
        AGE,
    ),
    rules=(
        rule(
            f"self.metadata.name.size() <= {SCHEDULE_NAME_LIMIT} && self.metadata.name.matches(r'{DNS_LABEL}')",
            f"metadata.name must be at most {SCHEDULE_NAME_LIMIT} characters of a-z, 0-9 and '-', and start with a "
            "letter: it becomes part of the names of Jobs",
        ),
    ),
)
