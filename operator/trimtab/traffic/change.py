"""How a router is changed without losing a request: in two phases, each acknowledged before the next.

A route to a cluster that a router does not know yet fails requests, and so does a cluster that vanishes while a
route still leads to it. So new clusters come first, without users; routes follow when every live router has them and
has found pods behind them; and what is not used any more goes last. Weights that only fall never wait for anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trimtab.core.objects import Object, condition
from trimtab.traffic.state import ARMS, RouterArm, RouterStatus

NOBODY = {"reserved": 0, "weight": 0}


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
    """The next thing to tell the routers, on the way from `current` to `wanted`.

    To be called again with what it returned as `current`, until settled. ValueError when the parts of `wanted` do not
    fit together; where those of `current` do not, nothing of it is kept. A change that gives users only to arms that
    have some already takes effect at once, whatever routers say or do not say.
    """
    wanted = wanted.checked()
    if current is None or current == wanted or not current.sound:
        return Change(wanted, bool(acks) and all(_does(ack, wanted) for ack in acks))
    told = _introduced(current, wanted)
    if told != current and _newcomers(current, wanted):
        return Change(told, False)
    if not all(_knows(ack, current, _newcomers(current, wanted)) for ack in acks):
        return Change(_reduced(current, wanted), False)
    moved = _moved(current, wanted)
    if moved != current:
        return Change(moved, False)
    gone = all(ack.routes_version == current.routes_version for ack in acks)
    return Change(wanted if gone else current, False)


def _does(ack: Ack, status: RouterStatus) -> bool:
    return (ack.clusters_version, ack.routes_version) == (status.clusters_version, status.routes_version)


def _knows(ack: Ack, status: RouterStatus, newcomers: Collection[str]) -> bool:
    """Whether a router can send users to arms that have none yet."""
    if not newcomers:
        return True
    return ack.clusters_version == status.clusters_version and all(ack.endpoints.get(name) for name in newcomers)


def _newcomers(current: RouterStatus, wanted: RouterStatus) -> set[str]:
    """The arms that routers must know before they are told to use them: new ones, old ones at a new place, and those
    that get their first users. Copies to a shadow that a router does not know are just not made."""
    places = {arm.name: (arm.host, arm.port) for arm in current.arms}
    had = {name for name, weight in current.weights().items() if weight}
    # The control takes back what others give up, at once: users are safer there than with an arm that is to lose them.
    had.add(current.control)
    return {
        arm.name
        for arm in wanted.arms
        if (wanted.weights()[arm.name] and arm.name not in had) or places.get(arm.name) != (arm.host, arm.port)
    }


def _introduced(current: RouterStatus, wanted: RouterStatus) -> RouterStatus:
    """The arms of both, with users where they are; what is to lose users may lose them already."""
    reduced = _reduced(current, wanted)
    places = {arm.name: {"host": arm.host, "port": arm.port} for arm in wanted.arms}
    arms = [arm.model_copy(update=places.get(arm.name, {})) for arm in reduced.arms]
    known = {arm.name for arm in arms}
    new = [arm.model_copy(update=NOBODY) for arm in wanted.arms if arm.name not in known]
    return reduced.model_copy(update={"arms": _without_idle(arms, new, {reduced.control, *places})}).checked()


def _without_idle(old: Sequence[RouterArm], new: Sequence[RouterArm], needed: Collection[str]) -> list[RouterArm]:
    """Both lists; where they are too long together, without the first that nobody needs and that have no users: only a
    router that has not spoken for many changes can still be using them."""
    surplus = max(len(old) + len(new) - ARMS, 0)
    idle = [arm.name for arm in old if not arm.weight and arm.name not in needed][:surplus]
    return [*(arm for arm in old if arm.name not in idle), *new]


def _reduced(current: RouterStatus, wanted: RouterStatus) -> RouterStatus:
    """The present, with every weight lowered that is to be lowered; the control takes over."""
    if (current.control, current.salt) != (wanted.control, wanted.salt):
        return current
    ahead = wanted.weights()
    others = [arm for arm in current.arms if arm.name != current.control]
    return current.weighted({arm.name: min(arm.weight, ahead.get(arm.name, 0)) for arm in others})


def _moved(current: RouterStatus, wanted: RouterStatus) -> RouterStatus:
    """What is wanted, with the clusters that routers may still be using."""
    known = {arm.name for arm in wanted.arms}
    left = [arm.model_copy(update=NOBODY) for arm in current.arms if arm.name not in known]
    return wanted.model_copy(update={"arms": [*wanted.arms, *left][:ARMS]}).checked()
