"""When a deployment is asked and when it is judged: buckets that begin at a time of its own.

Two hundred deployments that ended their buckets at once would all be judged at once. So each has its buckets moved by
a part of their length that its uid gives. Times are seconds since the epoch.
"""

from __future__ import annotations

import zlib

SLOWEST, QUICKEST = 60.0, 1.0


def bucket(uid: str, period: int, time: float) -> int:
    """When the bucket of this time began."""
    offset = zlib.crc32(uid.encode()) % period
    return int(time - offset) // period * period + offset


def reading_seconds(period: int) -> float:
    """How long counts may be left unread: what a pod counted since it was last read is lost with it."""
    return min(max(period / 5, QUICKEST), SLOWEST)


def wait(uid: str, period: int, time: float) -> float:
    """How long from now until the next look: a reading, or the end of the bucket, whichever is first."""
    return min(reading_seconds(period), bucket(uid, period, time) + period - time + 0.05)
