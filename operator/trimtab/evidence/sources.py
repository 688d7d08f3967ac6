"""What is read from routers and model pods, as plain values, and the protocol it is read through."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trimtab.core.objects import Object
from trimtab.evidence.tally import Bucket


@dataclass(frozen=True, slots=True)
class Cells:
    """A cumulative histogram: cell i counts values above edge i-1 and up to edge i, the last one the rest."""

    edges: tuple[float, ...] = ()
    """Growing; seconds."""
    counts: tuple[int, ...] = ()
    """One more than the edges."""

    def above(self, limit: float) -> int:
        """How many values were above the limit, or above the next edge after it when it is no edge."""
        return sum(self.counts[bisect_left(self.edges, limit) + 1 :])


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """What one router has sent to one arm since its epoch."""

    requests: int = 0
    errors: int = 0
    latency: Cells = Cells()


@dataclass(frozen=True, slots=True)
class RouterReport:
    """One router's answer."""

    pod: str
    """The pod's uid."""
    epoch: str
    """Changes when counting began anew."""
    clusters_version: str
    routes_version: str
    arms: Mapping[str, ArmCounts]
    """By the names of the arms. A retried attempt counts as a request, and as an error if it was answered with one."""
    shadows: Mapping[str, ArmCounts] = field(default_factory=dict)
    """What became of copies, by the names of the arms that got them."""
    endpoints: Mapping[str, int] = field(default_factory=dict)
    """How many pods the router knows of each arm."""


@dataclass(frozen=True, slots=True)
class ModelReport:
    """One model pod's answer, of the revision it serves."""

    pod: str
    epoch: str
    revision: str
    requests: int = 0
    errors: int = 0
    answered: int = 0
    """Requests that were neither refused nor failed."""
    rows: int = 0
    users: int = 0
    """Distinct users, as well as the pod's sketch can tell. Numbers of several pods cannot be added: a user may have
    been answered by each of them."""
    sketch: bytes = b""
    """What `users` was estimated from; evidence.sketch joins those of several pods. Empty without users."""
    latency: Cells = Cells()
    buckets: tuple[Bucket, ...] = ()
    """Rows and outcomes by user bucket, of the revision it serves; empty when the pod does not count them."""
    others: Mapping[str, tuple[Bucket, ...]] = field(default_factory=dict)
    """Outcomes of predictions that other revisions made, by the first 8 hex digits of their digests: feedback may reach
    any pod that has the key."""


@dataclass(frozen=True, slots=True)
class SmokeReport:
    """What came of a model pod's own example, answered on the whole path of a prediction."""

    pod: str
    ok: bool
    seconds: float = 0.0
    error: str = ""
    """What is wrong, in the pod's words."""


class Sources(Protocol):
    """Where counts are read. Answers may be `max_age_seconds` old; a call never takes longer than about two seconds."""

    async def routers(self, pods: Sequence[Object], max_age_seconds: float) -> Mapping[str, RouterReport]:
        """By pod uid; pods that did not answer are absent."""

    async def models(self, pods: Sequence[Object], max_age_seconds: float) -> Mapping[str, ModelReport]:
        """By pod uid; pods that did not answer are absent."""

    async def smoke(self, pods: Sequence[Object], max_age_seconds: float) -> Mapping[str, SmokeReport]:
        """Each model pod's answer to its own example, by pod uid. One that takes long is absent until it is there."""
