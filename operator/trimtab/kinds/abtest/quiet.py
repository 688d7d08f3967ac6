"""When a status is worth a write: hundreds of experiments that only count must not keep the API server busy.

What was counted is written once a minute. A decision, a segment, a share, or a condition is written at once. What a
crash loses is counted anew from the cursors that were written last, so nothing is lost or doubled but by pods that end
within that minute.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from trimtab.core.conditions import parse_time
from trimtab.kinds.abtest.status import Status

AT_MOST_EVERY = timedelta(seconds=60)


def quiet(before: Status, after: Status, now: datetime) -> Status:
    """The status to write: `before`, unless `after` has news."""
    if before.evidence is None or _essence(before) != _essence(after):
        return after
    idle = _counted(before) == _counted(after)
    recent = now - parse_time(before.evidence.measured_at) < AT_MOST_EVERY
    return before if idle or recent else after


def _essence(status: Status) -> list[Any]:
    """What must not wait."""
    verdict = status.verdict
    return [
        status.observed_generation,
        status.url,
        status.run,
        status.router,
        status.history,
        (verdict.decision, verdict.winner, verdict.final) if verdict else None,
        [(arm.name, arm.revision, arm.weight, arm.applied, arm.available) for arm in status.arms],
        [segment.weights for segment in status.segments],
        [(c.type, c.status, c.reason) for c in status.conditions],
    ]


def _counted(status: Status) -> list[Any]:
    """What was counted. Seconds that pass without a request are in the ledger with the next one."""
    ledger = status.ledger
    return [
        [segment.arms for segment in ledger.segments] if ledger else [],
        ledger.cursors if ledger else [],
        status.arms,
        status.power,
    ]
