"""What has been counted so far, over restarts of everything: persisted totals, and where each source was last seen.

Sources report cumulative counts with an epoch. Only growth since the cursor is added, and totals and cursors are
written together, so nothing is ever counted twice: what a crash loses is what had not been written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trimtab.core.api import ApiModel
from trimtab.evidence.tally import Segment, Tally


@dataclass(frozen=True, slots=True)
class Reading:
    """One source's cumulative counts since its epoch, by arm."""

    source: str
    """Unique and stable: the pod's uid, with a prefix for what was read."""
    epoch: str
    arms: Mapping[str, Tally] = field(default_factory=dict)


class LedgerStatus(ApiModel):
    """The ledger as it is kept in status."""


def restore(status: LedgerStatus | None) -> Ledger:
    """The ledger that was persisted, or an empty one."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Ledger:
    """Totals by segment and arm, and the cursors they rest on. Immutable: every change is a new ledger."""

    segments: tuple[Segment, ...] = ()

    def begin(self, weights: Mapping[str, float], readings: Sequence[Reading]) -> Ledger:
        """Take these readings into the segment that ends, and begin one of other weights."""
        raise NotImplementedError

    def read(self, readings: Sequence[Reading], seconds: float) -> Ledger:
        """Add to the current segment what each source has counted since it was last seen, and how long that took."""
        raise NotImplementedError

    def status(self) -> LedgerStatus:
        """The form that is persisted: bounded, and the same for the same ledger."""
        raise NotImplementedError
