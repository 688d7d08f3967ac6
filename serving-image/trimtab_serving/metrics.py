"""What Prometheus is told. Children are bound once, so a request costs an addition and not a lookup.

The revision is a label of every series: two revisions of one model are compared with each other all the time.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST

LATENCY_BUCKETS = (
    *(0.0001, 0.0002, 0.0003, 0.0005, 0.00075),
    *(0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075),
    *(0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Seconds, from 100 µs: predictions of small models live far below the usual first bucket of 5 ms."""


class Metrics:
    """The series of one model revision in one process."""

    def __init__(self, model: str, revision: str) -> None:
        self._registry = CollectorRegistry()
        self._labels = (model, revision)
        self._requests = Counter(
            "trimtab_requests_total",
            "Inference requests by HTTP status code.",
            ("model", "revision", "code"),
            registry=self._registry,
        )
        self._by_code = {code: self._requests.labels(model, revision, str(code)) for code in (200, 400)}
        duration = Histogram(
            "trimtab_request_duration_seconds",
            "From the first byte of an inference request's body being read to its answer being ready.",
            ("model", "revision"),
            buckets=LATENCY_BUCKETS,
            registry=self._registry,
        )
        self._observe = duration.labels(model, revision).observe
        self._load = Gauge(
            "trimtab_model_load_seconds", "Loading and warming up took this long.", registry=self._registry
        )
        self._info = Gauge(
            "trimtab_model_info",
            "Always 1; says what is loaded.",
            ("model", "revision", "digest", "runtime"),
            registry=self._registry,
        )

    def answered(self, code: int, seconds: float) -> None:
        """Count one inference request."""
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._requests.labels(*self._labels, str(code))
        counter.inc()
        self._observe(seconds)

    def loaded(self, digest: str, runtime: str, seconds: float) -> None:
        """Say which bundle is loaded and how long that took."""
        self._info.labels(*self._labels, digest, runtime).set(1)
        self._load.set(seconds)

    def render(self) -> bytes:
        """The text Prometheus scrapes."""
        return generate_latest(self._registry)
