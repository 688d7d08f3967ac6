"""What people and Prometheus are told: the sums of all workers, whichever of them is asked.

The counts are the slabs' own, so the figures of a dashboard and those the operator decides by cannot differ. The
revision is a label of every series: two revisions of one model are compared with each other all the time.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import IntEnum
from itertools import accumulate
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from trimtab_serving.bundle import BundleInfo
from trimtab_serving.counting.document import describe_counts
from trimtab_serving.counting.fold import Counts, Folder
from trimtab_serving.counting.layout import CODES, LATENCIES, LATENCY_EDGES, Layout
from trimtab_serving.counting.recorder import Answered, Headers, Recorder
from trimtab_serving.counting.rows import Seen
from trimtab_serving.counting.sketch import describe_users
from trimtab_serving.counting.state import State
from trimtab_serving.outcomes.feedback import FeedbackDesk

log = logging.getLogger("trimtab.metrics")

CONTENT_TYPE = CONTENT_TYPE_LATEST
_MODEL = ("model", "revision")
FROM_THE_START = (200, 400, 500, 503)


class Gauge(IntEnum):
    """The places of a worker's gauges in its slab."""

    RUN = 0
    PHASE = 1
    LOAD_SECONDS = 2
    STARTUP_SECONDS = 3
    CONNECTIONS = 4
    IN_FLIGHT = 5
    WAITING = 6
    MEMORY = 7


_BY_WORKER = (
    (Gauge.CONNECTIONS, "trimtab_connections", "Open connections."),
    (Gauge.IN_FLIGHT, "trimtab_requests_in_flight", "Predictions that have begun and are not answered."),
    (Gauge.WAITING, "trimtab_queue_depth", "Predictions that wait for the model to be free."),
    (Gauge.MEMORY, "trimtab_resident_memory_bytes", "Memory of the worker process, without its predictors."),
)


class Metrics(Collector):
    """The figures of one model revision in one pod."""

    def __init__(
        self, model: str, revision: str, recorder: Recorder | None = None, desk: FeedbackDesk | None = None
    ) -> None:
        self._recorder = recorder or bare_recorder()
        self._state = self._recorder.state
        self._labels = (model, revision)
        self._loaded: tuple[str, str] | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self.desk = desk
        self.identity: dict[str, Any] = {"model": model, "revision": revision}

    def answered(
        self, status: int, seconds: float, headers: Mapping[bytes, bytes], refused: str | None = None
    ) -> Headers:
        """Count one inference request, before its answer leaves; returns headers for the answer."""
        try:
            return self._recorder.answered(status, seconds, headers, refused)
        except Exception:
            # A prediction is worth more than its count, and a count of requests more than one of rows.
            log.exception("a request was answered and its rows were not counted")
            self._alone(status, [seconds])
            return ()

    def answered_together(self, requests: Sequence[Answered], rows: Sequence[int], seen: Seen) -> Sequence[Headers]:
        """Count inference requests that were answered 200 as one batch, before any leaves; headers for each."""
        try:
            return self._recorder.answered_together(requests, rows, seen)
        except Exception:
            log.exception("%d requests were answered and their rows were not counted", len(requests))
            self._alone(200, [request.seconds for request in requests])
            return [()] * len(requests)

    def _alone(self, status: int, times: Sequence[float]) -> None:
        """Count requests without their rows; what keeps even that from being counted has been told."""
        with suppress(Exception):
            for seconds in times:
                self._recorder.alone(status, seconds)

    def set(self, gauge: Gauge, value: float) -> None:
        """Set one of this worker's gauges."""
        self._state.slab.gauges[gauge] = value

    def others(self, gauge: Gauge) -> dict[int, float]:
        """One gauge of every worker, by the worker's number."""
        return {worker: float(slab.gauges[gauge]) for worker, slab in self._state.slabs()}

    def loaded(self, digest: str, runtime: str, seconds: float) -> None:
        """Say which bundle is loaded and how long that took."""
        self._loaded = digest, runtime
        self.set(Gauge.LOAD_SECONDS, seconds)
        self.set(Gauge.STARTUP_SECONDS, _process_age())

    def counts(self) -> bytes:
        """The counts document, as JSON."""
        told = {"schema": 1, "epoch": self._state.epoch, **self.identity}
        told |= describe_counts(self._state.folder.layout, self._state.totals())
        users = self._recorder.users
        if users is not None:
            told["users"] = describe_users(users)
        if self.desk is not None:
            told["outcomes"] = self.desk.document()
        return msgspec.json.encode(told)

    def render(self) -> bytes:
        """The text Prometheus scrapes."""
        self.set(Gauge.MEMORY, resident_bytes())
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are checked when they are collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every family, freshly summed."""
        totals = self._state.totals()
        yield from self._requests(totals)
        if self._loaded is not None:
            info = GaugeMetricFamily(
                "trimtab_model_info", "Always 1; says what is loaded.", labels=(*_MODEL, "digest", "runtime")
            )
            info.add_metric((*self._labels, *self._loaded), 1)
            yield info
        yield GaugeMetricFamily(
            "trimtab_model_load_seconds",
            "Loading and warming up took this long.",
            value=max(self.others(Gauge.LOAD_SECONDS).values()),
        )
        yield GaugeMetricFamily(
            "trimtab_startup_seconds",
            "From the start of the process to being ready.",
            value=max(self.others(Gauge.STARTUP_SECONDS).values()),
        )
        for gauge, name, text in _BY_WORKER:
            family = GaugeMetricFamily(name, text, labels=("worker",))
            for worker, value in sorted(self.others(gauge).items()):
                family.add_metric((str(worker),), value)
            yield family

    def _requests(self, totals: Counts) -> Iterator[Metric]:
        table = totals.whole[self._state.folder.layout.requests].reshape(len(CODES), LATENCIES)
        requests = CounterMetricFamily(
            "trimtab_requests", "Inference requests by HTTP status code.", labels=(*_MODEL, "code")
        )
        for code, row in zip(CODES, table, strict=True):
            # A series that begins with its first error hides that error from every rate.
            if row.any() or code in FROM_THE_START:
                requests.add_metric((*self._labels, str(code)), int(row.sum()))
        yield requests
        duration = HistogramMetricFamily(
            "trimtab_request_duration_seconds",
            "From the first byte of an inference request's body being read to its answer being ready.",
            labels=_MODEL,
        )
        names = [*(repr(edge) for edge in LATENCY_EDGES), "+Inf"]
        cells = accumulate(table.sum(axis=0).tolist())
        duration.add_metric(self._labels, list(zip(names, cells, strict=True)), float(totals.sums[0]))
        yield duration
        rows = CounterMetricFamily("trimtab_rows", "Rows predicted and counted.", labels=_MODEL)
        rows.add_metric(self._labels, int(totals.whole[self._state.folder.layout.rows][0]))
        yield rows


def bare_recorder() -> Recorder:
    """Counts requests in memory, and nothing else: for a server without a bundle."""
    info = BundleInfo(format="", flavor="", runtime="onnx", inputs=(), outputs=())
    return Recorder(State(Folder(Layout(info, None)), None), info, rows=False, signer=None, user_header="")


def resident_bytes() -> int:
    """Memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _process_age() -> float:
    """Seconds since the kernel started this process."""
    with open("/proc/self/stat") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
