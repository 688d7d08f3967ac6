"""Wire and run: settings → health → picture → watches → lease → workers; and back, in order, on SIGTERM.

Everything that must outlive kopf's watches is created before them, because kopf cancels as "hung" whatever tasks
appear after it begins. Followers watch too, so that taking over needs no second look at the cluster.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import uuid
from collections.abc import Iterable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import NoReturn

import aiohttp
import uvloop
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from trimtab import __version__, settings
from trimtab.core.objects import HTTP_ROUTE, POD, Ref, Resource
from trimtab.kinds import KINDS
from trimtab.runtime import handlers, logs, server
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

log = logging.getLogger("trimtab")
DRAIN_SECONDS = 15.0
KEEP_SECONDS = 8.0
"""For what was counted; with DRAIN_SECONDS within the 30 s that the kubelet gives."""
WATCHES_END_SECONDS = 5.0
LOST_LEADERSHIP = 3
STUCK = 4
COLLECT_AFTER = (10_000, 20, 50)


class Operator:
    """All parts of one replica, wired."""

    def __init__(self, chosen: settings.Settings, client: ApiClient, session: aiohttp.ClientSession) -> None:
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
        shell = Shell(
            store=self.store,
            cluster=cluster,
            platform=chosen.platform(),
            ports=self.outside.ports,
            effects=self.outside.effects(cluster, identity),
            metrics=self.metrics,
            enqueue=self.enqueue,
            now=lambda: datetime.now(UTC),
            instance=identity,
        )
        workers = chosen.max_concurrent_reconciles
        self.controllers = {
            name: Controller(name, Reconciler(kind, shell), self.metrics, workers) for name, kind in KINDS.items()
        }

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


def watched(*, gateway_api: bool = False) -> list[Resource]:
    """Our kinds, all their children, and the pods that tell why children do not work."""
    found = [kind.resource for kind in KINDS.values()]
    found += [child for kind in KINDS.values() for child in kind.children if gateway_api or child != HTTP_ROUTE]
    return list(dict.fromkeys([*found, POD]))


async def run(chosen: settings.Settings, configuration: Configuration, stop: asyncio.Event) -> int:
    """Run one replica until `stop`; the exit code."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(ApiClient(configuration))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        operator = Operator(chosen, client, session)
        app = server.application(operator.metrics, operator.alive, operator.ready, operator.refresh)
        runner = await server.serve(app, chosen.port)
        stack.push_async_callback(runner.cleanup)
        orders = await server.serve(operator.xds.application(), chosen.xds_port)
        stack.push_async_callback(orders.cleanup)
        log.info("starting", extra={"version": __version__, "namespaces": chosen.watch_namespaces or "all"})
        stopped = asyncio.create_task(stop.wait())
        if not await _warm(operator, stopped):
            return 0
        leading = operator.start()
        # A task, and begun after all others: at its end kopf cancels as "hung" whatever tasks are younger than itself.
        watching = asyncio.create_task(_watch(chosen, configuration, operator, stop))
        await asyncio.wait({stopped, leading, watching}, return_when=asyncio.FIRST_COMPLETED)
        code = await _finish(operator, leading, watching, stop)
        log.info("stopped", extra={"code": code})
        return code


async def _watch(
    chosen: settings.Settings, configuration: Configuration, operator: Operator, stop: asyncio.Event
) -> None:
    absorb, kinds = operator.picture.absorb, watched(gateway_api=chosen.gateway_api)
    await handlers.watch(kinds, chosen.watch_namespaces, absorb, lambda: handlers.connection(configuration), stop)


async def _finish(
    operator: Operator, leading: asyncio.Task[None], watching: asyncio.Task[None], stop: asyncio.Event
) -> int:
    """Let go of everything in order, whatever ended the work; the exit code."""
    lost = leading.done()
    if lost and (error := leading.exception()):
        log.error("cannot go on", exc_info=error)
    stop.set()
    operator.xds.end()
    await operator.end(0 if lost else DRAIN_SECONDS)
    # Left alone kopf would wait 5 s for every connection of a scraper, which it takes for tasks of its own.
    watching.cancel()
    await asyncio.wait({watching}, timeout=WATCHES_END_SECONDS)
    if not watching.done():
        log.error("the watches do not end; the process ends without them")
        return STUCK
    if not watching.cancelled():
        watching.result()
    return LOST_LEADERSHIP if lost else 0


async def _warm(operator: Operator, stopped: asyncio.Task[bool]) -> bool:
    """Complete the first picture, before kopf starts, which looks for kinds to watch only once; False if stopped."""
    warm = asyncio.create_task(operator.picture.warm())
    await asyncio.wait({warm, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if warm.done():
        warm.result()  # an error that waiting does not mend must not pass for a picture
    warm.cancel()
    return not stopped.done()


async def _configuration() -> Configuration:
    """The cluster we run in, or the one KUBECONFIG names."""
    configuration = Configuration()
    # Otherwise each request would look for a proxy and a netrc file anew, in threads.
    configuration.client_session_kwargs = {"trust_env": False}
    if os.environ.get("KUBERNETES_SERVICE_HOST") and not os.environ.get("KUBECONFIG"):
        config.load_incluster_config(configuration)
    else:
        await config.load_kube_config(client_configuration=configuration)
    return configuration


async def _main(chosen: settings.Settings) -> NoReturn:
    """Run, and end the process with everything let go of but kopf's tasks.

    They may outlive their own end: cancelled twice, kopf leaves its watches to themselves, and a watch takes a
    cancellation for a pause at times and goes on. The event loop would wait for them for ever.
    """
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    code = 1
    try:
        code = await run(chosen, await _configuration(), stop)
    except Exception:
        log.exception("cannot go on")
    logging.shutdown()
    os._exit(code)


def main() -> None:
    """The process: exit code 0 after an orderly stop, 2 for unusable settings, 3 when leadership was lost,
    4 when watches did not end."""
    try:
        chosen = settings.load()
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201 - there is no logging before there are settings
        sys.exit(2)
    # What is loaded stays. The rest is short-lived but for the store's texts, which the collector need not look at.
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    logs.configure(chosen.log_level, chosen.log_format)
    uvloop.run(_main(chosen))


if __name__ == "__main__":
    main()
