"""When documents of counts are written: each once an hour at a time of its own, and all of them at an orderly end.

Only the leader has counts to keep. What it knows beyond its documents when it is killed is counted again by the next
one, from what the pods say; only what pods counted that are gone by then is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from trimtab.core.objects import Ref
from trimtab.runtime.archive import Archive
from trimtab.runtime.cluster import NotLeader
from trimtab.runtime.store import Store

log = logging.getLogger(__name__)
KIND = "ModelDeployment"
EVERY_SECONDS = 60.0
AT_ONCE = 8


class Counts(Protocol):
    """Who knows what is to be kept."""

    def changed(self, *, due: bool) -> Sequence[str]:
        """The deployments, by uid, that know more than their documents; those `due` only which are to be kept now."""

    def document(self, deployment: str) -> tuple[bytes | None, Callable[[], None]]:
        """What is to be kept of one, if anything, and what to call when that is done."""


class Keeper:
    """Brings counts to the archive. `leads` says whether that is this replica's business."""

    def __init__(self, archive: Archive, counts: Counts, store: Store, leads: Callable[[], bool]) -> None:
        self._archive = archive
        self._counts = counts
        self._store = store
        self._leads = leads

    async def run(self) -> None:
        """Keep what is due, for ever."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            if self._leads():
                await self.keep(due=True)

    async def finish(self, seconds: float) -> None:
        """Keep all that is not kept yet, as far as these seconds go."""
        if self._leads():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.keep(due=False), seconds)

    async def keep(self, *, due: bool) -> None:
        """Keep the documents of those that changed, and delete those of deployments that are gone."""
        live = self._live()
        waiting = [uid for uid in self._counts.changed(due=due) if uid in live]

        async def some() -> None:
            while waiting:
                uid = waiting.pop()
                await self._keep_one(uid, live[uid])

        try:
            await asyncio.gather(*(some() for _ in range(AT_ONCE)))
            await self._archive.prune(live.keys())
        except NotLeader:
            log.info("counts are not kept any more: another replica leads")
        except Exception:
            log.exception("counts could not be kept")

    async def _keep_one(self, uid: str, about: Ref) -> None:
        content, kept = self._counts.document(uid)
        if content is None or await self._archive.keep(uid, about, content):
            kept()

    def _live(self) -> Mapping[str, Ref]:
        found = ((self._store.get(ref), ref) for ref in self._store.refs(KIND))
        return {obj["metadata"]["uid"]: ref for obj, ref in found if obj is not None}
