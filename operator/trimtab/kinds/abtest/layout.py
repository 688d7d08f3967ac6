"""What the routers are to be told: arms, slots, and who holds how many of them now.

Each arm but the control gets a range of slots when the run begins: its first share, and an equal part of what is left
to the control. Within these ranges shares may move without a user ever moving between two arms that are compared.
"""

from __future__ import annotations

from collections.abc import Mapping

from trimtab.kinds.abtest.api import ABTest, Spec
from trimtab.kinds.abtest.status import RunStatus
from trimtab.traffic.state import SLOTS, RouterArm, RouterStatus

PORT = 8080
SLOTS_PER_PERCENT = SLOTS // 100


def routed(test: ABTest, run: RunStatus, percents: Mapping[str, int]) -> RouterStatus:
    """What routers are to be told: these shares, as far as slots were set aside; the control takes what they leave."""
    namespace = test.metadata["namespace"]
    deployments = {arm.name: arm.deployment for arm in test.spec.arms}
    return RouterStatus(
        salt=test.spec.assignment.salt or run.definition,
        header=test.spec.assignment.header,
        control=test.spec.control,
        arms=[
            RouterArm(
                name=arm.name,
                host=f"{deployments[arm.name]}-{arm.revision}.{namespace}.svc",
                port=PORT,
                revision=arm.revision,
                reserved=arm.slots,
                weight=min(percents.get(arm.name, 0) * SLOTS_PER_PERCENT, arm.slots),
            )
            for arm in run.arms
        ],
    ).checked()


def fits(spec: Spec, run: RunStatus) -> bool:
    """Whether the weights of the spec fit into the slots that were set aside."""
    slots = {arm.name: arm.slots for arm in run.arms}
    others = (arm for arm in spec.arms if arm.name != spec.control)
    return all(arm.weight * SLOTS_PER_PERCENT <= slots[arm.name] for arm in others)


def set_aside(spec: Spec) -> dict[str, int]:
    """The slots of each arm; the control needs none of its own."""
    others = [arm for arm in spec.arms if arm.name != spec.control]
    left = SLOTS - sum(arm.weight for arm in others) * SLOTS_PER_PERCENT
    return {spec.control: 0} | {a.name: a.weight * SLOTS_PER_PERCENT + left // len(others) for a in others}


def percents(router: RouterStatus) -> dict[str, int]:
    """The share of each arm, in percent."""
    return {name: slots // SLOTS_PER_PERCENT for name, slots in router.weights().items()}
