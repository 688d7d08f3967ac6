"""What one look at an object decided: the only thing that passes from meaning to execution."""

from __future__ import annotations

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
class Plan:
    """Desired children, the whole status, and when to look again without being told.

    Observed children that are neither in `apply` nor in `keep` are deleted.
    """

    apply: tuple[Object, ...] = ()
    keep: frozenset[Ref] = frozenset()
    status: Object = field(default_factory=dict)
    requeue_after: timedelta | None = None
