"""The world beyond the cluster, wired: what kinds ask of it, and what effects change in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp

from trimtab.adapters.channels import Channels
from trimtab.adapters.counts import Counts
from trimtab.adapters.mlflow import Mlflow, credentials
from trimtab.adapters.monitor.watcher import Watcher
from trimtab.adapters.notify import Notifier
from trimtab.adapters.prometheus import Prometheus
from trimtab.adapters.registry import MlflowRegistry
from trimtab.adapters.tracking import MlflowTracking
from trimtab.kinds import Ports
from trimtab.runtime import events
from trimtab.runtime.archive import Archive
from trimtab.runtime.cluster import Cluster
from trimtab.runtime.effects import Effects
from trimtab.runtime.metrics import Metrics
from trimtab.settings import Settings


class Outside:
    """All that one replica knows beyond the API server. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        chosen: Settings,
        session: aiohttp.ClientSession,
        clock: Callable[[], float],
        metrics: Metrics,
        allowed: Callable[[], float],
        archive: Archive,
    ) -> None:
        mlflow = Mlflow(chosen.mlflow_tracking_uri, session, clock, credentials(os.environ))
        self._metrics = metrics
        self._allowed = allowed
        self._registry = MlflowRegistry(mlflow)
        self.notifier = Notifier(
            Channels(Path(chosen.notifications_dir) if chosen.notifications_dir else None),
            lambda: allowed() > 0,
            lambda channel, result: metrics.notifications.labels(channel, result).inc(),
            clock,
        )
        self.watcher = Watcher(session, clock, time.time, self._failed, recall=archive.recall)
        self.ports = Ports(
            registry=self._registry,
            counts=Counts(session, clock, self._failed),
            monitor=self.watcher,
            events=Prometheus(chosen.prometheus_uri, session, clock),
            tracking=MlflowTracking(mlflow),
            notifier=self.notifier,
        )

    def _failed(self, source: str, kind: str) -> None:
        self._metrics.poll_failures.labels(source, kind).inc()

    def effects(self, cluster: Cluster, instance: str) -> Effects:
        """What performs the effects of plans, and tells of those that fail as events of this instance."""
        return Effects(
            self._registry,
            self.notifier,
            self._metrics,
            self._allowed,
            lambda obj, event: events.emit(cluster, obj, event, instance),
        )
