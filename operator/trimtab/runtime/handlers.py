"""kopf as the watch engine, and nothing more: the only module that imports it.

Its list-and-watch loop with bookmarks, inactivity timeouts, 410 re-lists and re-authentication is excellent; its
handlers are edge-triggered, its writes land on users' objects, and its peering pauses both of two equals. So events
only mark keys as worth a look: nothing here can fail, block or write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import kopf
from kubernetes.aio.client import Configuration

from trimtab.core.metadata import SELECTOR
from trimtab.core.objects import GROUP, Object, Ref, Resource
from trimtab.runtime.cluster import PAGE

FIRST_BACKOFF, LAST_BACKOFF = 0.5, 8.0
Absorb = Callable[[Object, bool], Iterable[Ref]]


class NoDiff(kopf.MultiDiffBaseStorage):
    """kopf compares each event with what it handled last, for handlers that are told of differences. There are none
    here, and the deep copies that takes would be most of the work an event makes."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """What is compared: nothing."""
        return kopf.BodyEssence()


class Backoffs:
    """Seconds between attempts that fail, without an end: a watch that gives up would end the whole operator."""

    def __iter__(self) -> Iterator[float]:
        delay = FIRST_BACKOFF
        while True:
            yield delay
            delay = min(2 * delay, LAST_BACKOFF)


def settings(resources: Sequence[Resource]) -> kopf.OperatorSettings:
    """kopf's settings: no events of its own, no writes, and only our own children from the server."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.scanning.disabled = True
    chosen.persistence.diffbase_storage = NoDiff([])
    chosen.persistence.progress_storage = kopf.MultiProgressStorage([])
    chosen.watching.chunk_size = PAGE
    chosen.networking.error_backoffs = Backoffs()
    # An object's worker lives this long after its last event, and keeps that event so long. Order is the store's care.
    chosen.queueing.idle_timeout = 0.1
    for resource in resources:
        if resource.group != GROUP:
            chosen.watching.label_selectors[resource.group, resource.version, resource.plural] = SELECTOR
    return chosen


def registry(
    resources: Sequence[Resource], absorb: Absorb, login: Callable[[], kopf.ConnectionInfo], stop: asyncio.Event
) -> Any:
    """Handlers that pass every event on and let the queue hear of it, and one that makes `stop` true at the end."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def authenticate(**_: Any) -> kopf.ConnectionInfo:
        return login()

    async def on_event(event: Any, **_: Any) -> None:
        absorb(dict(event["object"]), event["type"] == "DELETED")

    # kopf takes SIGTERM and SIGINT for itself. Unless it is told, it then waits 5 s for its own look-out for `stop`,
    # while we go on leading with eyes shut.
    @kopf.on.cleanup(registry=handlers)
    async def on_end(**_: Any) -> None:
        stop.set()

    for resource in resources:
        kopf.on.event(resource.group, resource.version, resource.plural, registry=handlers)(on_event)
    return handlers


def connection(configuration: Configuration) -> kopf.ConnectionInfo:
    """kopf's credentials from the same configuration the client uses, so both speak to one server as one user."""
    if configuration.refresh_api_key_hook is not None:
        configuration.refresh_api_key_hook(configuration)
    scheme, _, token = configuration.api_key.get("BearerToken", "").partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme.capitalize() or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )


async def watch(
    resources: Sequence[Resource],
    namespaces: Sequence[str],
    absorb: Absorb,
    login: Callable[[], kopf.ConnectionInfo],
    stop: asyncio.Event,
) -> None:
    """Watch until told to stop. Tasks made after this begins would be cancelled as "hung" by kopf at its end."""
    await kopf.operator(
        registry=registry(resources, absorb, login, stop),
        settings=settings(resources),
        clusterwide=not namespaces,
        namespaces=namespaces,
        standalone=True,
        # Without one, kopf looks up the user's name, which a numeric user of a container does not have.
        identity=cast(Any, GROUP),
        stop_flag=stop,
    )
