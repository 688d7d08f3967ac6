"""What is decided, by the evidence or by a person.

    Waiting ─► Running ─► Win, Auto ──────────────► all users to the winner
                  │     ─► Win, Manual ─► a person ─► Promoted, Aborted
                  │     ─► StopHarm, one arm of several: its users to the control, the rest goes on
                  │     ─► StopHarm, StopFutile, Inconclusive ─► all users to the control
                  ├─► Inconclusive, Pause ─► a person
                  └─► Paused, users did not come as the weights say ─► a person, or a new run

Nothing here ever goes back by itself. What a person says is heard at any time, and a person may change his mind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from trimtab.core import metadata
from trimtab.core.conditions import timestamp
from trimtab.kinds.abtest.api import ABTest
from trimtab.kinds.abtest.arms import Resolved
from trimtab.kinds.abtest.findings import Findings
from trimtab.kinds.abtest.status import Answered, RunStatus, VerdictStatus


@dataclass(frozen=True)
class Wish:
    """What a person asks for by annotation, or why it cannot be done."""

    arm: str = ""
    abort: bool = False
    refused: str = ""


def wish(test: ABTest, run: RunStatus, arms: Sequence[Resolved]) -> Wish:
    """What the annotations ask of this run. To abort goes before to promote."""
    notes = test.metadata.get("annotations") or {}
    abort, promote = str(notes.get(metadata.ABORT, ""))[:256], str(notes.get(metadata.PROMOTE, ""))[:256]
    if abort and (abort != run.answered.abort or abort == run.id):
        return Wish(abort=True)
    if not promote or promote == run.answered.promote:
        return Wish()
    found = next((arm for arm in arms if arm.name == promote), None)
    if found is None:
        names = ", ".join(arm.name for arm in arms)
        return Wish(refused=f"the annotation {metadata.PROMOTE} names no arm: {promote!r} is none of {names}")
    if found.reason:
        return Wish(refused=f"{promote} cannot be promoted yet: {found.message}")
    return Wish(arm=promote)


def answered(test: ABTest, run: RunStatus) -> Answered:
    """The annotations of earlier runs that are still there; once taken away, the same words are heard again."""
    notes = test.metadata.get("annotations") or {}
    kept = {
        "promote": run.answered.promote if notes.get(metadata.PROMOTE) == run.answered.promote else "",
        "abort": run.answered.abort if notes.get(metadata.ABORT) == run.answered.abort else "",
    }
    return Answered.model_validate(kept)


def next_verdict(
    test: ABTest, asked: Wish, found: Findings | None, before: VerdictStatus | None, now: datetime
) -> VerdictStatus:
    """The verdict after this pass; `found` is None where nothing is to be judged."""
    verdict = _said(asked, before) or _judged(test, found, before)
    unchanged = before is not None and (before.decision, before.winner, before.final) == (
        verdict.decision,
        verdict.winner,
        verdict.final,
    )
    if unchanged and before is not None:
        return before if before.final else verdict.model_copy(update={"at": before.at})
    return verdict.model_copy(update={"at": timestamp(now)})


def _said(asked: Wish, before: VerdictStatus | None) -> VerdictStatus | None:
    """The verdict of a person, or the one that nobody has objected to."""
    if asked.abort:
        return _verdict("Aborted", "", f"the annotation {metadata.ABORT} asks for it", final=True)
    if asked.arm:
        return _verdict("Promoted", asked.arm, f"the annotation {metadata.PROMOTE} asks for it", final=True)
    return before if before is not None and before.final else None


def _judged(test: ABTest, found: Findings | None, before: VerdictStatus | None) -> VerdictStatus:
    if found is None:
        return before or _verdict("Waiting", "", "nothing was counted yet")
    harm = "; ".join(found.harmed.values())
    if found.ended:
        return _verdict("StopHarm", test.spec.control, harm, final=True)
    if before is not None and before.decision in ("Paused", "Inconclusive"):
        return before
    if before is not None and before.decision == "Win" and before.winner not in found.harmed:
        return before.model_copy(update={"final": test.spec.decision == "Auto" and not found.held})
    fresh = _fresh(test, found)
    return fresh.model_copy(update={"reason": f"{harm}; {fresh.reason}"[:2048]}) if harm else fresh


def _fresh(test: ABTest, found: Findings) -> VerdictStatus:
    control, auto, overall = test.spec.control, test.spec.decision == "Auto", found.overall
    if found.held and overall.decision in ("Win", "StopFutile"):
        return _verdict("Running", "", f"{found.held}; {overall.reason}")
    if overall.decision == "Win":
        return _verdict("Win", overall.winner or "", overall.reason, final=auto)
    if overall.decision == "StopFutile":
        return _verdict("StopFutile", control, overall.reason, final=True)
    if overall.decision == "Inconclusive":
        return _verdict("Inconclusive", "", overall.reason, final=test.spec.on_inconclusive == "KeepControl")
    if overall.decision == "StopHarm":
        return _verdict("Running", "", overall.reason)
    return _verdict(overall.decision, "", overall.reason)


def _verdict(decision: str, winner: str, reason: str, *, final: bool = False) -> VerdictStatus:
    return VerdictStatus.model_validate(
        {"decision": decision, "winner": winner, "reason": reason[:2048], "final": final, "at": ""}
    )
