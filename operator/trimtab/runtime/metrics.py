"""The operator's metrics, under the names dashboards for controllers already know."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from trimtab import __version__

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class QueueMetrics:
    """The workqueue_* series of one queue."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._depth = metrics.queue_depth.labels(name)
        self._adds = metrics.queue_adds.labels(name)
        self._waited = metrics.queue_waited.labels(name)
        self._worked = metrics.queue_worked.labels(name)
        self._retries = metrics.queue_retries.labels(name)

    def added(self, depth: int) -> None:
        """A key came."""
        self._adds.inc()
        self._depth.set(depth)

    def taken(self, depth: int, waited: float) -> None:
        """A worker took a key that had waited so many seconds."""
        self._depth.set(depth)
        self._waited.observe(waited)

    def worked(self, seconds: float) -> None:
        """A worker let go of a key."""
        self._worked.observe(seconds)

    def retried(self) -> None:
        """A key failed."""
        self._retries.inc()


class Metrics:
    """All series, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._controller_series()
        self._queue_series()
        self._own_series()

    def _controller_series(self) -> None:
        r = self.registry
        self.reconciles = Counter(
            "controller_runtime_reconcile_total", "Reconciliations by result.", ["controller", "result"], registry=r
        )
        self.reconcile_errors = Counter(
            "controller_runtime_reconcile_errors_total", "Failed reconciliations.", ["controller"], registry=r
        )
        self.reconcile_time = Histogram(
            "controller_runtime_reconcile_time_seconds", "Time of one.", ["controller"], buckets=BUCKETS, registry=r
        )
        self.max_workers = Gauge(
            "controller_runtime_max_concurrent_reconciles", "Workers of a kind.", ["controller"], registry=r
        )
        self.active_workers = Gauge("controller_runtime_active_workers", "Workers at work.", ["controller"], registry=r)

    def _queue_series(self) -> None:
        r = self.registry
        self.queue_depth = Gauge("workqueue_depth", "Keys waiting.", ["name"], registry=r)
        self.queue_adds = Counter("workqueue_adds_total", "Keys added.", ["name"], registry=r)
        self.queue_waited = Histogram(
            "workqueue_queue_duration_seconds", "Time before work.", ["name"], buckets=BUCKETS, registry=r
        )
        self.queue_worked = Histogram(
            "workqueue_work_duration_seconds", "Time at work.", ["name"], buckets=BUCKETS, registry=r
        )
        self.queue_retries = Counter("workqueue_retries_total", "Keys that failed.", ["name"], registry=r)
        self.queue_longest = Gauge(
            "workqueue_longest_running_processor_seconds", "Longest work under way.", ["name"], registry=r
        )

    def _own_series(self) -> None:
        r = self.registry
        self.requests = Counter(
            "rest_client_requests_total", "Requests to the API server.", ["code", "method"], registry=r
        )
        self.leading = Gauge("leader_election_master_status", "1 on the leader.", ["name"], registry=r)
        self.objects = Gauge("trimtab_store_objects", "Objects held in memory.", ["kind"], registry=r)
        self.last_event = Gauge(
            "trimtab_watch_last_event_timestamp_seconds", "When the last event came.", ["kind"], registry=r
        )
        self.repairs = Counter(
            "trimtab_relist_repairs_total", "Changes that no watch had told of.", ["kind"], registry=r
        )
        self.children_applied = Counter(
            "trimtab_children_applied_total", "Server-side applies of children.", ["kind", "changed"], registry=r
        )
        self.poll_failures = Counter(
            "trimtab_poll_failures_total", "Answers of pods that were not used.", ["source", "kind"], registry=r
        )
        self.effects = Counter(
            "trimtab_effects_total", "Changes outside the cluster by result.", ["kind", "result"], registry=r
        )
        self.notifications = Counter(
            "trimtab_notifications_total", "Messages to people by result.", ["channel", "result"], registry=r
        )
        build = Gauge("trimtab_build_info", "Always 1.", ["version"], registry=r)
        build.labels(__version__).set(1)
