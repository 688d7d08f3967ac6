"""A kind at work: its queue, its workers, and what becomes of a pass that failed."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Iterable

from trimtab.core.objects import Ref
from trimtab.runtime import logs
from trimtab.runtime.cluster import ApiError, NotLeader
from trimtab.runtime.metrics import Metrics, QueueMetrics
from trimtab.runtime.queue import Queue
from trimtab.runtime.reconciler import Reconciler, Refused

log = logging.getLogger(__name__)


class Controller:
    """Workers that take keys of one kind from one queue."""

    def __init__(self, name: str, reconciler: Reconciler, metrics: Metrics, workers: int) -> None:
        self.name = name
        self.queue: Queue[Ref] = Queue(QueueMetrics(metrics, name))
        self._reconciler = reconciler
        self._metrics = metrics
        self._workers = workers
        self._opened = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        metrics.max_workers.labels(name).set(workers)

    def add(self, refs: Iterable[Ref]) -> None:
        """Ask for a look at each."""
        for ref in refs:
            self.queue.add(ref)

    def start(self) -> None:
        """Create the workers. They wait for `open`."""
        self._tasks = [asyncio.create_task(self._work(), name=f"{self.name}-{n}") for n in range(self._workers)]

    def open(self) -> None:
        """Put the workers to work. Done by the leader only; others merely remember what is dirty."""
        self._opened.set()

    async def stop(self, grace: float) -> None:
        """Let passes under way finish within the grace (seconds), then stop."""
        self.queue.close()
        self._opened.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _work(self) -> None:
        await self._opened.wait()
        while (ref := await self.queue.take()) is not None:
            started = time.monotonic()
            token = logs.context.set({"controller": self.name, "object": str(ref), "reconcile": uuid.uuid4().hex[:8]})
            self._metrics.active_workers.labels(self.name).inc()
            try:
                result = await self._pass(ref)
            finally:
                self._metrics.active_workers.labels(self.name).dec()
                self._metrics.reconcile_time.labels(self.name).observe(time.monotonic() - started)
                self.queue.done(ref)
                logs.context.reset(token)
            self._metrics.reconciles.labels(self.name, result).inc()

    async def _pass(self, ref: Ref) -> str:
        """One pass and its outcome; whatever goes wrong concerns this object only."""
        try:
            again = await self._reconciler.reconcile(ref)
        except NotLeader:
            self.queue.retry(ref)  # the lease may yet be renewed in time; if it is not, the process ends
            return "error"
        except (Refused, ApiError) as error:
            return self._again(ref, error)
        except Exception as error:
            log.exception("a pass failed unexpectedly")
            return self._again(ref, error)
        if again is None:
            self.queue.drop(ref)
            return "success"
        self.queue.forget(ref)
        self.queue.add_after(ref, again.total_seconds())
        return "requeue_after"

    def _again(self, ref: Ref, error: Exception) -> str:
        self._metrics.reconcile_errors.labels(self.name).inc()
        delay = self.queue.retry(ref, getattr(error, "retry_after", None))
        log.warning("trying again", extra={"error": str(error), "delay": round(delay, 1)})
        return "error"
