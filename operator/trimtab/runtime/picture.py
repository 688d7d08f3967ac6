"""Filling and checking the picture of the cluster: one list of everything at the start, and again now and then.

The list at the start is what makes a restart quiet: nothing is judged before everything is known. The lists that
follow repair what watches miss: an object deleted during a `410 Gone` gap is never reported by anybody, and a watch can
die without a sound. How much they found is a metric, and their silence makes the operator unhealthy.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Sequence

from trimtab.core.metadata import SELECTOR
from trimtab.core.objects import GROUP, HTTP_ROUTE, Object, Ref, Resource
from trimtab.runtime.cluster import ApiError, Cluster
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.store import Store

log = logging.getLogger(__name__)
# Soon, for what vanished after the first picture and before the watches began; and for watches that were slow to begin.
EARLY_CHECKS = (5.0, 25.0)
FIRST_RETRY = 1.0
LAST_RETRY = 15.0
NOT_OURS = frozenset({HTTP_ROUTE})
"""Kinds that somebody else's definitions bring: without them there are no objects, and the rest goes on."""


class Picture:
    """Keeps a store true to the cluster."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        metrics: Metrics,
        resources: Sequence[Resource],
        namespaces: Sequence[str],
        enqueue: Callable[[Iterable[Ref]], None],
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._metrics = metrics
        self._resources = resources
        self._namespaces: Sequence[str | None] = namespaces or (None,)
        self._enqueue = enqueue
        self._complete_at: float | None = None

    def age(self) -> float | None:
        """Seconds since everything was last listed; None before the first time."""
        return None if self._complete_at is None else time.monotonic() - self._complete_at

    def absorb(self, obj: Object, gone: bool) -> Iterable[Ref]:
        """Take in one watch event."""
        self._metrics.last_event.labels(obj["kind"]).set(time.time())
        concerned = self._store.absorb(obj, gone=gone)
        self._enqueue(concerned)
        return concerned

    async def warm(self) -> None:
        """List everything, however long it takes the API server to answer."""
        delay = FIRST_RETRY
        while True:
            try:
                await self.check()
                return
            except ApiError as error:
                hint = "is the chart installed?" if error.code == 404 else "are the operator's rights complete?"
                log.warning("the cluster cannot be listed; trying again", extra={"error": str(error), "hint": hint})
                await asyncio.sleep(delay)
                delay = min(delay * 2, LAST_RETRY)

    async def watch_over(self, period: float) -> None:
        """List everything again each period (seconds), forever, and twice early on."""
        for delay in itertools.chain(EARLY_CHECKS, itertools.repeat(period)):
            await asyncio.sleep(min(delay, period))
            try:
                await self.check()
            except ApiError as error:
                log.warning("the picture could not be checked", extra={"error": str(error)})
            except Exception:
                log.exception("the picture could not be checked")  # and grows old, until the probe notices

    async def check(self) -> None:
        """One list of everything; differences are repaired, counted and enqueued."""
        first = self._complete_at is None
        for resource in self._resources:
            for namespace in self._namespaces:
                missed = await self._check_one(resource, namespace)
                if missed and not first:
                    self._metrics.repairs.labels(resource.kind).inc(missed)
                    log.warning("watches had missed changes", extra={"kind": resource.kind, "missed": missed})
        self._complete_at = time.monotonic()

    async def _check_one(self, resource: Resource, namespace: str | None) -> int:
        try:
            return await self._compare(resource, namespace)
        except ApiError as error:
            if error.code != 404 or resource not in NOT_OURS:
                raise
            log.warning("a kind is not installed", extra={"kind": resource.kind, "group": resource.group})
            return 0

    async def _compare(self, resource: Resource, namespace: str | None) -> int:
        selector = "" if resource.group == GROUP else SELECTOR
        present: set[Ref] = set()
        missed, version = 0, 0
        async for page in self._cluster.pages(resource, namespace, selector):
            version = int(page["metadata"]["resourceVersion"])
            for item in page["items"]:
                obj = {"apiVersion": resource.api_version, "kind": resource.kind, **item}
                present.add(Ref(resource.kind, obj["metadata"]["namespace"], obj["metadata"]["name"]))
                concerned = self._store.absorb(obj)
                missed += bool(concerned)
                self._enqueue(concerned)
        gone = self._store.retain(resource.kind, namespace, present, version)
        self._enqueue(gone)
        return missed + bool(gone)
