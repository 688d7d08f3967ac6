"""From start to end of a process: loading, ready, draining, gone; and never a lost request on the way.

Kubernetes takes a pod out of its Services some time after it has told the pod to stop. Until then requests
keep coming, so the server goes on answering for `drain_seconds`, says in readiness that it is leaving, and
asks each client with `Connection: close` to come back to another pod. Only then does it stop to listen,
finish what it has begun, and end with exit code 0.
"""

from __future__ import annotations

import asyncio
import enum
import gc
import logging
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import uvicorn

from trimtab_serving import model as models
from trimtab_serving.metrics import Metrics
from trimtab_serving.model import Model
from trimtab_serving.outcome import Failure
from trimtab_serving.settings import Settings

log = logging.getLogger("trimtab.lifecycle")


class Phase(enum.Enum):
    """Where in its life the process is."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"


class Lifecycle:
    """The state all parts of the server look at. Only the event loop's thread changes it."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.phase = Phase.LOADING
        self.model: Model | None = None
        self.failure: Failure | None = None
        self._metrics = metrics

    @property
    def ready(self) -> bool:
        """Whether new requests should be sent here."""
        return self.phase is Phase.READY

    async def load(self) -> None:
        """Load the model without holding up health checks; `failure` says why it could not be."""
        start = time.perf_counter()
        try:
            # A pool of its own: the loop waits for its default one when it closes, however long a load takes.
            pool = ThreadPoolExecutor(1, thread_name_prefix="load")
            loaded = await asyncio.get_running_loop().run_in_executor(pool, models.load, self.settings)
            pool.shutdown(wait=False)
        except Failure as failure:
            self.failure = failure
            return
        seconds = time.perf_counter() - start
        self._metrics.loaded(self.settings.digest, loaded.kind, seconds)
        # What is alive now lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        self.model = loaded
        if self.phase is Phase.LOADING:
            self.phase = Phase.READY
        log.info(
            "ready",
            extra={"model": loaded.name, "digest": self.settings.digest, "load_seconds": round(seconds, 3)},
        )

    def drain(self) -> float:
        """Stop being ready; returns the seconds to keep answering (none if no request was ever invited)."""
        was_ready, self.phase = self.ready, Phase.DRAINING
        return self.settings.drain_seconds if was_ready else 0.0


class DrainingServer(uvicorn.Server):
    """uvicorn with our end: SIGTERM begins the drain, a second signal or Ctrl-C cuts it short."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._stop_at: float | None = None
        self._loading: asyncio.Task[None] | None = None

    async def startup(self, sockets: object = None) -> None:
        """Listen first, load then: liveness is answered from the start, readiness when it is true."""
        await super().startup(sockets)  # type: ignore[arg-type]
        self._loading = asyncio.create_task(self._lifecycle.load())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Runs between two byte codes of the main thread: it only notes what on_tick will act on."""
        if self._stop_at is not None or sig == signal.SIGINT:
            self.should_exit = True
        seconds = self._lifecycle.drain()
        self._stop_at = time.monotonic() + seconds
        log.info("draining", extra={"signal": signal.Signals(sig).name, "drain_seconds": seconds})

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: is it time to go?"""
        over = self._stop_at is not None and time.monotonic() >= self._stop_at
        if over or self._lifecycle.failure is not None:
            self.should_exit = True
        return await super().on_tick(counter)
