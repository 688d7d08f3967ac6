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
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, NamedTuple, Protocol

import uvicorn

from trimtab_serving import heap
from trimtab_serving import model as models
from trimtab_serving.metrics import Gauge, Metrics, resident_bytes
from trimtab_serving.model import Model
from trimtab_serving.outcome import Failure
from trimtab_serving.protocol.errors import RequestError
from trimtab_serving.settings import Settings

log = logging.getLogger("trimtab.lifecycle")


class Phase(enum.Enum):
    """Where in its life the process is."""

    STARTING = "starting"
    """Loading, and not yet listening: a worker that replaces one that died."""
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"


_PHASES = list(Phase)


class Part(NamedTuple):
    """A process's place among the workers of its pod."""

    number: int = 0
    workers: int = 1
    run: float = 0.0
    """When the pod's processes were started: what earlier ones have left behind is told by it."""
    replaces: bool = False
    """Whether it takes the place of a worker that died."""


ALONE = Part()


class Lifecycle:
    """The state all parts of the server look at. Only the event loop's thread changes it."""

    def __init__(self, settings: Settings, metrics: Metrics, part: Part = ALONE) -> None:
        self.settings = settings
        self.model: Model | None = None
        self.failure: Failure | None = None
        self.admitted = 0
        """How many predictions have begun and are not answered."""
        self._metrics = metrics
        self.part = part
        metrics.set(Gauge.RUN, part.run)
        self.phase = Phase.STARTING if part.replaces else Phase.LOADING

    @property
    def phase(self) -> Phase:
        """Where in its life this process is."""
        return self._phase

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._phase = phase
        self._metrics.set(Gauge.PHASE, _PHASES.index(phase))

    @property
    def ready(self) -> bool:
        """Whether new requests should be sent to this pod: any of its workers may be the one to take them."""
        if self.phase is not Phase.READY:
            return False
        if self.part.workers == 1:
            return True
        runs, phases = self._metrics.others(Gauge.RUN), self._metrics.others(Gauge.PHASE)
        # One that replaces a dead worker does not listen until it is ready, so it is no reason to say no.
        fine = (_PHASES.index(Phase.READY), _PHASES.index(Phase.STARTING))
        return all(runs.get(worker) == self.part.run and phases[worker] in fine for worker in range(self.part.workers))

    def check_room(self) -> None:
        """RequestError 503 when as many requests wait as may."""
        if self.admitted >= self.settings.max_queue:
            message = f"{self.settings.max_queue} requests are waiting already; try again in a second"
            raise RequestError(message, 503, ((b"retry-after", b"1"),))

    def admit(self) -> None:
        """Take a request that is whole, and must `release` in the end; RequestError 503 when there is no room.

        Whoever is still sending takes no place: a few hundred slow clients would fill the queue by doing nothing.
        """
        self.check_room()
        self.admitted += 1

    def release(self) -> None:
        """A request that was admitted has its answer."""
        self.admitted -= 1

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
        heap.give_back()
        self.model = loaded
        if self.phase is not Phase.DRAINING:
            self.phase = Phase.READY
        log.info(
            "ready",
            extra={"model": loaded.name, "digest": self.settings.digest, "load_seconds": round(seconds, 3)},
        )

    def drain(self) -> float:
        """Stop being ready; returns the seconds to keep answering (none if no request was ever invited)."""
        was_ready, self.phase = self.phase is Phase.READY, Phase.DRAINING
        return self.settings.drain_seconds if was_ready else 0.0


class Beside(Protocol):
    """A server of another protocol in the same process, which lives as long as the one for HTTP."""

    async def start(self) -> None:
        """Listen; Failure when that cannot be."""

    async def stop(self, seconds: float) -> None:
        """Take nothing new, and give what has begun so many seconds."""


class DrainingServer(uvicorn.Server):
    """uvicorn with our end: SIGTERM begins the drain, a second signal or Ctrl-C cuts it short."""

    def __init__(
        self, config: uvicorn.Config, lifecycle: Lifecycle, metrics: Metrics, beside: Beside | None = None
    ) -> None:
        super().__init__(config)
        self._beside = beside
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._stop_at: float | None = None
        self._loading: asyncio.Task[None] | None = None

    async def startup(self, sockets: object = None) -> None:
        """Listen first, load then: liveness is answered from the start, readiness when it is true.

        A worker that replaces a dead one does it the other way round: the others answer, and it would not.
        """
        if self._lifecycle.part.replaces:
            await self._lifecycle.load()
            if self._lifecycle.failure is not None:
                self.should_exit = True
                return
            await self._listen(sockets)
            return
        await self._listen(sockets)
        self._loading = asyncio.create_task(self._lifecycle.load())

    async def _listen(self, sockets: object) -> None:
        await super().startup(sockets)  # type: ignore[arg-type]
        if self._beside is None:
            return
        try:
            await self._beside.start()
        except Failure as failure:
            self._lifecycle.failure = failure

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what has begun, in both protocols at once."""
        await self._take_in(sockets or [])
        ends = [super().shutdown(sockets)]
        if self._beside is not None:
            ends.append(self._beside.stop(self.config.timeout_graceful_shutdown or 0))
        await asyncio.gather(*ends)

    async def _take_in(self, sockets: list[socket.socket]) -> None:
        """Stop to listen, and take those in who have connected by then: the kernel would cut them off."""
        waiting = [connection for listener in sockets for connection in _connected(listener)]
        for server in self.servers:
            server.close()
        for connection in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(self._connection, connection)

    def _connection(self) -> asyncio.Protocol:
        made: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = made(self.config, self.server_state, self.lifespan.state)
        return protocol

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Runs between two byte codes of the main thread: it only notes what on_tick will act on."""
        if self._stop_at is not None or sig == signal.SIGINT:
            self.should_exit = True
        seconds = self._lifecycle.drain()
        self._stop_at = time.monotonic() + seconds
        log.info("draining", extra={"signal": signal.Signals(sig).name, "drain_seconds": seconds})

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: is it time to go?"""
        if counter % 10 == 0:
            self._gauge()
        over = self._stop_at is not None and time.monotonic() >= self._stop_at
        if over or self._lifecycle.failure is not None:
            self.should_exit = True
        return await super().on_tick(counter)

    def _gauge(self) -> None:
        model = self._lifecycle.model
        self._metrics.set(Gauge.CONNECTIONS, len(self.server_state.connections))
        self._metrics.set(Gauge.IN_FLIGHT, self._lifecycle.admitted)
        self._metrics.set(Gauge.WAITING, model.waiting if model else 0)
        self._metrics.set(Gauge.MEMORY, resident_bytes())


def _connected(listener: socket.socket) -> Iterator[socket.socket]:
    """The connections that nobody has accepted."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # there are no more, or another worker was quicker
            return
        connection.setblocking(False)
        yield connection
