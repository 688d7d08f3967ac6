"""What is read before an MLModel is judged: what its source stands for, and how its import is going."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trimtab.core import metadata
from trimtab.core.objects import JOB, Object
from trimtab.core.platform import Platform
from trimtab.core.view import View
from trimtab.kinds.mlmodel.api import MLModel

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
    """The immutable reference behind the source, or why there is none."""

    uri: str = ""
    reason: str = ""
    message: str = ""


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
    """Read the registry (if the reference moves) and, from memory, the import Job and its pods."""
    return Observed(
        platform=platform,
        resolution=await _resolve(model, registry),
        jobs=view.children(model.metadata["uid"], JOB.kind),
        pods=view.pods(metadata.MODEL, model.metadata["namespace"], model.metadata["name"]),
    )


async def _resolve(model: MLModel, registry: Registry) -> Resolution:
    match = MOVING.match(model.spec.source.uri)
    if match is None:
        return Resolution(model.spec.source.uri)
    try:
        # Half the interval: a pass that comes a moment early must not put a change off by a whole one.
        version = await registry.version(match["name"], match["alias"], model.spec.source.poll_seconds / 2)
    except RegistryError as error:
        return Resolution(reason=error.reason, message=str(error))
    return Resolution(f"models:/{match['name']}/{version}")
