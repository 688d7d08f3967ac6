"""The conditions of an ABTest: what holds, and if not, who can do something about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trimtab.core import conditions, metadata
from trimtab.core.conditions import Condition
from trimtab.evidence.arrivals import uncounted
from trimtab.evidence.tally import Tally
from trimtab.kinds.abtest.api import ABTest
from trimtab.kinds.abtest.arms import Resolved
from trimtab.kinds.abtest.status import PowerStatus, RunStatus, VerdictStatus
from trimtab.kinds.abtest.verdict import Wish

ENOUGH_REQUESTS = 200
"""Requests of an arm after which it is worth saying that nobody reports outcomes."""
DAY = 86_400
BY_OUTCOMES = ("Outcome", "OutcomeMean")


@dataclass(frozen=True)
class Standing:
    """All that conditions are told from."""

    arms: Sequence[Resolved]
    run: RunStatus | None = None
    verdict: VerdictStatus | None = None
    wish: Wish = field(default_factory=Wish)
    routers: int = 0
    """Routers that are ready."""
    confirmed: bool = False
    """All of them do what they are told."""
    totals: Mapping[str, Tally] = field(default_factory=dict)
    """What was counted of each arm in this run."""
    power: PowerStatus | None = None
    queries: str = ""
    """Which queries fail, and why."""
    waiting: str = ""
    """Why a new run has to begin that cannot begin yet."""


def judge(test: ABTest, at: Standing) -> Iterable[Condition]:
    """All conditions but their times."""
    arms, measured, concluded = _arms(at), _measured(test, at), _concluded(test, at)
    yield arms
    yield measured
    yield concluded
    yield _applied(at)
    yield _powered(test, at)
    yield from _overall(test, at, arms, measured, concluded)


def _overall(
    test: ABTest, at: Standing, arms: Condition, measured: Condition, concluded: Condition
) -> Iterable[Condition]:
    if arms.status == "False":
        verdict = conditions.failing if arms.reason == "ArmNotFound" or at.run else conditions.progressing
        return verdict(arms.reason, arms.message + _meanwhile(test, at))
    if at.wish.refused:
        return conditions.failing("PromotionRefused", at.wish.refused)
    if not at.confirmed:
        applied = _applied(at)
        return conditions.progressing(applied.reason, applied.message)
    if concluded.reason == "SampleRatioMismatch":
        return conditions.failing("SampleRatioMismatch", concluded.message)
    if concluded.status == "False" and measured.status == "False" and not test.spec.suspend:
        return conditions.ready(measured.reason, measured.message)
    untested = "; users are not counted, see condition Measured" if measured.reason == "UsersNotCounted" else ""
    return conditions.ready(concluded.reason, concluded.message + untested)


def _meanwhile(test: ABTest, at: Standing) -> str:
    if at.run is None:
        return "; the experiment begins when all arms answer"
    if at.waiting:
        return f"; a new run begins when all arms answer, because {at.waiting}; until then routers do as they were told"
    gone = [arm.name for arm in at.arms if arm.reason == "ArmNotFound"]
    if test.spec.control in gone:
        return "; it is the control, so routers do as they were told last"
    return "; its users go to the control" if gone else ""


def _arms(at: Standing) -> Condition:
    wrong = [arm for arm in at.arms if arm.reason]
    if not wrong:
        return Condition("ArmsReady", "True", "ArmsAvailable", "every arm has a pod that answers requests")
    reason = "ArmNotFound" if any(arm.reason == "ArmNotFound" for arm in wrong) else "ArmNotReady"
    return Condition("ArmsReady", "False", reason, "; ".join(arm.message for arm in wrong))


def _applied(at: Standing) -> Condition:
    if at.confirmed:
        return Condition("TrafficApplied", "True", "RoutersConfirmed", "all routers confirm the shares")
    if not at.routers:
        return Condition("TrafficApplied", "False", "RoutersStarting", "no router is ready yet")
    message = f"waiting for all {at.routers} routers to confirm what they were told"
    return Condition("TrafficApplied", "False", "TrafficMoving", message)


def _measured(test: ABTest, at: Standing) -> Condition:
    if at.queries:
        return Condition("Measured", "False", "QueryFailed", at.queries)
    requests = sum(tally.requests for tally in at.totals.values())
    if not requests:
        return Condition("Measured", "Unknown", "NothingCounted", "no request has been counted in this run yet")
    over = at.verdict is not None and at.verdict.final
    if at.confirmed and at.run is not None and not at.run.counted and not over:
        message = "the weights were changed too often to be kept apart; set assignment.salt to begin a new run"
        return Condition("Measured", "False", "TooManyChanges", message)
    mute = [name for name, tally in at.totals.items() if tally.requests >= ENOUGH_REQUESTS and not tally.reported]
    if test.spec.objective.metric in BY_OUTCOMES and mute:
        return Condition("Measured", "False", "NoOutcomes", _mute(at.totals, sorted(mute)))
    counting = f"{requests:.0f} requests have been counted in this run"
    if nameless := _nameless(at.totals):
        return Condition("Measured", "True", "UsersNotCounted", f"{counting}{_uncounted(test, nameless)}")
    return Condition("Measured", "True", "Counting", counting)


def _nameless(totals: Mapping[str, Tally]) -> list[str]:
    return [name for name in uncounted(totals) if totals[name].requests >= ENOUGH_REQUESTS]


def _uncounted(test: ABTest, arms: Sequence[str]) -> str:
    deployments = ", ".join(arm.deployment for arm in test.spec.arms if arm.name in arms)
    header = test.spec.assignment.header
    return (
        f", but no user of {', '.join(arms)}: nobody tests whether users come as the weights say, nor how alike the "
        f"requests of one are; set feedback.userHeader of ModelDeployment {deployments} to {header} and send it"
    )


def _mute(totals: Mapping[str, Tally], mute: Sequence[str]) -> str:
    counts = ", ".join(f"{name} ({totals[name].requests:.0f} requests)" for name in mute)
    return (
        f"no outcome has been reported for {counts}: clients must send the token of each answer to "
        "/trimtab/v1/feedback of any pod of its deployment, and all pods need one spec.feedback.keySecretName"
    )


def _powered(test: ABTest, at: Standing) -> Condition:
    if at.power is None or at.power.days is None:
        message = "how many users it takes can be told when there are some and something has happened to them"
        return Condition("Powered", "Unknown", "TrafficUnknown", message)
    needs = f"it takes about {at.power.needed_users} users, {at.power.days} days at the present traffic"
    if float(at.power.days) * DAY <= test.spec.max_seconds:
        return Condition("Powered", "True", "EnoughTraffic", needs)
    ends = f"maxSeconds ends it after {test.spec.max_seconds / DAY:.3g}"
    message = f"{needs}, and {ends}: raise maxSeconds or objective.minimumEffectPercent, or send it more users"
    return Condition("Powered", "False", "TooFewUsers", message)


def _concluded(test: ABTest, at: Standing) -> Condition:
    verdict = at.verdict
    if verdict is None:
        return Condition("Concluded", "False", "Waiting", "the experiment has not begun")
    if verdict.final:
        won = f"{verdict.winner} has all users" if verdict.winner else f"{test.spec.control} has all users"
        return Condition("Concluded", "True", _reason(verdict), f"{won}: {verdict.reason}")
    stopped = f"; stopped: {', '.join(at.run.stopped)}" if at.run and at.run.stopped else ""
    if test.spec.suspend:
        message = f"nothing is decided while spec.suspend is true; last: {verdict.reason}{stopped}"
        return Condition("Concluded", "False", "Suspended", message)
    if verdict.decision == "Paused":
        return Condition("Concluded", "False", "SampleRatioMismatch", verdict.reason + _by_hand(test))
    if verdict.decision in ("Win", "Inconclusive"):
        message = f"{verdict.reason}{_by_hand(test, verdict.winner)}"
        return Condition("Concluded", "False", "AwaitingDecision", message)
    reason = "Waiting" if verdict.decision == "Waiting" else "Running"
    return Condition("Concluded", "False", reason, verdict.reason + stopped)


def _reason(verdict: VerdictStatus) -> str:
    """The word for a verdict that is final."""
    match verdict.decision:
        case "Win":
            return "WinnerFound"
        case "Promoted":
            return "PromotedByHand"
        case "Aborted":
            return "Aborted"
        case "StopHarm":
            return "HarmFound"
        case "StopFutile":
            return "NoDifference"
        case _:
            return "Inconclusive"


def _by_hand(test: ABTest, winner: str = "") -> str:
    command = f"kubectl annotate abt {test.metadata['name']} {metadata.PROMOTE}={winner or 'ARM'}"
    return f"; to decide: {command}, or change assignment.salt to begin anew"
