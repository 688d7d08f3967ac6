"""Why pods do not run, in one reason and their own last words.

A person who reads a condition should not need `kubectl describe` on four objects to learn what the
kubelet, the scheduler or the quota already said. A pod that is ready now has no trouble, whatever it
went through before; a container that restarts again and again has trouble also in the moments it runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.core.objects import Object, condition

PULL_REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
# Between two pulls kubelet puts this before the error of the last one.
PAUSE = re.compile(r'^Back-off pulling image "[^"]*": \w+: ')
REASON = re.compile(r"[A-Za-z][A-Za-z0-9]{0,127}")
CONFIG_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
LAST_WORDS = 600
TRY_AGAIN = 75
"""The exit code of a container that met something passing, such as a store that is away (docs/contract.md)."""


@dataclass(frozen=True)
class Trouble:
    """What keeps pods from running; `rank` orders causes before their symptoms."""

    rank: int
    reason: str
    message: str
    crashed: bool = False
    """A container ran and ended for a reason that trying again does not mend."""


def trouble(pods: Iterable[Object]) -> Trouble | None:
    """The most telling trouble of these pods, or None. Pods on their way out do not count."""
    living = sorted(
        (pod for pod in pods if "deletionTimestamp" not in pod["metadata"]),
        key=lambda pod: pod["metadata"]["name"],
    )
    found = [item for pod in living for item in _troubles(pod)]
    return min(found, key=lambda item: item.rank) if found else None


def refusal(workload: Object) -> Trouble | None:
    """Why a Deployment's pods were not even created: quota, policy, a missing ServiceAccount."""
    failure = condition(workload, "ReplicaFailure")
    if failure.get("status") != "True":
        return None
    message = failure.get("message", "")
    reason = "QuotaExceeded" if "exceeded quota" in message else "PodsRefused"
    return Trouble(2, reason, f"the API server refuses the pods: {message}")


def last_words(pod: Object, container: str) -> Mapping[str, Any]:
    """The JSON object a container left in its termination message, or an empty mapping."""
    for status in pod.get("status", {}).get("containerStatuses", ()):
        if status["name"] == container:
            return _spoken(_terminated(status))
    return {}


def _troubles(pod: Object) -> Iterator[Trouble]:
    name = pod["metadata"]["name"]
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("reason") == "Unschedulable":
        yield Trouble(3, "NotEnoughRoom", f"no node has room for pod {name}: {scheduled.get('message', '')}")
    status = pod.get("status", {})
    if (evicted := _evicted(pod)) is not None:
        # How its containers ended is the doing of whoever took the pod away.
        yield evicted
        return
    for item in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        if not item.get("ready"):
            yield from _container_trouble(name, item)


def _evicted(pod: Object) -> Trouble | None:
    """A pod that was ended from outside: for want of room on its node, or because it used more disk than it may.

    The first is marked as a disruption and says nothing against the pod. The second is its own doing, as an
    out-of-memory kill is.
    """
    status, disrupted = pod.get("status", {}), condition(pod, "DisruptionTarget")
    name, victim = pod["metadata"]["name"], disrupted.get("status") == "True"
    if status.get("phase") != "Failed" or not (victim or status.get("reason") == "Evicted"):
        return None
    message = disrupted.get("message", "") if victim else status.get("message", "")
    return Trouble(5 if victim else 0, "Evicted", f"pod {name} was evicted: {message}", crashed=not victim)


def _container_trouble(pod: str, status: Mapping[str, Any]) -> Iterator[Trouble]:
    waiting = status.get("state", {}).get("waiting", {})
    where = f"container {status['name']} of pod {pod}"
    if waiting.get("reason") in PULL_REASONS:
        cause = PAUSE.sub("", waiting.get("message", ""))
        yield Trouble(1, "ImagePullFailed", f"{where} cannot pull {status.get('image', 'its image')}: {cause}")
    if waiting.get("reason") in CONFIG_REASONS:
        yield Trouble(1, "ContainerRefused", f"{where} cannot start: {waiting.get('message', '')}")
    ended = _terminated(status)
    # A server that leaves without an error does not serve either; an init container may run a second time in peace.
    looping = waiting.get("reason") == "CrashLoopBackOff" or status.get("restartCount", 0) > 1
    if ended and (ended.get("exitCode", 0) != 0 or looping):
        yield _ended_badly(where, ended)


def _ended_badly(where: str, ended: Mapping[str, Any]) -> Trouble:
    spoken, crashed = _spoken(ended), ended.get("exitCode") != TRY_AGAIN
    if _is_reason(spoken.get("reason")):
        return Trouble(0, spoken["reason"], f"{spoken.get('message', '')} ({where})", crashed)
    if ended.get("reason") == "OOMKilled":
        message = f"{where} used more than its memory limit and was killed; raise the limit"
        return Trouble(0, "OutOfMemory", message, crashed)
    words = (ended.get("message") or "").strip()[-LAST_WORDS:] or "it said nothing"
    message = f"{where} ended with exit code {ended['exitCode']}; its last words: {words}"
    return Trouble(4, "CrashLooping", message, crashed)


def _terminated(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return status.get("state", {}).get("terminated") or status.get("lastState", {}).get("terminated") or {}


def _is_reason(word: Any) -> bool:
    """Containers run what users bring: only what a condition can hold is taken for a reason."""
    return isinstance(word, str) and REASON.fullmatch(word) is not None


def _spoken(ended: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        spoken = json.loads(ended.get("message") or "{}")
    except (ValueError, RecursionError):
        return {}
    return spoken if isinstance(spoken, dict) else {}
