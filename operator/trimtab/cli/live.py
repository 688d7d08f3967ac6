"""Drift of a ModelDeployment as it serves: what its status says, and what its pods have counted.

The operator judges windows; status keeps the numbers of the worst features of the last one. The pods are asked through
the API server for all that they have counted since they began, which is where plots and the other features come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from trimtab.adapters.monitor import profile as profiles
from trimtab.adapters.monitor import reading as readings
from trimtab.adapters.monitor.profile import Profile
from trimtab.adapters.monitor.reading import Reading
from trimtab.adapters.polling import Distrusted
from trimtab.cli.errors import Failure
from trimtab.core import metadata
from trimtab.core.objects import Object
from trimtab.evidence.drift import offline
from trimtab.evidence.drift.judge import judge
from trimtab.evidence.drift.reference import Reference
from trimtab.evidence.drift.window import Window, total

WHOLE = ("rows", "neededRows", "windowSeconds")
NUMBERS = ("score", "effectiveRows")
STATISTICS = ("psi", "excess", "pValue", "ks", "wasserstein", "jensenShannon", "weight")
NEVER = "the operator has not judged this deployment yet"


class Pods(Protocol):
    """How pods are found and asked; Failure says what is wrong."""

    def pods(self, selector: str) -> list[Object]:
        """The pods with these labels."""

    def ask(self, pod: str, port: int, path: str) -> bytes:
        """A pod's answer to GET."""


class Traffic(NamedTuple):
    """What pods of one profile have counted, all together."""

    pods: tuple[str, ...]
    reference: Reference
    window: Window


def traffic(obj: Object, source: Pods) -> tuple[Traffic | None, list[str]]:
    """The counts of the pods of the revision that was judged, or serves; and notes on what could not be read."""
    revision = _drift(obj).get("revision") or (obj.get("status") or {}).get("serving", "")
    selector = f"{metadata.DEPLOYMENT}={obj['metadata']['name']},{metadata.REVISION}={revision}"
    try:
        pods = [pod for pod in source.pods(selector) if pod.get("status", {}).get("phase") == "Running"]
    except Failure as error:
        return None, [f"pods cannot be listed: {error.message}"]
    if not pods:
        return None, [f"no pod of revision {revision or 'none'} runs"]
    told, notes = _told(pods, source)
    profile: Profile | None = None
    windows: dict[str, Window] = {}
    for pod, reading in told:
        name = pod["metadata"]["name"]
        try:
            profile = profile or _profile(pod, reading.profile, source)
            if reading.profile != profile.digest:
                raise Distrusted("profile", f"it counts by another profile, {reading.profile or 'none'}")
            windows[name] = reading.window(profile)
        except (Failure, Distrusted) as error:
            notes.append(f"pod {name}: its counts cannot be used: {error}")
    if profile is None or not windows:
        return None, notes
    return Traffic(tuple(windows), profile.reference, total(profile.reference, windows.values())), notes


def _told(pods: Iterable[Object], source: Pods) -> tuple[list[tuple[Object, Reading]], list[str]]:
    """Readings of pods that can be believed and count rows."""
    asked = readings.question()
    found, notes = [], []
    for pod in pods:
        name = pod["metadata"]["name"]
        try:
            reading = asked.read(pod, HTTPStatus.OK, source.ask(name, asked.port, asked.path), None)
        except (Failure, Distrusted) as error:
            notes.append(f"pod {name}: its counts cannot be used: {error}")
            continue
        if reading.profile and reading.counts_rows:
            found.append((pod, reading))
        else:
            notes.append(f"pod {name}: its model has no drift profile")
    return found, notes


def _profile(pod: Object, digest: str, source: Pods) -> Profile:
    asked = profiles.question()
    found = asked.read(pod, HTTPStatus.OK, source.ask(pod["metadata"]["name"], asked.port, asked.path), None)
    if found.digest != digest:
        raise Distrusted("digest", f"it counts by the profile {digest}, and answers with {found.digest}")
    return found


def findings(obj: Object, seen: Traffic | None, notes: list[str]) -> dict[str, Any]:
    """All there is to say, as JSON: the one source of the table, the page and --json; null where nothing is known."""
    drift, status = _drift(obj), obj.get("status") or {}
    versions = {row["name"]: row.get("version", "") for row in status.get("revisions", ())}
    revision = drift.get("revision") or status.get("serving", "")
    episode = drift.get("episode") or {}
    return {
        "kind": obj["kind"],
        "namespace": obj["metadata"].get("namespace", ""),
        "name": obj["metadata"]["name"],
        "revision": revision,
        "version": versions.get(revision, ""),
        "state": drift.get("state", "Unknown"),
        "level": drift.get("level"),
        "since": episode.get("begunAt") or None,
        "checkedAt": drift.get("checkedAt"),
        "message": drift.get("message", "") if drift else NEVER,
        **{key: drift.get(key) for key in WHOLE},
        **{key: number(drift.get(key)) for key in NUMBERS},
        "features": {row["name"]: _feature(row) for row in drift.get("features", ())},
        "pair": drift.get("pair"),
        "quality": [{**row, "share": number(row.get("share"))} for row in drift.get("problems", ())],
        "model": status.get("quality"),
        "pods": None if seen is None else _since_they_began(seen),
        "notes": notes,
    }


def _drift(obj: Object) -> Mapping[str, Any]:
    return (obj.get("status") or {}).get("drift") or {}


def _feature(row: Mapping[str, Any]) -> dict[str, Any]:
    level = row.get("level", "OK")
    return {**{key: number(row.get(key)) for key in STATISTICS}, "level": level, "drifted": level != "OK"}


def _since_they_began(seen: Traffic) -> dict[str, Any]:
    """All that the pods counted as one window, of rows that are taken to be independent."""
    look = judge(seen.reference, seen.window, [1.0] * len(seen.reference.features))
    return {"names": list(seen.pods), **offline.told(look, seen.reference, seen.window)}


def number(value: Any) -> float | None:
    """Status writes numbers that are not whole as strings."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
