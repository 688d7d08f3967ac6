"""What a RetrainSchedule says of itself: whether it can do its work, what is under way, and what keeps it from more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from trimtab.core import conditions
from trimtab.core.conditions import Condition
from trimtab.kinds.retrainschedule.api import RetrainSchedule, Status
from trimtab.kinds.retrainschedule.due import Occasion, part
from trimtab.kinds.retrainschedule.limits import opened
from trimtab.kinds.retrainschedule.line import AWAITING
from trimtab.kinds.retrainschedule.observe import Observed, present
from trimtab.kinds.retrainschedule.runs import BAD, Run
from trimtab.kinds.retrainschedule.take import Taken
from trimtab.kinds.retrainschedule.walk import Step, approval_command


@dataclass(frozen=True)
class Pass:
    """All that a pass has come to."""

    schedule: RetrainSchedule
    seen: Observed
    taken: Taken
    occasions: Sequence[Occasion]
    step: Step | None
    now: datetime

    @property
    def status(self) -> Status:
        """The status but for its conditions."""
        return self.taken.status


def judge(done: Pass) -> Iterator[Condition]:
    """All conditions."""
    yield from _ready(done)
    yield _model(done)
    yield _triggers(done)
    yield _retraining(done.status)
    yield from _last_run(done.status)
    yield from _held(done)
    yield from _alias(done.status)
    yield from _channels(done)


def _ready(done: Pass) -> tuple[Condition, ...]:
    """In the order in which a person would have to act."""
    model, open_circuit = _model(done), opened(done.status.circuit, done.schedule)
    run = present(done.status.runs)
    if model.status != "True":
        return conditions.failing(model.reason, model.message)
    if done.taken.no_calendar:
        return conditions.failing("CalendarInvalid", done.taken.no_calendar)
    if run is not None:
        return _under_way(run, done.step)
    if open_circuit is not None:
        return conditions.failing("CircuitOpen", open_circuit.message)
    if done.schedule.spec.suspend:
        return conditions.ready("Suspended", "spec.suspend is true: no run is started")
    return conditions.ready("Scheduled", _waits_for(done))


def _under_way(run: Run, step: Step | None) -> tuple[Condition, ...]:
    message = f"run {run.name}: {run.message}"
    if step is not None and step.silent:
        reason = step.reason or "TrackingSilent"
        return (
            Condition("Ready", "Unknown", reason, message),
            Condition("Reconciling", "True", reason, "MLflow is asked again"),
        )
    if run.stage == "AwaitingApproval":
        return conditions.ready("AwaitingApproval", message)
    if run.reason == AWAITING:
        return conditions.ready("RunQueued", message)
    return conditions.ready("RunUnderWay", f"{message} ({run.stage})")


def _waits_for(done: Pass) -> str:
    triggers, parts = done.schedule.spec.triggers, []
    if done.status.next_scheduled_at:
        parts.append(f"{done.status.next_scheduled_at}")
    if triggers.drift is not None:
        parts.append(f"{triggers.drift.level} drift of {triggers.drift.deployment}")
    if triggers.performance is not None:
        parts.append(f"bad {triggers.performance.metric} of {triggers.performance.deployment}")
    waits = " or ".join([*parts, "the annotation trimtab.dev/run"])
    ended = next((run for run in done.status.runs if run.stage == "Ended"), None)
    last = f"; the last run ended as {ended.outcome}: {ended.message}" if ended else ""
    return f"waits for {waits}{last}"


def _model(done: Pass) -> Condition:
    name, seen = done.schedule.spec.model, done.seen
    if seen.model is None:
        message = f"there is no MLModel {name} in this namespace; create it"
        return Condition("ModelResolved", "False", "ModelNotFound", message)
    if seen.registered is None:
        message = f"the source of MLModel {name} has to be an alias, as in models:/NAME@champion, to be given to others"
        return Condition("ModelResolved", "False", "SourceNotAlias", message)
    found = f"the alias {seen.registered.alias} of {seen.registered.name}"
    return Condition("ModelResolved", "True", "AliasFound", f"{found} names the champion")


def _triggers(done: Pass) -> Condition:
    """The first trigger that cannot fire, and why."""
    triggers, seen = done.schedule.spec.triggers, done.seen
    if done.taken.no_calendar:
        return Condition("TriggersReady", "False", "CalendarInvalid", done.taken.no_calendar)
    calendar = done.status.calendar
    if calendar is not None and calendar.since > conditions.timestamp(done.now):
        message = (
            f"times until {calendar.since} are done with, and this clock has not come so far: did it go back? Change "
            "cron.schedule or cron.timeZone to begin anew"
        )
        return Condition("TriggersReady", "False", "ClockWentBack", message)
    for trigger, what in ((triggers.drift, "drift"), (triggers.performance, "quality")):
        if trigger is None:
            continue
        found = seen.deployments.get(trigger.deployment)
        if found is None:
            message = f"there is no ModelDeployment {trigger.deployment} in this namespace; create it"
            return Condition("TriggersReady", "False", "DeploymentNotFound", message)
        if not part(found, what):
            message = f"ModelDeployment {trigger.deployment} tells nothing of {what}; set monitoring.{what} there"
            return Condition("TriggersReady", "False", "NotMonitored", message)
    return Condition("TriggersReady", "True", "TriggersSet", "all triggers can fire")


def _retraining(status: Status) -> Condition:
    run = present(status.runs)
    if run is None:
        return Condition("Retraining", "False", "NoRun", "no run is under way")
    return Condition("Retraining", "True", "RunUnderWay", f"run {run.name} is {run.stage}: {run.cause}")


def _last_run(status: Status) -> Iterator[Condition]:
    run = next((run for run in status.runs if run.stage == "Ended"), None)
    if run is None:
        return
    message = f"run {run.name}: {run.message}"
    if run.outcome == "Promoted":
        yield Condition("LastRunSucceeded", "True", "RunPromoted", message)
    elif run.outcome in BAD:
        yield Condition("LastRunSucceeded", "False", _reason(run), f"{message} ({run.reason})")
    else:
        yield Condition("LastRunSucceeded", "Unknown", "RunWithoutVerdict", f"{message} ({run.outcome})")


def _reason(run: Run) -> str:
    match run.outcome:
        case "Failed":
            return "RunFailed"
        case "Rejected":
            return "RunRejected"
    return "RunRolledBack"


def _held(done: Pass) -> Iterator[Condition]:
    status, schedule = done.status, done.schedule
    if schedule.spec.suspend:
        yield Condition("Suspended", "True", "Suspended", "spec.suspend is true: no run is started")
    run = present(status.runs)
    if run is not None and run.stage == "AwaitingApproval":
        yield Condition("ApprovalPending", "True", "AwaitingApproval", approval_command(schedule, run))
    if (hold := opened(status.circuit, schedule)) is not None:
        yield Condition("CircuitOpen", "True", "CircuitOpen", hold.message)
    if done.taken.held is not None and done.taken.held.reason != "RunUnderWay":
        yield Condition("RetrainBlocked", "True", done.taken.held.reason, done.taken.held.message)
    unmended = next((o for o in done.occasions if o.key in status.acknowledged), None)
    if unmended is not None:
        message = (
            f"{unmended.why}; a run for it did not mend that, and none is started for it again: a person has to look"
        )
        yield Condition("RetrainIneffective", "True", "RetrainIneffective", message)


def _alias(status: Status) -> Iterator[Condition]:
    champion = status.champion
    if champion is not None and champion.moved_to:
        message = (
            f"run {champion.run} gave the alias {champion.alias} to version {champion.version}, and somebody else gave "
            f"it to version {champion.moved_to}; it is left there"
        )
        yield Condition("AliasMoved", "True", "AliasMoved", message)


def _channels(done: Pass) -> Iterator[Condition]:
    named = [notify.channel for notify in done.schedule.spec.notify]
    if not named:
        return
    unknown = [name for name in named if name not in done.seen.channels]
    if unknown:
        known = ", ".join(sorted(done.seen.channels)) or "none"
        message = f"this installation has no channel {', '.join(unknown)}; it has {known}"
        yield Condition("ChannelsReady", "False", "ChannelUnknown", message)
    else:
        yield Condition("ChannelsReady", "True", "ChannelsKnown", "all channels exist")
