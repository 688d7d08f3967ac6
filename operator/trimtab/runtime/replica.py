"""One replica of the operator: what it consists of, who is told what, and how it begins, leads and ends."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

import aiohttp
from kubernetes.aio.client import ApiClient

from trimtab.core.objects import Ref
from trimtab.kinds import KINDS, watched
from trimtab.runtime.archive import Archive
from trimtab.runtime.cluster import Cluster
from trimtab.runtime.controller import Controller
from trimtab.runtime.findings import Findings
from trimtab.runtime.keeping import Keeper
from trimtab.runtime.leader import NAME, Elector, Timing
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.outside import Outside
from trimtab.runtime.picture import Picture
from trimtab.runtime.reconciler import Reconciler, Shell
from trimtab.runtime.store import Store
from trimtab.runtime.xds import Xds
from trimtab.settings import Settings

KEEP_SECONDS = 8.0
"""For what was counted; with the grace of passes within the 30 s that the kubelet gives."""


class Replica:
    """All parts of one replica, wired."""

    def __init__(self, chosen: Settings, client: ApiClient, session: aiohttp.ClientSession) -> None:
        self.settings = chosen
        self.metrics = Metrics()
        self.store = Store.of(KINDS)
        self.metrics.registry.register(Findings(self.store))
        self.xds = Xds(self.store, {kind.resource.plural: name for name, kind in KINDS.items()})
        clock = asyncio.get_running_loop().time
        identity = f"{chosen.pod_name}_{uuid.uuid4().hex[:8]}"
        timing = Timing(chosen.lease_duration_seconds, chosen.lease_renew_seconds, chosen.lease_retry_seconds)
        self.elector = Elector(Cluster(client, self.metrics), identity, chosen.pod_namespace, timing, clock)
        reader = Cluster(client, self.metrics)
        kinds = watched(gateway_api=chosen.gateway_api)
        self.picture = Picture(reader, self.store, self.metrics, kinds, chosen.watch_namespaces, self.enqueue)
        cluster = Cluster(client, self.metrics, may_write=self.elector.remaining)
        archive = Archive(cluster, chosen.pod_namespace, clock)
        self.outside = Outside(chosen, session, clock, self.metrics, self.elector.remaining, archive)
        self.keeper = Keeper(archive, self.outside.watcher, self.store, self.elector.held)
        shell = self._shell(cluster, identity)
        workers = chosen.max_concurrent_reconciles
        self.controllers = {
            name: Controller(name, Reconciler(kind, shell), self.metrics, workers) for name, kind in KINDS.items()
        }

    def _shell(self, cluster: Cluster, identity: str) -> Shell:
        return Shell(
            store=self.store,
            cluster=cluster,
            platform=self.settings.platform(),
            ports=self.outside.ports,
            effects=self.outside.effects(cluster, identity),
            metrics=self.metrics,
            enqueue=self.enqueue,
            now=lambda: datetime.now(UTC),
            instance=identity,
        )

    def enqueue(self, refs: Iterable[Ref]) -> None:
        """Ask the right controllers for a look at each, and tell routers that wait for news of them."""
        refs = tuple(refs)
        self.xds.changed(refs)
        for ref in refs:
            self.controllers[ref.kind].queue.add(ref)

    def start(self) -> asyncio.Task[None]:
        """Create all tasks now; the one returned ends when leadership is lost."""
        for controller in self.controllers.values():
            controller.start()
        self._leading = asyncio.create_task(self._lead())
        self._others = asyncio.create_task(self.picture.watch_over(self.settings.resync_seconds))
        self._keeping = asyncio.create_task(self.keeper.run())
        return self._leading

    async def end(self, grace: float) -> None:
        """Let passes under way finish within the grace (seconds), and keep what was counted; then let go of the lease,
        which is renewed until then."""
        await asyncio.gather(*(controller.stop(grace) for controller in self.controllers.values()))
        self.outside.notifier.end()
        self._keeping.cancel()
        await self.keeper.finish(KEEP_SECONDS)
        for task in (self._leading, self._others):
            task.cancel()
        await asyncio.wait({self._leading, self._others, self._keeping})
        await self.elector.release()

    async def _lead(self) -> None:
        await self.elector.acquire()
        for controller in self.controllers.values():
            controller.open()
        await self.elector.hold()

    def alive(self) -> str:
        """What makes this replica worth restarting, or nothing."""
        age = self.picture.age()
        if age is not None and age > 2 * self.settings.resync_seconds + 60:
            return f"the picture of the cluster was last checked {age:.0f} s ago"
        return ""

    def ready(self) -> str:
        """What keeps this replica from being useful, or nothing."""
        return "" if self.picture.age() is not None else "the cluster has not been listed yet"

    def refresh(self) -> None:
        """Set the gauges that are read and not counted."""
        self.metrics.leading.labels(NAME).set(self.elector.held())
        for kind, count in self.store.count().items():
            self.metrics.objects.labels(kind).set(count)
        for name, controller in self.controllers.items():
            self.metrics.queue_longest.labels(name).set(controller.queue.longest())
