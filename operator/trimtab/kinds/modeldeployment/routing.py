"""What routers are told of a rollout, and whether the front Service leads through them. Pure.

With the strategy Canary the routers are always there, so a rollout begins without moving anybody: the front selects
them from the moment they are ready and do as told, and falls back to the serving revision's pods when none of them is
left. Every arm is a revision; the control is whoever serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trimtab.core import metadata
from trimtab.core.objects import Object
from trimtab.core.platform import Platform
from trimtab.kinds.modeldeployment import children
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.course import Course
from trimtab.kinds.modeldeployment.observe import Observed
from trimtab.kinds.modeldeployment.progress import RolloutStatus
from trimtab.kinds.modeldeployment.sizes import available
from trimtab.kinds.modeldeployment.template import ports
from trimtab.traffic import gateway, router
from trimtab.traffic.change import Ack, acks, advance
from trimtab.traffic.state import SLOTS, RouterArm, RouterStatus, Shadow

USER_HEADER = "x-user-id"


def arm_name(revision: str) -> str:
    """The arm of a revision: its name after a letter, because a revision may begin with a digit."""
    return f"r{revision}"


def beside(record: RolloutStatus | None) -> bool:
    """Whether candidate and previous revision are both within reach of the routers."""
    return record is not None and (record.exposed or record.stage == "Baking")


def serving_by(record: RolloutStatus) -> str:
    """Who has all traffic that the candidate has not, while a rollout is under way."""
    return record.revision if record.stage == "Baking" else record.previous


def lead(record: RolloutStatus | None, serving: str) -> str:
    """Whom the front selects where no routers are in the way."""
    return record.revision if record is not None and record.stage == "Promoting" else serving


def splitters(mdep: ModelDeployment, course: Course, platform: Platform, routed: RouterStatus) -> Sequence[Object]:
    """What splits the traffic: the children that are our routers, or the route at somebody else's Gateway."""
    owner, name = {"kind": mdep.kind, "metadata": mdep.metadata}, mdep.metadata["name"]
    if course.gateway is None:
        return router.children(owner, name, platform, routed)
    parents = [parent.dump() for parent in course.gateway.parent_refs]
    return [gateway.http_route(owner, name, parents, course.gateway.hostnames, routed)] if platform.gateway_api else []


def unrouted(seen: Observed) -> str:
    """Why a Gateway does not split the traffic; empty when it does."""
    if not seen.platform.gateway_api:
        return "rollout.gateway needs an operator that is installed with gatewayApi.enabled"
    return gateway.refusal(seen.route)


@dataclass(frozen=True)
class Road:
    """The way from the front to the pods, as it was found."""

    mdep: ModelDeployment
    seen: Observed
    course: Course

    @property
    def acks(self) -> list[Ack]:
        """What each live router, or the Gateway, says it does."""
        if self.course.gateway:
            pods = {arm_name(revision): available(workload) for revision, workload in self.seen.deployments.items()}
            return gateway.acks(self.seen.route, pods)
        return acks(self.seen.routers, self.seen.router_reports)

    @property
    def in_place(self) -> bool:
        """Whether traffic goes through routers that live, or a Gateway that does as told."""
        if self.course.gateway:
            return not unrouted(self.seen)
        return self.course.routed and self.seen.routed(self.mdep.metadata["name"]) and bool(self.acks)

    def settled(self, record: RolloutStatus) -> bool:
        """Whether all traffic goes as this record says."""
        if self.in_place:
            wanted = self.wanted(record, serving_by(record))
            return advance(self.mdep.status.router, wanted, self.acks).settled
        alone = record.stage not in ("Shadowing", "Stepping")
        return alone and self.seen.selected(self.mdep.metadata["name"]) == lead(record, serving_by(record))

    def wanted(self, record: RolloutStatus | None, serving: str) -> RouterStatus:
        """What all routers are to do in the end. Both revisions are arms while one may have to take over."""
        names = [record.previous, record.revision] if record and beside(record) else [serving]
        return RouterStatus(
            salt=metadata.fingerprint([self.mdep.metadata["uid"], record.revision if record else ""]),
            header="" if self.course.gateway else self.mdep.spec.feedback.user_header or USER_HEADER,
            cookies=self.course.gateway is None,
            arms=[self._arm(name, record) for name in names],
            control=arm_name(serving),
            shadow=self._shadow(record),
        ).checked()

    def told(self, record: RolloutStatus | None, serving: str) -> tuple[RouterStatus, bool]:
        """What routers are told in this pass, and whether the front is to lead through them."""
        known = self.acks
        if self.course.gateway:
            return advance(self.mdep.status.router, self.wanted(record, serving), known).status, False
        change = advance(self.mdep.status.router, self.wanted(record, serving), known)
        # Routers resolve names by themselves, and may do as told before they have found a single pod.
        able = change.settled and all(ack.endpoints.get(arm_name(serving)) for ack in known)
        return change.status, bool(known) and (able or self.seen.routed(self.mdep.metadata["name"]))

    def _arm(self, revision: str, record: RolloutStatus | None) -> RouterArm:
        meta, name = self.mdep.metadata, arm_name(revision)
        before = self.mdep.status.router.arms if self.mdep.status.router else []
        # A container of the user's may have listened elsewhere than the one of today's spec.
        port = next((arm.port for arm in before if arm.name == name), ports(self.mdep)["http"])
        held = record.weight * SLOTS // 100 if record and record.exposed and revision == record.revision else 0
        return RouterArm(
            name=name,
            host=f"{children.revision_name(self.mdep, revision)}.{meta['namespace']}.svc",
            port=port,
            revision=revision,
            reserved=SLOTS if record and record.exposed and revision == record.revision else 0,
            weight=held,
        )

    def _shadow(self, record: RolloutStatus | None) -> Shadow | None:
        if record is None or record.stage != "Shadowing":
            return None
        return Shadow(arm=arm_name(record.revision), percent=self.course.shadow_percent)
