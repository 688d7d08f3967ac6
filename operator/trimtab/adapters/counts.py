"""Where counts come from: model pods and routers, asked directly, behind the one protocol that kinds know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import aiohttp

from trimtab.adapters import models, routers
from trimtab.adapters.polling import Poller
from trimtab.core.objects import Object
from trimtab.evidence.sources import ModelReport, RouterReport, SmokeReport


class Counts:
    """`Sources` over HTTP. `clock` is monotonic, in seconds; `failed` is told what was asked and how it failed."""

    def __init__(
        self, session: aiohttp.ClientSession, clock: Callable[[], float], failed: Callable[[str, str], None]
    ) -> None:
        self._routers = Poller(routers.REPORT, session, clock, failed)
        self._models = Poller(models.COUNTS, session, clock, failed)
        self._smoke = Poller(models.SMOKE, session, clock, failed)

    async def routers(self, pods: Sequence[Object], max_age_seconds: float) -> Mapping[str, RouterReport]:
        """By pod uid; pods that did not answer are absent."""
        return await self._routers.ask(pods, max_age_seconds)

    async def models(self, pods: Sequence[Object], max_age_seconds: float) -> Mapping[str, ModelReport]:
        """By pod uid; pods that did not answer are absent."""
        return await self._models.ask(pods, max_age_seconds)

    async def smoke(self, pods: Sequence[Object], max_age_seconds: float) -> Mapping[str, SmokeReport]:
        """By pod uid; a slow one is absent until its answer is there."""
        return await self._smoke.ask(pods, max_age_seconds)
