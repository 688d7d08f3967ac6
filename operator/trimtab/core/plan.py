"""What one look at an object decided: the only thing that passes from meaning to execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from trimtab.core.objects import Object, Ref


@dataclass(frozen=True)
class Event:
    """Something a person watching `kubectl get events` should learn."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str


@dataclass(frozen=True)
class Alias:
    """The registry should say that this alias of a model stands for this version."""

    model: str
    alias: str
    version: str


@dataclass(frozen=True)
class Tags:
    """The registry should say these things of a model's version; its other tags stay."""

    model: str
    version: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Notice:
    """People on a channel should learn this. Whatever has the same key is the same message, told once."""

    key: str
    channel: str
    title: str
    body: str


Effect = Alias | Tags | Notice
"""A change outside the cluster. Doing one twice is the same as doing it once."""


@dataclass(frozen=True)
class Plan:
    """Desired children, the whole status, what should change outside, and when to look again without being told.

    Observed children that are neither in `apply` nor in `keep` are deleted. Effects come last, after the status says
    what was decided, and are planned anew for as long as what is observed differs from what they want.
    """

    apply: tuple[Object, ...] = ()
    keep: frozenset[Ref] = frozenset()
    status: Object = field(default_factory=dict)
    requeue_after: timedelta | None = None
    effects: tuple[Effect, ...] = ()
