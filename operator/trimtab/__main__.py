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
from contextlib import AsyncExitStack
from typing import NoReturn

import aiohttp
import uvloop
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from trimtab import __version__, settings
from trimtab.kinds import watched
from trimtab.runtime import handlers, logs, server
from trimtab.runtime.replica import Replica

log = logging.getLogger("trimtab")
DRAIN_SECONDS = 15.0
WATCHES_END_SECONDS = 5.0
LOST_LEADERSHIP = 3
STUCK = 4
COLLECT_AFTER = (10_000, 20, 50)


async def run(chosen: settings.Settings, configuration: Configuration, stop: asyncio.Event) -> int:
    """Run one replica until `stop`; the exit code."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(ApiClient(configuration))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        replica = Replica(chosen, client, session)
        app = server.application(replica.metrics, replica.alive, replica.ready, replica.refresh)
        runner = await server.serve(app, chosen.port)
        stack.push_async_callback(runner.cleanup)
        orders = await server.serve(replica.xds.application(), chosen.xds_port)
        stack.push_async_callback(orders.cleanup)
        log.info("starting", extra={"version": __version__, "namespaces": chosen.watch_namespaces or "all"})
        stopped = asyncio.create_task(stop.wait())
        if not await _warm(replica, stopped):
            return 0
        leading = replica.start()
        # A task, and begun after all others: at its end kopf cancels as "hung" whatever tasks are younger than itself.
        watching = asyncio.create_task(_watch(chosen, configuration, replica, stop))
        await asyncio.wait({stopped, leading, watching}, return_when=asyncio.FIRST_COMPLETED)
        code = await _finish(replica, leading, watching, stop)
        log.info("stopped", extra={"code": code})
        return code


async def _watch(
    chosen: settings.Settings, configuration: Configuration, replica: Replica, stop: asyncio.Event
) -> None:
    absorb, kinds = replica.picture.absorb, watched(gateway_api=chosen.gateway_api)
    await handlers.watch(kinds, chosen.watch_namespaces, absorb, lambda: handlers.connection(configuration), stop)


async def _finish(
    replica: Replica, leading: asyncio.Task[None], watching: asyncio.Task[None], stop: asyncio.Event
) -> int:
    """Let go of everything in order, whatever ended the work; the exit code."""
    lost = leading.done()
    if lost and (error := leading.exception()):
        log.error("cannot go on", exc_info=error)
    stop.set()
    replica.xds.end()
    await replica.end(0 if lost else DRAIN_SECONDS)
    # Left alone kopf would wait 5 s for every connection of a scraper, which it takes for tasks of its own.
    watching.cancel()
    await asyncio.wait({watching}, timeout=WATCHES_END_SECONDS)
    if not watching.done():
        log.error("the watches do not end; the process ends without them")
        return STUCK
    if not watching.cancelled():
        watching.result()
    return LOST_LEADERSHIP if lost else 0


async def _warm(replica: Replica, stopped: asyncio.Task[bool]) -> bool:
    """Complete the first picture, before kopf starts, which looks for kinds to watch only once; False if stopped."""
    warm = asyncio.create_task(replica.picture.warm())
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
