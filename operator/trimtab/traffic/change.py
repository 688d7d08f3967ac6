"""How a router is changed without losing a request: in two phases, each acknowledged before the next.

A route to a cluster that a router does not know yet fails requests, and so does a cluster that vanishes while a
route still leads to it. So new clusters come first, without users; routes follow when every live router has them and
has found pods behind them; and what is not used any more goes last. Weights that only fall never wait for anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trimtab.core.objects import Object, condition
from trimtab.traffic.state import RouterStatus


@dataclass(frozen=True)
class Ack:
    """What one router says it does: the versions it applied, and how many pods each arm has for it."""

    router: str
    clusters_version: str = ""
    routes_version: str = ""
    endpoints: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """What routers are to be told now, and whether that is all and all of them do it."""

    status: RouterStatus
    settled: bool


class Report(Protocol):
    """What change needs of a router's report."""

    @property
    def clusters_version(self) -> str:
        """The version of the clusters it applied."""

    @property
    def routes_version(self) -> str:
        """The version of the routes it applied."""

    @property
    def endpoints(self) -> Mapping[str, int]:
        """How many pods it knows of each arm."""


def acks(pods: Iterable[Object], reports: Mapping[str, Report]) -> list[Ack]:
    """One for each live router, keyed by its pod's uid; one that is live and silent has acknowledged nothing."""
    found = []
    for pod in pods:
        if live(pod):
            uid = pod["metadata"]["uid"]
            report = reports.get(uid)
            said = (report.clusters_version, report.routes_version, report.endpoints) if report else ()
            found.append(Ack(uid, *said))
    return found


def live(pod: Object) -> bool:
    """Whether a router's pod may be given traffic: it is ready, and not on its way out."""
    return "deletionTimestamp" not in pod["metadata"] and condition(pod, "Ready").get("status") == "True"


def advance(current: RouterStatus | None, wanted: RouterStatus, acks: Sequence[Ack]) -> Change:
    """The next thing to tell the routers, on the way from `current` to `wanted`."""
    raise NotImplementedError
