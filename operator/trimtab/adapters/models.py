"""What model pods have counted, and whether they can answer: docs/contract.md, read with suspicion.

A pod runs what somebody trained, so its numbers are checked before a decision may rest on them: a document that
contradicts itself, the pod it comes from or what the pod said before is left out.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from trimtab.adapters.documents import (
    CountsDocument,
    Limited,
    Part,
    Whole,
    counts_document,
    demand,
    demand_growth,
    grows,
)
from trimtab.adapters.polling import Question
from trimtab.core.objects import Object
from trimtab.evidence import sketch
from trimtab.evidence.sources import Cells, ModelReport, SmokeReport
from trimtab.evidence.tally import Bucket
from trimtab.kinds.modeldeployment.template import PORT

BUCKETS = 100
REVISIONS = 8
LARGEST = 8 << 20
SMOKE_SECONDS = 10.0
"""Longer than a pass waits: the next one finds the answer of a slow model."""

ByBucket = Annotated[tuple[Whole, ...], Field(min_length=BUCKETS, max_length=BUCKETS)]
Sums = Annotated[tuple[Limited, ...], Field(min_length=BUCKETS, max_length=BUCKETS)]


class _Latency(Part):
    edges: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(max_length=64)]
    ok: Annotated[tuple[Whole, ...], Field(alias="2xx")]
    refused: Annotated[tuple[Whole, ...], Field(alias="4xx")]
    failed: Annotated[tuple[Whole, ...], Field(alias="5xx")]


class _Classes(Part):
    ok: Annotated[Whole, Field(alias="2xx")]
    refused: Annotated[Whole, Field(alias="4xx")]
    failed: Annotated[Whole, Field(alias="5xx")]


class _Requests(Part):
    classes: _Classes
    latency: _Latency


class _Buckets(Part):
    rows: ByBucket


class _Users(Part):
    registers: Annotated[str, Field(max_length=2048)]


class _Outcomes(Part):
    n: ByBucket
    sum: Sums
    squares: Sums


class _Revision(Part):
    revision: Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
    outcomes: _Outcomes


class _Feedback(Part):
    revisions: Annotated[tuple[_Revision, ...], Field(max_length=REVISIONS)]


class _Document(CountsDocument):
    revision: Annotated[str, Field(min_length=1, max_length=64)]
    requests: _Requests
    buckets: _Buckets
    users: _Users | None = None
    outcomes: _Feedback | None = None


def read_counts(pod: Object, status: int, body: bytes, before: ModelReport | None) -> ModelReport:
    """The report in an answer to GET /trimtab/v1/counts; Distrusted says why there is none.

    Latencies are in seconds, over all requests. `errors` are the answers of class 5xx.
    """
    report = _report(pod["metadata"]["uid"], counts_document(_Document, pod, status, body))
    if before is not None and before.epoch == report.epoch:
        demand_growth(_growing(before), _growing(report))
    return report


def read_smoke(pod: Object, status: int, body: bytes, _: SmokeReport | None) -> SmokeReport:
    """What an answer to POST /trimtab/v1/smoke says; never in doubt, because an answer that makes no sense is no."""
    uid = pod["metadata"]["uid"]
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    told = told if isinstance(told, dict) else {}
    seconds = told.get("seconds")
    if status == 200 and told.get("ok") is True and isinstance(seconds, int | float) and 0 <= seconds < 1e6:
        return SmokeReport(uid, True, float(seconds))
    said = told.get("error")
    why = said[:300] if isinstance(said, str) and said else "its server has no smoke test"
    return SmokeReport(uid, False, error=why if status == 503 else f"HTTP {status}: {why}")


COUNTS: Question[ModelReport] = Question("models", PORT, "/trimtab/v1/counts", read_counts, largest=LARGEST)
SMOKE: Question[SmokeReport] = Question(
    "smoke", PORT, "/trimtab/v1/smoke", read_smoke, method="POST", seconds=SMOKE_SECONDS, largest=1 << 16
)


def _report(uid: str, told: _Document) -> ModelReport:
    classes, own = told.requests.classes, told.digest.removeprefix("sha256:")[:8]
    requests = classes.ok + classes.refused + classes.failed
    outcomes = {row.revision: row.outcomes for row in (told.outcomes.revisions if told.outcomes else ())}
    demand(len(outcomes) == len(told.outcomes.revisions if told.outcomes else ()), "outcomes has a revision twice")
    registers, users = _users(told.users, classes.ok + classes.failed)
    demand(sum(told.buckets.rows) <= told.rows, "buckets.rows has more rows than rows")
    return ModelReport(
        pod=uid,
        epoch=told.epoch,
        revision=told.revision,
        requests=requests,
        errors=classes.failed,
        answered=classes.ok,
        rows=told.rows,
        users=users,
        sketch=registers,
        latency=_latency(told.requests),
        buckets=_buckets(told.buckets.rows, outcomes.get(own)),
        others={name: _buckets((0,) * BUCKETS, row) for name, row in outcomes.items() if name != own},
    )


def _latency(requests: _Requests) -> Cells:
    latency, classes = requests.latency, requests.classes
    edges = latency.edges
    demand(grows(edges), "requests.latency.edges do not grow")
    for name in ("ok", "refused", "failed"):
        cells: tuple[int, ...] = getattr(latency, name)
        demand(len(cells) == len(edges) + 1, "requests.latency needs one more cell than edges in each class")
        demand(sum(cells) == getattr(classes, name), "requests.latency and requests.classes differ")
    return Cells(edges, tuple(map(sum, zip(latency.ok, latency.refused, latency.failed, strict=True))))


def _users(told: _Users | None, requests: int) -> tuple[bytes, int]:
    """The sketch and its estimate; five standard errors above the requests are more users than there can be."""
    if told is None:
        return b"", 0
    try:
        registers = base64.b64decode(told.registers, validate=True)
    except (binascii.Error, ValueError):
        registers = b""
    sound = len(registers) == sketch.REGISTERS and max(registers) <= sketch.BITS + 1
    demand(sound, f"users.registers must be {sketch.REGISTERS} ranks of at most {sketch.BITS + 1} in base64")
    found = sketch.distinct(registers)
    demand(found <= requests * 1.17 + 10, "users.registers has seen more users than there were requests")
    return registers, round(found)


def _buckets(rows: tuple[int, ...], outcomes: _Outcomes | None) -> tuple[Bucket, ...]:
    if outcomes is None:
        return tuple(Bucket(rows=count) for count in rows)
    found = tuple(map(Bucket, rows, outcomes.n, outcomes.sum, outcomes.squares))
    # No n numbers have a greater sum for their squares (Cauchy and Schwarz), nor any sum when there are none.
    sound = all(bucket.total * bucket.total <= bucket.outcomes * bucket.squares * (1 + 1e-9) for bucket in found)
    demand(sound, "outcomes: sums and squares contradict each other")
    return found


def _growing(report: ModelReport) -> Mapping[str, Sequence[float]]:
    """All that can only grow within an epoch."""
    return {
        "requests": (report.requests, report.errors, report.answered, *report.latency.counts),
        "rows": (report.rows, *(bucket.rows for bucket in report.buckets)),
        "users": report.sketch,
        "outcomes": [bucket.outcomes for bucket in report.buckets],
        **{f"outcomes of {name}": [b.outcomes for b in buckets] for name, buckets in report.others.items()},
    }
