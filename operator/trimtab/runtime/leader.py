"""Leadership by a Lease: at most one replica writes.

Whether a leader is alive is judged by when *we* last saw its Lease change, on our monotonic clock: wall clocks of two
nodes may disagree, and one that steps must make neither two leaders nor none. A leader believes in itself only
`renew_seconds` after the start of its last successful renewal, which is well before others stop believing. A write is
begun only while that holds, and given up when it ends, which also fences a process that was stopped and woke up late.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from trimtab.core.objects import Object, Resource
from trimtab.runtime.cluster import ApiError, Cluster

LEASE = Resource("coordination.k8s.io/v1", "Lease", "leases")
NAME = "trimtab-operator"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """Seconds; client-go's defaults are 15, 10 and 2."""

    duration: float
    renew: float
    retry: float


class Elector:
    """One candidate for one Lease."""

    def __init__(
        self,
        cluster: Cluster,
        identity: str,
        namespace: str,
        timing: Timing,
        clock: Callable[[], float],
    ) -> None:
        self._cluster = cluster
        self._identity = identity
        self._namespace = namespace
        self._timing = timing
        self._clock = clock
        self._renewed: float | None = None
        self._seen: tuple[str, float] = ("", 0.0)

    def held(self) -> bool:
        """True while it is certain that nobody else leads."""
        return self.remaining() > 0

    def remaining(self) -> float:
        """For how many seconds from now that is certain without another renewal; 0 if it is not."""
        return 0.0 if self._renewed is None else max(0.0, self._timing.renew - (self._clock() - self._renewed))

    async def acquire(self) -> None:
        """Wait until this replica leads."""
        while not await self._attempt():  # noqa: ASYNC110 - the event is in another process
            await asyncio.sleep(self._timing.retry)
        log.info("leading", extra={"identity": self._identity})

    async def hold(self) -> None:
        """Renew until leadership is lost, then return. A late wake-up is a loss, whatever the Lease says."""
        while self.held():
            await asyncio.sleep(self._timing.retry)
            if self.held():
                with contextlib.suppress(ApiError):
                    if not await self._attempt():
                        break
        self._renewed = None
        log.error("no longer leading", extra={"identity": self._identity})

    async def release(self) -> None:
        """Let the next one lead at once; best effort on the way out."""
        if not self.held():
            return
        self._renewed = None
        with contextlib.suppress(ApiError):
            lease = await self._asked(self._cluster.get(LEASE, self._namespace, NAME))
            if lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"].update(holderIdentity="", leaseDurationSeconds=1, renewTime=_now())
                await self._asked(self._cluster.replace(LEASE, lease))

    async def _attempt(self) -> bool:
        """Take or renew the Lease; False if another one has it. Errors count as "not now" until the time is up."""
        started = self._clock()
        try:
            lease = await self._asked(self._cluster.get(LEASE, self._namespace, NAME))
        except ApiError as error:
            return await self._missing(error, started)
        spec = lease.setdefault("spec", {})
        mine = spec.get("holderIdentity") == self._identity
        if not mine and not self._expired(lease):
            return False
        if not mine:
            spec["leaseTransitions"] = spec.get("leaseTransitions", 0) + 1
            spec["acquireTime"] = _now()
        spec.update(
            holderIdentity=self._identity,
            leaseDurationSeconds=math.ceil(self._timing.duration),
            renewTime=_now(),
        )
        try:
            await self._asked(self._cluster.replace(LEASE, lease))
        except ApiError:
            if self._renewed is None:
                return False
            # Even a conflict is no loss yet: a PUT whose answer got lost is repeated below us, and overtakes itself.
            # The next look at the Lease tells.
            raise
        self._renewed = started
        return True

    async def _asked(self, request: Awaitable[Object]) -> Object:
        """The answer. A request that hangs is given up while there is time for another one, on a new connection."""
        try:
            async with asyncio.timeout(self._timing.renew / 2):
                return await request
        except TimeoutError:
            raise ApiError(0, "Unreachable", "the API server did not answer in half the time to renew") from None

    async def _missing(self, error: ApiError, started: float) -> bool:
        if error.code != 404:
            if self._renewed is None:
                log.warning("the lease cannot be read", extra={"error": str(error)})
                return False
            raise error
        # A lease that somebody deleted may still be believed in by its holder, for as long as if it were there.
        if self._renewed is None and self._seen[0] and self._clock() - self._seen[1] <= self._timing.duration:
            return False
        try:
            await self._asked(self._cluster.create(LEASE, self._namespace, self._fresh()))
        except ApiError:
            if self._renewed is None:
                return False
            raise
        self._renewed = started
        return True

    def _expired(self, lease: Object) -> bool:
        """True when nobody holds the Lease, or its holder has not been seen to renew for the whole duration."""
        version = lease["metadata"]["resourceVersion"]
        if self._seen[0] != version:
            self._seen = (version, self._clock())
        if not lease["spec"].get("holderIdentity"):
            return True
        duration: float = lease["spec"].get("leaseDurationSeconds", self._timing.duration)
        return self._clock() - self._seen[1] > duration

    def _fresh(self) -> Object:
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": NAME, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": math.ceil(self._timing.duration),
                "acquireTime": _now(),
                "renewTime": _now(),
                "leaseTransitions": 0,
            },
        }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
