"""Which arm a user is given: 10,000 slots, and a hash that anybody can compute.

A router picks xxhash64(value) mod the sum of its weights, and walks its weighted clusters in order (Envoy's
`use_hash_policy`). The sum here is always 10,000 and the intervals below are the router's clusters, so what Python
computes is what every router does, without asking one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import xxhash

from trimtab.traffic.state import SLOTS, RouterStatus

BLANKS = " \t"


class Interval(NamedTuple):
    """Slots that follow each other and belong to one arm."""

    arm: str
    slots: int


def intervals(status: RouterStatus) -> list[Interval]:
    """All slots in order, without gaps; an arm may hold several intervals. They add up to 10,000."""
    merged: list[Interval] = []
    for interval in _laid_out(status):
        if merged and merged[-1].arm == interval.arm:
            merged[-1] = Interval(interval.arm, merged[-1].slots + interval.slots)
        elif interval.slots:
            merged.append(interval)
    return merged


def slot(salt: str, user: str) -> int:
    """A user's slot. Blanks around the name do not count: HTTP drops them from a header's value."""
    return xxhash.xxh64_intdigest(f"{salt}:{user.strip(BLANKS)}".encode()) % SLOTS


def assign(status: RouterStatus, user: str) -> str:
    """The name of the arm that serves this user. ValueError for an empty name, which is nobody's."""
    if not user.strip(BLANKS):
        raise ValueError("a user without a name has no arm of his own: he is served as one who sends no header")
    place = slot(status.salt, user)
    for interval in intervals(status):
        if place < interval.slots:
            return interval.arm
        place -= interval.slots
    raise AssertionError("intervals add up to all slots")


def _laid_out(status: RouterStatus) -> Iterator[Interval]:
    """Each arm's live part, then what it has reserved and the control holds meanwhile; at last what nobody reserved."""
    left = SLOTS
    for arm in status.arms:
        if arm.name != status.control:
            yield Interval(arm.name, arm.weight)
            yield Interval(status.control, arm.reserved - arm.weight)
            left -= arm.reserved
    yield Interval(status.control, left)
