"""The hour of the day: windows shorter than a day are compared with the same hours of training. Pure.

A daily cycle of half a deviation moves whole hours by as much, every day; against the whole reference each of them
drifts. A window of a day and more has all hours in it, and is compared with the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

HOURS = 24
LEAST_ROWS = 200
"""An hour of fewer rows in the reference is too few by itself."""
MOST_APART = 3
"""Hours further away are no neighbours."""

Cells = Sequence[int]


class Slot(NamedTuple):
    """What stands for an hour of the day: rows, and how they are in the reference's cells."""

    rows: int
    cells: Cells


def slots(whole: Cells, hours: Sequence[Cells]) -> tuple[Slot, ...]:
    """For each of 24 hours what it is compared with.

    An hour of fewer than 200 rows takes its neighbours on both sides to itself, up to three hours away; where they are
    too few as well, the whole reference stands for it.
    """
    own = [Slot(sum(cells), cells) for cells in hours]
    return tuple(_enough(own, hour) or Slot(sum(whole), whole) for hour in range(len(own)))


def _enough(own: Sequence[Slot], hour: int) -> Slot | None:
    for apart in range(MOST_APART + 1):
        near = [own[(hour + step) % HOURS] for step in range(-apart, apart + 1)]
        rows = sum(slot.rows for slot in near)
        if rows >= LEAST_ROWS:
            return (
                near[0]
                if not apart
                else Slot(rows, [sum(cells) for cells in zip(*(s.cells for s in near), strict=True)])
            )
    return None


def mixed(by_hour: Sequence[Slot], hours: Sequence[int]) -> list[float]:
    """The slots in the shares in which a window has rows by hour, in as many rows as make the same variance.

    That is 1 / sum(w² / m) for slots of m rows and weights w (Kish, Survey Sampling, 1965). `hours` are the window's
    rows by hour of the day, not all of them 0, and no slot is empty.
    """
    rows = sum(hours)
    parts = [(share / rows, slot) for share, slot in zip(hours, by_hour, strict=True) if share]
    size = 1 / sum(weight**2 / slot.rows for weight, slot in parts)
    found = [0.0] * len(by_hour[0].cells)
    for weight, slot in parts:
        scale = size * weight / slot.rows
        found = [mass + scale * count for mass, count in zip(found, slot.cells, strict=True)]
    return found
