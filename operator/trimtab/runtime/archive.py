"""Where documents of counts are kept: a ConfigMap for each ModelDeployment, in the operator's own namespace.

In the users' namespaces the operator would need the right to change any ConfigMap there; here its Role is enough, no
user can forge a document, and nothing of it shows where others compare a namespace with a repository. An owner cannot
be in another namespace, so what belongs to a deployment that is gone is deleted by the leader. Nobody watches them.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Callable, Mapping, Set

from trimtab.adapters.monitor.document import Unread
from trimtab.core.metadata import MANAGED_BY, MANAGER
from trimtab.core.objects import GROUP, Object, Ref, Resource
from trimtab.runtime.cluster import ApiError, Cluster

CONFIG_MAP = Resource("v1", "ConfigMap", "configmaps")
COMPONENT = "app.kubernetes.io/component"
LABELS: Mapping[str, str] = {
    "app.kubernetes.io/name": "trimtab-drift-history",
    COMPONENT: "drift-history",
    "app.kubernetes.io/part-of": "trimtab",
    MANAGED_BY: MANAGER,
}
"""Without the instance: a deployment tool that goes by it would take a document for a part of an application."""
SELECTOR = f"{COMPONENT}={LABELS[COMPONENT]}"
PREFIX = "trimtab-drift-history-"
ABOUT = f"{GROUP}/deployment"
KEY = "history"
REST_SECONDS = 3_600.0
log = logging.getLogger(__name__)


class Archive:
    """Documents by the uid of their ModelDeployment. `clock` is monotonic, in seconds."""

    def __init__(self, cluster: Cluster, namespace: str, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._clock = clock
        self._held: dict[str, Object] = {}
        self._strangers: set[str] = set()
        self._rests_until = float("-inf")
        self._listed = False
        self._listing = asyncio.Lock()

    async def recall(self, deployment: str) -> bytes | None:
        """The document of a deployment, or None; Unread when the API server cannot tell at the moment."""
        if self._clock() < self._rests_until:
            return None
        try:
            await self._list()
            found = await self._find(deployment) if deployment in self._held else None
        except ApiError as error:
            if error.transient:
                raise Unread(str(error)) from None
            self._rest("read", error)
            return None
        if found is None or deployment in self._strangers:
            return None
        try:
            return base64.b64decode(found.get("binaryData", {}).get(KEY, ""), validate=True)
        except binascii.Error:
            return b""

    async def keep(self, deployment: str, about: Ref, content: bytes) -> bool:
        """Keep this instead of what was kept before; False when that is not possible now.

        A write names the version that it replaces, so one that is late never undoes what another leader wrote since.
        """
        if deployment in self._strangers or self._clock() < self._rests_until:
            return False
        try:
            await self._write(deployment, self._manifest(deployment, about, content))
        except ApiError as error:
            if not error.transient and not error.conflict:
                self._rest("written", error)
            return False
        return deployment not in self._strangers

    async def prune(self, live: Set[str]) -> None:
        """Delete the documents of all deployments but these."""
        if self._clock() < self._rests_until:
            return
        try:
            await self._list()
            for deployment in self._held.keys() - live - self._strangers:
                await self._delete(deployment)
        except ApiError as error:
            if not error.transient:
                self._rest("deleted", error)

    async def _delete(self, deployment: str) -> None:
        """Delete a document; if somebody made it anew, learn of that one, which goes the next time."""
        try:
            await self._cluster.delete(CONFIG_MAP, {"kind": CONFIG_MAP.kind, "metadata": self._held[deployment]})
        except ApiError as error:
            if not error.conflict:
                raise
            await self._find(deployment)
        else:
            self._held.pop(deployment, None)

    async def _list(self) -> None:
        """Learn once what is there: nobody else writes while we lead, so what is not there need not be asked for."""
        async with self._listing:
            if self._listed:
                return
            async for page in self._cluster.pages(CONFIG_MAP, self._namespace, SELECTOR, whole=False):
                for item in page["items"]:
                    name: str = item["metadata"]["name"]
                    if name.startswith(PREFIX):
                        self._held.setdefault(name.removeprefix(PREFIX), _address(item))
            self._listed = True

    async def _write(self, deployment: str, wanted: Object) -> None:
        try:
            await self._put(deployment, wanted)
        except ApiError as error:
            if error.code not in (404, 409):
                raise
            # Deleted by hand, or written by a leader before us whose answer, or whose write, was late.
            await self._find(deployment)
            if deployment not in self._strangers:
                await self._put(deployment, wanted)

    async def _put(self, deployment: str, wanted: Object) -> None:
        held = self._held.get(deployment)
        if held is None:
            written = await self._cluster.create(CONFIG_MAP, self._namespace, wanted)
        else:
            version = {"resourceVersion": held["resourceVersion"]}
            wanted = {**wanted, "metadata": {**wanted["metadata"], **version}}
            written = await self._cluster.replace(CONFIG_MAP, wanted)
        self._held[deployment] = _address(written)

    async def _find(self, deployment: str) -> Object | None:
        found = await self._cluster.find(CONFIG_MAP, self._namespace, PREFIX + deployment)
        self._held.pop(deployment, None)
        self._strangers.discard(deployment)
        if found is not None and LABELS.items() <= found["metadata"].get("labels", {}).items():
            self._held[deployment] = _address(found)
        elif found is not None:
            self._strangers.add(deployment)
            extra = {"config_map": found["metadata"]["name"]}
            log.warning("there is a ConfigMap that is not ours where counts would be kept; delete it", extra=extra)
        return found

    def _manifest(self, deployment: str, about: Ref, content: bytes) -> Object:
        return {
            "apiVersion": CONFIG_MAP.api_version,
            "kind": CONFIG_MAP.kind,
            "metadata": {
                "name": PREFIX + deployment,
                "namespace": self._namespace,
                "labels": dict(LABELS),
                "annotations": {ABOUT: f"{about.namespace}/{about.name}"},
            },
            "binaryData": {KEY: base64.b64encode(content).decode()},
        }

    def _rest(self, what: str, error: ApiError) -> None:
        """Waiting alone does not mend it: say so, and try again in an hour."""
        self._rests_until = self._clock() + REST_SECONDS
        extra = {"error": str(error), "hint": "is the Role of the chart as old as the operator?"}
        log.warning(f"counts cannot be {what}, so windows of drift end with this process", extra=extra)


def _address(obj: Object) -> Object:
    """All that must be remembered of a document that is there."""
    return {key: obj["metadata"][key] for key in ("namespace", "name", "uid", "resourceVersion")}
