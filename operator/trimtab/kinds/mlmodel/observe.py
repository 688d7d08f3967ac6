"""What is read before an MLModel is judged: what its source stands for, and how its import is going."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from trimtab.core import metadata
from trimtab.core.objects import JOB, Object, Ref
from trimtab.core.platform import Platform
from trimtab.core.view import View
from trimtab.kinds.mlmodel.api import MLModel

SCHEDULE = "RetrainSchedule"
VERSION = re.compile(r"^models:/(?P<name>[^/@]+)/[0-9]+$")
MOVING = re.compile(r"^models:/(?P<name>[^/@]+)(?:@(?P<alias>.+)|/latest)$")


class RegistryError(Exception):
    """The registry did not tell what a reference stands for; `reason` is fit for a condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Registry(Protocol):
    """The one question the operator asks a model registry."""

    async def version(self, name: str, alias: str | None, max_age_seconds: float) -> str:
        """The version an alias (or, with None, `latest`) stands for; RegistryError otherwise."""


@dataclass(frozen=True)
class Resolution:
    """The immutable reference behind the source, or why there is none.

    `candidate` says whose candidate it is, if a retrained version is being tried in the alias's place; `ignored` names
    candidates that are not followed, and why.
    """

    uri: str = ""
    reason: str = ""
    message: str = ""
    candidate: str = ""
    ignored: str = ""


@dataclass(frozen=True)
class Observed:
    """All that a decision about an MLModel depends on, beside the object itself."""

    platform: Platform
    resolution: Resolution
    jobs: Sequence[Object] = ()
    pods: Sequence[Object] = ()


def moving(uri: str) -> bool:
    """True for references that may stand for something else tomorrow."""
    return MOVING.match(uri) is not None


async def observe(model: MLModel, view: View, platform: Platform, registry: Registry) -> Observed:
    """Read the registry (if the reference moves) and, from memory, candidates, the import Job and its pods."""
    ref = Ref(model.kind, model.metadata["namespace"], model.metadata["name"])
    return Observed(
        platform=platform,
        resolution=await _resolve(model, view.referrers(ref, SCHEDULE), registry),
        jobs=view.children(model.metadata["uid"], JOB.kind),
        pods=view.pods(metadata.MODEL, model.metadata["namespace"], model.metadata["name"]),
    )


def told_by(schedule: Object) -> Mapping[Ref, str]:
    """The model that a RetrainSchedule (a raw object) retrains, and the reference it should stand for meanwhile."""
    ref = Ref("MLModel", schedule["metadata"]["namespace"], str(schedule.get("spec", {}).get("model", "")))
    return {ref: str((schedule.get("status", {}).get("candidate") or {}).get("uri", ""))}


async def _resolve(model: MLModel, schedules: Sequence[Object], registry: Registry) -> Resolution:
    followed, ignored = _candidates(model, schedules)
    if followed is not None:
        candidate = followed["status"]["candidate"]
        run = f" (run {candidate['run']})" if candidate.get("run") else ""
        return Resolution(candidate["uri"], candidate=f"{followed['metadata']['name']}{run}", ignored=ignored)
    return replace(await _ask(model, registry), ignored=ignored)


def _candidates(model: MLModel, schedules: Sequence[Object]) -> tuple[Object | None, str]:
    """The schedule whose candidate is tried, and what there is to say of all others.

    Of several the one that is under way goes on, or the first by name: they must not take turns.
    """
    source = MOVING.match(model.spec.source.uri)
    fit, ignored = [], []
    for schedule in schedules:
        uri = next(iter(told_by(schedule).values()))
        version = VERSION.match(uri)
        if not uri or "deletionTimestamp" in schedule["metadata"]:
            continue
        if source is None or not source["alias"]:
            ignored.append((schedule, uri, "the source is no alias"))
        elif version is None or version["name"] != source["name"]:
            ignored.append((schedule, uri, f"it is no version of {source['name']}"))
        else:
            fit.append((schedule, uri))
    fit.sort(key=lambda found: found[1] != model.status.resolved_uri)
    ignored += [(schedule, uri, "another one is tried") for schedule, uri in fit[1:]]
    said = (f"{uri} of {SCHEDULE} {obj['metadata']['name']} is not followed: {why}" for obj, uri, why in ignored)
    return (fit[0][0] if fit else None), "; ".join(said)


async def _ask(model: MLModel, registry: Registry) -> Resolution:
    match = MOVING.match(model.spec.source.uri)
    if match is None:
        return Resolution(model.spec.source.uri)
    try:
        # Half the interval: a pass that comes a moment early must not put a change off by a whole one.
        version = await registry.version(match["name"], match["alias"], model.spec.source.poll_seconds / 2)
    except RegistryError as error:
        return Resolution(reason=error.reason, message=str(error))
    return Resolution(f"models:/{match['name']}/{version}")
