"""What routers have counted and what they were told last: one page of Envoy's counters, read with suspicion.

A retried attempt counts as a request, and as an error if it was answered with one: otherwise an arm of which half is
broken would look sound, because its other half answers in the end. What no pod answered at all, and was then tried on
another, is nobody's error.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from trimtab.adapters.polling import Distrusted, Question
from trimtab.core.objects import Object
from trimtab.evidence.sources import ArmCounts, Cells, RouterReport
from trimtab.traffic.bootstrap import EPOCH_PREFIX, REPORT_PORT
from trimtab.traffic.envoy import ARM, ROUTES_NAME, SHADOW

FINAL, FINAL_FAILED = "upstream_rq_completed", "upstream_rq_5xx"
RETRIED, RETRIED_FAILED = f"retry.{FINAL}", f"retry.{FINAL_FAILED}"
MEMBERS, TIME = "membership_total", "upstream_rq_time"
CLUSTERS_VERSION = "cluster_manager.cds.version_text"
ROUTES_VERSION = f"http.router.rds.{ROUTES_NAME}.version_text"

COUNTER = re.compile(rf"cluster\.({ARM}|{SHADOW})([-a-z0-9]{{1,63}})\.(.+)")
EPOCH = re.compile(rf"http\.{EPOCH_PREFIX}([-0-9a-zA-Z]{{1,64}})\.rq_total")
WANTED = (
    rf"^cluster\.({ARM}|{SHADOW})[^.]*\.((retry\.)?upstream_rq_(completed|5xx)|{TIME}|{MEMBERS})$"
    rf"|^{re.escape(CLUSTERS_VERSION)}$|^{re.escape(ROUTES_VERSION)}$|^http\.{EPOCH_PREFIX}.*\.rq_total$"
)
PATH = "/stats?format=json&histogram_buckets=disjoint&filter="
LARGEST_COUNT = 1 << 53
EDGES = 64


def read_report(pod: Object, status: int, body: bytes, before: RouterReport | None) -> RouterReport:
    """The report in an answer to GET /stats; Distrusted says why there is none. Latencies are in seconds."""
    if status != 200:
        raise Distrusted("status", f"it answered HTTP {status}")
    plain, histograms = _parsed(body)
    report = RouterReport(
        pod=pod["metadata"]["uid"],
        epoch=_epoch(plain),
        clusters_version=str(plain.get(CLUSTERS_VERSION, ""))[:64],
        routes_version=str(plain.get(ROUTES_VERSION, ""))[:64],
        arms=_counts(ARM, plain, histograms),
        shadows=_counts(SHADOW, plain, histograms),
        endpoints={name: counters.get(MEMBERS, 0) for name, counters in _by_arm(ARM, plain).items()},
    )
    if before is not None and before.epoch == report.epoch and (name := _shrunk(before, report)):
        raise Distrusted("shrank", f"the requests of arm {name} became fewer without a restart")
    return report


def _parsed(body: bytes) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Values by name, and the buckets of histograms by name."""
    try:
        rows = json.loads(body)["stats"]
        plain = {row["name"]: row["value"] for row in rows if "name" in row}
        histograms = {item["name"]: item["buckets"] for row in rows for item in row.get("histograms", ())}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Distrusted("invalid", "its page of counters is not the JSON that Envoy sends") from None
    return plain, histograms


def _epoch(plain: Mapping[str, Any]) -> str:
    for name in plain:
        if found := EPOCH.fullmatch(name):
            return found[1]
    raise Distrusted("invalid", "it does not say since when it counts; its image does not start it as it was told to")


def _by_arm(prefix: str, plain: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, value in plain.items():
        match = COUNTER.fullmatch(name)
        if match and match[1] == prefix:
            found[match[2]][match[3]] = _whole(name, value)
    return dict(found)


def _counts(prefix: str, plain: Mapping[str, Any], histograms: Mapping[str, Any]) -> dict[str, ArmCounts]:
    found = {}
    for arm, counters in _by_arm(prefix, plain).items():
        requests = counters.get(FINAL, 0) + counters.get(RETRIED, 0)
        errors = counters.get(FINAL_FAILED, 0) + counters.get(RETRIED_FAILED, 0)
        if errors > requests:
            raise Distrusted("invalid", f"arm {arm} has {errors} errors in {requests} requests")
        found[arm] = ArmCounts(requests, errors, _cells(histograms.get(f"cluster.{prefix}{arm}.{TIME}", ())))
    return found


def _cells(buckets: Any) -> Cells:
    """Envoy sends edges in milliseconds, and counts of each bucket; the last one ends at infinity by another name."""
    try:
        pairs = [(float(bucket["upper_bound"]), bucket["cumulative"]) for bucket in buckets]
    except (KeyError, TypeError, ValueError):
        raise Distrusted("invalid", "a histogram has other parts than Envoy's") from None
    if len(pairs) > EDGES or any(a >= b for (a, _), (b, _) in itertools.pairwise(pairs)):
        raise Distrusted("invalid", "the edges of a histogram do not grow, or are too many")
    counts = tuple(_whole("a bucket", count) for _, count in pairs)
    return Cells(tuple(edge / 1_000 for edge, _ in pairs), (*counts, 0)) if pairs else Cells()


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_COUNT:
        raise Distrusted("invalid", f"{name[:100]} is no count: {str(value)[:50]}")
    return value


def _shrunk(before: RouterReport, now: RouterReport) -> str:
    """The name of an arm that both reports know and that has fewer requests in the later one."""
    return next(_fewer(before.arms, now.arms), "") or next(_fewer(before.shadows, now.shadows), "")


def _fewer(before: Mapping[str, ArmCounts], now: Mapping[str, ArmCounts]) -> Iterator[str]:
    return (name for name, counts in now.items() if name in before and counts.requests < before[name].requests)


REPORT: Question[RouterReport] = Question("routers", REPORT_PORT, PATH + WANTED, read_report)
