"""Pause, resume, promote, abort: which annotation says so, and whether it would do anything now. Pure.

The operator ignores an annotation that means nothing in the object's present state. A person at a terminal is told so
at once, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.cli import target
from trimtab.cli.errors import Failure
from trimtab.core import metadata
from trimtab.core.objects import Object


@dataclass(frozen=True)
class Order:
    """Annotations to set (or, where None, to remove), and what that does, in a sentence."""

    annotations: Mapping[str, str | None]
    effect: str


def order(verb: str, obj: Object, choice: str) -> Order:
    """What carries out `verb`; `choice` is the revision or the arm that was named, or empty. Failure says why not."""
    notes = obj["metadata"].get("annotations") or {}
    if notes.get(metadata.PAUSED) == "true":
        raise Failure(f"{target.of(obj)}: nothing is done while its annotation {metadata.PAUSED} is true; remove that")
    return ORDERS[obj["kind"], verb](obj, notes, choice)


Notes = Mapping[str, str]


def _pause(obj: Object, notes: Notes, _: str) -> Order:
    if notes.get(metadata.ROLLOUT_PAUSED) == "true":
        raise Failure(f"{target.of(obj)}: its rollouts are paused already")
    rollout = _under_way(obj)
    what = f"the rollout of revision {rollout['revision']} stays" if rollout else "the next rollout will wait"
    where = f" at {rollout.get('weight', 0)} %" if rollout else ""
    return Order({metadata.ROLLOUT_PAUSED: "true"}, f"{what}{where} until it is resumed; harm still sends it back")


def _resume(obj: Object, notes: Notes, _: str) -> Order:
    if notes.get(metadata.ROLLOUT_PAUSED) != "true":
        raise Failure(f"{target.of(obj)}: its rollouts are not paused")
    return Order({metadata.ROLLOUT_PAUSED: None}, "rollouts go on")


def _promote(obj: Object, notes: Notes, choice: str) -> Order:
    last = obj.get("status", {}).get("rollout") or {}
    # A revision that was sent back is tried again only for a person who names it.
    sent_back = last.get("outcome") == "RolledBack" and last["revision"]
    if sent_back and not choice:
        why = f"revision {sent_back} was rolled back ({last.get('reason')})"
        raise Failure(f"{target.of(obj)}: {why}; to give it all traffic nevertheless name it: --revision {sent_back}")
    revision = choice if sent_back and sent_back == choice else _candidate(obj, choice)
    aborted = {metadata.ABORT: None} if notes.get(metadata.ABORT) == revision else {}
    effect = f"revision {revision} gets all traffic as soon as its pods are ready, whatever the gates say"
    return Order({metadata.PROMOTE: revision, **aborted}, effect)


def _abort(obj: Object, notes: Notes, choice: str) -> Order:
    revision = _candidate(obj, choice)
    promoted = {metadata.PROMOTE: None} if notes.get(metadata.PROMOTE) == revision else {}
    back = _under_way(obj).get("previous") or "the revision before it"
    effect = f"revision {revision} loses its traffic to {back} and is not tried again until the target changes"
    return Order({metadata.ABORT: revision, **promoted}, effect)


def _under_way(obj: Object) -> Mapping[str, Any]:
    rollout: Mapping[str, Any] = obj.get("status", {}).get("rollout") or {}
    return rollout if rollout.get("stage") not in (None, "Ended") else {}


def _candidate(obj: Object, choice: str) -> str:
    """The revision that is rolling out; Failure when there is none, or another one was named."""
    rollout, where = _under_way(obj), target.of(obj)
    if not rollout:
        serving = obj.get("status", {}).get("serving", "")
        serves = f"revision {serving} serves" if serving else "nothing serves yet"
        raise Failure(f"{where}: no rollout is under way; {serves}")
    revision = str(rollout["revision"])
    if choice and choice != revision:
        raise Failure(f"{where}: revision {choice} is not rolling out; {revision} is")
    return revision


def _suspended(wish: bool) -> Callable[[Object, Notes, str], Order]:
    """An experiment is paused by its spec, which is not ours to write."""

    def refuse(obj: Object, notes: Notes, _: str) -> Order:
        where = target.of(obj)
        if bool(obj["spec"].get("suspend")) is wish:
            raise Failure(f"{where}: it is suspended already" if wish else f"{where}: it is not suspended")
        patch = f'{{"spec":{{"suspend":{str(wish).lower()}}}}}'
        command = f"kubectl patch abt {obj['metadata']['name']} --type=merge -p '{patch}'"
        raise Failure(f"{where}: spec.suspend says whether it is paused, and the spec is yours: {command}")

    return refuse


def _choose(obj: Object, notes: Notes, choice: str) -> Order:
    where, run = target.of(obj), _run(obj)
    verdict = obj["status"].get("verdict") or {}
    arm = choice or (verdict.get("winner", "") if verdict.get("decision") == "Win" else "")
    names = [entry["name"] for entry in obj["spec"]["arms"]]
    if not arm:
        raise Failure(f"{where}: it has no winner yet; name one of its arms: --arm {' | '.join(names)}")
    if arm not in names:
        raise Failure(f"{where}: it has no arm {arm!r}; it has {', '.join(names)}")
    if verdict.get("final") and verdict.get("winner") == arm:
        raise Failure(f"{where}: arm {arm} has all users already ({verdict['decision']})")
    if notes.get(metadata.PROMOTE) == arm == run.get("answered", {}).get("promote"):
        raise Failure(
            f"{where}: the annotation promote={arm} is older than this run and is not heard; remove it and try again: "
            f"kubectl annotate abt {obj['metadata']['name']} {metadata.PROMOTE}-"
        )
    return Order({metadata.PROMOTE: arm, metadata.ABORT: None}, f"arm {arm} gets all users")


def _end(obj: Object, notes: Notes, _: str) -> Order:
    run = _run(obj)
    verdict = obj["status"].get("verdict") or {}
    if verdict.get("decision") == "Aborted":
        raise Failure(f"{target.of(obj)}: this run was aborted already, at {verdict['at']}")
    effect = f"run {run['id']} ends without a winner; all users go to the control, {obj['spec']['control']}"
    return Order({metadata.ABORT: run["id"], metadata.PROMOTE: None}, effect)


def _run(obj: Object) -> Mapping[str, Any]:
    run: Mapping[str, Any] | None = obj.get("status", {}).get("run")
    if not run:
        raise Failure(f"{target.of(obj)}: the experiment has not begun; kubectl describe says what it waits for")
    return run


ORDERS: Mapping[tuple[str, str], Callable[[Object, Notes, str], Order]] = {
    ("ModelDeployment", "pause"): _pause,
    ("ModelDeployment", "resume"): _resume,
    ("ModelDeployment", "promote"): _promote,
    ("ModelDeployment", "abort"): _abort,
    ("ABTest", "pause"): _suspended(True),
    ("ABTest", "resume"): _suspended(False),
    ("ABTest", "promote"): _choose,
    ("ABTest", "abort"): _end,
}
