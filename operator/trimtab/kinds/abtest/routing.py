"""Who gets how many of the users now: what was asked for, what was decided, and what is not there any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from trimtab.core.conditions import parse_time, timestamp
from trimtab.evidence.bandit import next_weights
from trimtab.evidence.tally import Segment
from trimtab.kinds.abtest.api import ABTest, Bandit
from trimtab.kinds.abtest.arms import Resolved
from trimtab.kinds.abtest.design import design
from trimtab.kinds.abtest.layout import routed
from trimtab.kinds.abtest.status import RunStatus, Share, VerdictStatus
from trimtab.traffic.state import RouterStatus

STEP = 5
"""Drawn shares are rounded to this many percent: a change that nobody can learn from is not worth a segment."""


def wanted(test: ABTest, run: RunStatus, verdict: VerdictStatus, arms: Sequence[Resolved]) -> RouterStatus:
    """What the routers are to do. Without a control that could take users, they do what they were told last."""
    gone = {arm.name for arm in arms if arm.reason == "ArmNotFound"}
    told = test.status.router
    target = _target(test, verdict)
    if target:
        if target in gone and test.spec.control in gone and told is not None:
            return told
        return routed(test, run, {}).only(test.spec.control if target in gone else target)
    if test.spec.control in gone and told is not None:
        return told
    return routed(test, run, {name: 0 if name in gone else share for name, share in shares(test, run).items()})


def shares(test: ABTest, run: RunStatus) -> dict[str, int]:
    """The shares that are asked for, or drawn; the control takes those of arms that were stopped."""
    given = {share.name: share.percent for share in run.drawn} if test.spec.bandit else {}
    asked = given or {arm.name: arm.weight for arm in test.spec.arms}
    return {name: 0 if name in run.stopped else share for name, share in asked.items()}


def drawn(test: ABTest, run: RunStatus, segments: Sequence[Segment], now: datetime) -> RunStatus:
    """The run with the shares of the next batch, when the present one is over."""
    bandit = test.spec.bandit
    if bandit is None or not segments or len(test.spec.arms) - len(run.stopped) < 2:
        return run
    since = parse_time(run.drawn_at or run.started_at)
    if now - since < timedelta(seconds=bandit.batch_seconds):
        return run
    # Later batches of the same length begin at the same moments, however late anybody looks.
    batches = int((now - since).total_seconds()) // bandit.batch_seconds
    weights = next_weights(
        design(test.spec, without=run.stopped),
        segments,
        run=run.id,
        batch=run.batch + batches,
        floor_percent=bandit.floor_percent,
    )
    return run.model_copy(
        update={
            "batch": run.batch + batches,
            "drawn": _rounded(test, run, bandit, weights),
            "drawn_at": timestamp(since + timedelta(seconds=batches * bandit.batch_seconds)),
        }
    )


def _target(test: ABTest, verdict: VerdictStatus) -> str:
    """The arm that gets everybody, if one does."""
    if not verdict.final:
        return ""
    return verdict.winner if verdict.decision in ("Win", "Promoted") else test.spec.control


def _rounded(test: ABTest, run: RunStatus, bandit: Bandit, weights: Mapping[str, float]) -> list[Share]:
    """Whole steps within what was set aside, none below the floor; the control has the rest."""
    most = {arm.name: arm.slots // 100 for arm in run.arms}
    control, floor = test.spec.control, bandit.floor_percent
    percents = {
        name: min(max(round(weight / STEP) * STEP, floor), most[name])
        for name, weight in weights.items()
        if name != control
    }
    while sum(percents.values()) > 100 - floor:
        largest = max(sorted(percents), key=lambda name: percents[name])
        percents[largest] -= min(STEP, percents[largest] - floor) or 1
    rest = 100 - sum(percents.values())
    return [
        Share(name=arm.name, percent=percents.get(arm.name, rest if arm.name == control else 0)) for arm in run.arms
    ]
