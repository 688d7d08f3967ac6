"""Runs: one experiment's counts must never be taken for another's.

Whoever changes what is compared, by what, or who is asked, asks another question. The answer to the old one is kept in
`status.history`; the new run has counts, slots and a verdict of its own. Weights, durations, the way of deciding and a
pause leave the question as it is, and so do they leave the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from trimtab.core import metadata
from trimtab.core.conditions import timestamp
from trimtab.kinds.abtest.api import ABTest
from trimtab.kinds.abtest.arms import Resolved
from trimtab.kinds.abtest.layout import fits, set_aside
from trimtab.kinds.abtest.status import HISTORY_ROWS, Answered, RunArm, RunRow, RunStatus

RUN_DIGITS = 10


def definition(test: ABTest) -> str:
    """A hash of everything in the spec that makes an experiment this one."""
    spec = test.spec
    arms = [[arm.name, arm.deployment] for arm in spec.arms]
    asked = [arms, spec.control, spec.objective.dump(), [g.dump() for g in spec.guardrails], spec.assignment.dump()]
    return metadata.fingerprint([test.metadata["uid"], *asked], RUN_DIGITS)


def over(test: ABTest, arms: Sequence[Resolved]) -> str:
    """Why the present run cannot go on, or nothing."""
    run, verdict = test.status.run, test.status.verdict
    if run is None:
        return "there was none"
    if run.definition != definition(test):
        return "the spec asks for another experiment"
    if verdict is not None and verdict.final:
        return ""
    tested = {arm.name: arm.revision for arm in run.arms}
    moved = [arm.name for arm in arms if not arm.reason and arm.revision != tested[arm.name]]
    if moved:
        return f"arm {moved[0]} serves another revision"
    return "" if fits(test.spec, run) else "its weights outgrew the slots that were set aside"


def begun(test: ABTest, arms: Sequence[Resolved], now: datetime) -> RunStatus:
    """A run that begins now."""
    defined, slots = definition(test), set_aside(test.spec)
    notes = test.metadata.get("annotations") or {}
    return RunStatus(
        id=metadata.fingerprint([defined, [arm.revision for arm in arms], timestamp(now)], RUN_DIGITS),
        definition=defined,
        started_at=timestamp(now),
        arms=[RunArm(name=arm.name, revision=arm.revision, slots=slots[arm.name]) for arm in arms],
        answered=Answered(
            promote=str(notes.get(metadata.PROMOTE, ""))[:256], abort=str(notes.get(metadata.ABORT, ""))[:256]
        ),
    )


def followed(run: RunStatus, arms: Sequence[Resolved]) -> RunStatus:
    """The same after its verdict, when deployments may roll out again: each arm is what its deployment serves."""
    serve = {arm.name: arm.revision for arm in arms if not arm.reason}
    return run.model_copy(
        update={"arms": [arm.model_copy(update={"revision": serve.get(arm.name, arm.revision)}) for arm in run.arms]}
    )


def archived(test: ABTest, now: datetime, why: str) -> list[RunRow]:
    """The history with the run that ends now, the last one first."""
    run, verdict, evidence = test.status.run, test.status.verdict, test.status.evidence
    if run is None:
        return test.status.history
    row = RunRow(
        id=run.id,
        started_at=run.started_at,
        ended_at=timestamp(now),
        decision=verdict.decision if verdict else "",
        winner=verdict.winner if verdict else "",
        reason=f"{verdict.reason}; over because {why}"[:2048] if verdict else why,
        summary=evidence.summary if evidence else "",
    )
    return [row, *test.status.history][:HISTORY_ROWS]
