"""When counts are taken, and for which shares.

    shares told ──all routers confirm──► a segment begins ──other shares are told──► it ends
                 └── meanwhile nobody counts: some users still go by the old shares ──┘

The segment that is open is named in `status.run.counted`; the ledger itself is in `status.ledger`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from trimtab.core.conditions import parse_time
from trimtab.evidence.ledger import Ledger, Reading, restore
from trimtab.kinds.abtest.layout import percents
from trimtab.kinds.abtest.status import RunStatus, Share, Status
from trimtab.traffic.change import Change


@dataclass(frozen=True)
class Book:
    """What was counted, and the run that says what is being counted."""

    ledger: Ledger
    run: RunStatus


def trusted(status: Status) -> tuple[Status, Ledger]:
    """The status and what was counted up to its write, or what can be kept of one that a hand has spoilt: then the
    experiment begins anew."""
    try:
        ledger = restore(status.ledger)
        if status.router is not None:
            status.router.checked()
    except (TypeError, ValueError):
        return Status(conditions=status.conditions, history=status.history), Ledger()
    return status, ledger


def taken(ledger: Ledger, status: Status, run: RunStatus, readings: Sequence[Reading], now: datetime) -> Book:
    """What was counted up to now, if a segment is open."""
    if not run.counted or status.evidence is None:
        return Book(ledger, run)
    seconds = (now - parse_time(status.evidence.measured_at)).total_seconds()
    return Book(ledger.read(readings, max(seconds, 0.0)), run)


def turned(book: Book, change: Change, readings: Sequence[Reading], *, over: bool) -> Book:
    """The same after this pass has told the routers something, or has heard that they do it.

    When it is over nothing more is counted.
    """
    told = {share.name: share.percent for share in book.run.counted}
    ahead = percents(change.status)
    if told == ahead and not over:
        return book
    if change.settled and not over and not book.ledger.full:
        ledger = book.ledger.skip(readings).begin({name: float(share) for name, share in ahead.items()}, readings)
        return Book(ledger, book.run.model_copy(update={"counted": _shares(ahead)}))
    return Book(book.ledger, book.run.model_copy(update={"counted": []}))


def _shares(shares: Mapping[str, int]) -> list[Share]:
    return [Share(name=name, percent=percent) for name, percent in shares.items()]
