"""What a router is told, as a value that lives in `status.router` of the resource it works for.

A RouterStatus alone determines everything a router does, so any replica of the operator can serve it at any time, and a
restart changes nothing. Weights are counted in slots of 10,000: one slot is 0.01 percent of the users.

Every arm but the control owns a reserved range of slots, laid out in the order of the list and as large as the arm will
ever need; its live part grows from the start of the range. What nobody holds is the control's. So a weight that moves
takes users from the control and gives them back to it, and never moves anybody from one other arm to another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from trimtab.core.api import DNS_LABEL, ApiModel, Short
from trimtab.core.metadata import fingerprint

SLOTS = 10_000
ARMS = 16

ArmName = Annotated[str, Field(pattern=DNS_LABEL, max_length=63)]
Slots = Annotated[int, Field(ge=0, le=SLOTS)]


class RouterArm(ApiModel):
    """One choice of the router: where its requests go, and how many users it has."""

    name: ArmName
    """Its name, as the response header x-trimtab-arm and the cookies give it."""
    host: Short
    """The name or address its pods are found by."""
    port: Annotated[int, Field(ge=1, le=65_535)]
    """Their port."""
    revision: Annotated[str, Field(pattern="^[A-Za-z0-9._:-]*$", max_length=128)] = ""
    """What it serves, as the response header x-trimtab-arm-revision gives it."""
    reserved: Slots = 0
    """Slots set aside for it, of 10,000; the control needs none."""
    weight: Slots = 0
    """Slots it holds now, of 10,000; the control holds what the others leave."""


class Shadow(ApiModel):
    """Copies of requests, whose answers nobody gets."""

    arm: ArmName
    """Which arm's pods get them."""
    percent: Annotated[int, Field(ge=1, le=100)]
    """How many of 100 requests are copied."""


class RouterStatus(ApiModel):
    """Everything a router is told."""

    salt: Annotated[str, Field(pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
    """What makes the assignment of users here independent of every other; part of the name of the cookie."""
    header: Annotated[str, Field(pattern="^[A-Za-z0-9-]*$", max_length=64)] = ""
    """The request header that identifies a user; empty means that nobody can be told apart."""
    cookies: bool = True
    """Whether a browser without that header is given a cookie, and so keeps its arm."""
    arms: Annotated[list[RouterArm], Field(min_length=1, max_length=ARMS)]
    """The arms; their order is the order of their ranges."""
    control: ArmName
    """The arm that has all the slots nobody else holds."""
    shadow: Shadow | None = None
    """Which arm gets copies of requests."""

    def arm(self, name: str) -> RouterArm:
        """The arm of that name; KeyError if there is none."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise KeyError(f"the router has no arm {name!r}: there are {', '.join(arm.name for arm in self.arms)}")

    def weights(self) -> dict[str, int]:
        """The slots of each arm, which add up to 10,000."""
        held = {arm.name: arm.weight for arm in self.arms if arm.name != self.control}
        return {arm.name: held.get(arm.name, SLOTS - sum(held.values())) for arm in self.arms}

    def weighted(self, weights: Mapping[str, int]) -> RouterStatus:
        """The same with other weights for the arms named; the control takes the rest.

        ValueError for an arm that is not there, for the control, and for more slots than an arm has reserved.
        """
        for name, weight in weights.items():
            _fits(self, name, weight)
        arms = [arm.model_copy(update={"weight": weights.get(arm.name, arm.weight)}) for arm in self.arms]
        return self.model_copy(update={"arms": arms}).checked()

    def only(self, name: str) -> RouterStatus:
        """The same with all users on one arm, which becomes the control."""
        arms = [arm.model_copy(update={"weight": 0}) for arm in self.arms]
        control = self.arm(name).name
        return self.model_copy(update={"arms": arms, "control": control}).checked()

    def checked(self) -> RouterStatus:
        """The same with the control's weight written out. ValueError if the parts do not fit together."""
        _check(self)
        weights = self.weights()
        arms = [arm.model_copy(update={"weight": weights[arm.name]}) for arm in self.arms]
        return self.model_copy(update={"arms": arms})

    @property
    def sound(self) -> bool:
        """Whether the parts fit together: statuses can be edited by hand."""
        try:
            _check(self)
        except ValueError:
            return False
        return True

    @property
    def clusters_version(self) -> str:
        """A short hash of where the arms are."""
        shadowed = self.shadow.arm if self.shadow else None
        return fingerprint([FORM, [[arm.name, arm.host, arm.port] for arm in self.arms], shadowed], 12)

    @property
    def routes_version(self) -> str:
        """A short hash of everything else."""
        return fingerprint([FORM, self.dump()], 12)


FORM = 3
"""Which form traffic/envoy.py gives to all this. To be raised with each change of it, or routers in service would not
hear of the change."""


def _fits(status: RouterStatus, name: str, weight: int) -> None:
    if name not in {arm.name for arm in status.arms}:
        raise ValueError(f"the router has no arm {name!r}")
    if name == status.control:
        raise ValueError(f"{name!r} is the control, which takes what the other arms leave")
    if not 0 <= weight <= status.arm(name).reserved:
        raise ValueError(f"arm {name!r} cannot hold {weight} slots: it has {status.arm(name).reserved} reserved")


def _check(status: RouterStatus) -> None:
    """ValueError says why nobody could lay out these slots."""
    names = [arm.name for arm in status.arms]
    if len(set(names)) != len(names):
        raise ValueError(f"two arms of a router have one name: {', '.join(names)}")
    if status.control not in names:
        raise ValueError(f"the control {status.control!r} is not among the arms: {', '.join(names)}")
    if status.shadow and status.shadow.arm not in names:
        raise ValueError(f"the shadow {status.shadow.arm!r} is not among the arms: {', '.join(names)}")
    others = [arm for arm in status.arms if arm.name != status.control]
    if sum(arm.reserved for arm in others) > SLOTS:
        raise ValueError(f"the arms beside the control reserve more than {SLOTS} slots together")
    for arm in others:
        _fits(status, arm.name, arm.weight)
