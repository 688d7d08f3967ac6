"""What is kept of a deployment's counts beyond the life of a process: one small document, read as strictly as others.

It is a snapshot: sums, and what each pod had said when they were made. Whoever goes on from it counts what has grown
since, so that nothing is counted twice, whenever the document was written and however many readings came after it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from trimtab.adapters.documents import Limited, Name, Part, Sha256, Whole, demand, parsed
from trimtab.adapters.polling import Distrusted
from trimtab.evidence.drift.degradation import Limit
from trimtab.evidence.drift.kept import Kept, Scale
from trimtab.evidence.drift.labels import Labels

LARGEST = 900_000
"""Bytes; an object of Kubernetes holds 1 MiB."""
LARGEST_INSIDE = 16 << 20
MOST_PODS = 1_000

Time = Annotated[float, Field(ge=0, le=1e11)]
Seconds = Annotated[int, Field(ge=0, le=10**11)]
Blob = tuple[bytes, bytes]
Counts = Annotated[tuple[Whole, ...], Field(max_length=1 << 16)]
Groups = Annotated[list[list[Limited]], Field(max_length=512)]
Short = Annotated[str, StringConstraints(max_length=64)]


class Unread(Exception):  # noqa: N818 - a state, not an error
    """Nobody can tell at the moment whether there is a document."""


class _Kept(Part):
    model_config = ConfigDict(**Part.model_config, ser_json_bytes="base64", val_json_bytes="base64")


class KeptLabels(_Kept):
    """Labels, as sums."""

    edges: Annotated[tuple[Limited, ...], Field(max_length=256)] = ()
    scored: Counts = ()
    right: Counts = ()
    confusion: Counts = ()
    errors: Annotated[tuple[Limited, ...], Field(max_length=5)] = ()
    delays: Counts = ()

    @classmethod
    def of(cls, labels: Labels) -> KeptLabels:
        """The labels as a part of the document."""
        parts = {name: getattr(labels, name) for name in cls.model_fields}
        return cls.model_construct(**{name: part for name, part in parts.items() if part})

    def labels(self) -> Labels:
        """And back."""
        return Labels(self.edges, self.scored, self.right, self.confusion, self.errors, self.delays)


class KeptScale(_Kept):
    """How hours, or days, differed from each other."""

    start: Annotated[int, Field(ge=-1, le=10**11)]
    growing: Groups
    before: Groups
    ratios: Groups


class KeptHistory(_Kept):
    """Counts over time, in coarse parts."""

    begun: Seconds
    end: Seconds
    parts: Annotated[tuple[tuple[Seconds, bytes, bytes], ...], Field(min_length=1, max_length=512)]
    tests: Annotated[list[list[tuple[Limited, Whole]]], Field(max_length=512)]
    scales: Annotated[list[KeptScale], Field(max_length=4)]

    @classmethod
    def of(cls, kept: Kept) -> KeptHistory:
        """The history as a part of the document. Design effects need no more than five digits."""
        tests = [[(_five(statistic), freedom) for statistic, freedom in tests] for tests in kept.tests]
        scales = [
            KeptScale.model_construct(**{**scale._asdict(), "ratios": [list(map(_five, row)) for row in scale.ratios]})
            for scale in kept.scales
        ]
        parts = tuple((start, *content) for start, content in kept.parts)
        return cls.model_construct(begun=kept.begun, end=kept.end, parts=parts, tests=tests, scales=scales)

    def kept(self) -> Kept:
        """And back."""
        scales = [Scale(scale.start, scale.growing, scale.before, scale.ratios) for scale in self.scales]
        parts = tuple((start, (whole, floats)) for start, whole, floats in self.parts)
        return Kept(self.begun, self.end, parts, self.tests, scales)


class KeptCourse(_Kept):
    """All that is known of one revision."""

    digest: Sha256
    profile: Annotated[str, Field(pattern="^(sha256:[0-9a-f]{64})?$")]
    period: Annotated[int, Field(ge=1, le=86_400)]
    limit: tuple[Short, Limited, Whole] | None
    classes: Annotated[tuple[Name, ...], Field(max_length=1_024)]
    delay_edges: Annotated[tuple[Limited, ...], Field(max_length=64)]
    start: Seconds | None
    closed: Seconds
    rows: Blob | None
    labels: KeptLabels
    like: KeptLabels
    newest: Annotated[tuple[tuple[Seconds, KeptLabels], ...], Field(max_length=64)]
    bets: Annotated[tuple[Limited, ...], Field(max_length=16)]
    block: KeptLabels
    history: KeptHistory | None

    def fits(self, period: int, limit: Limit | None) -> bool:
        """Whether it was counted and judged in this way."""
        return (self.period, self.limit) == (period, tuple(limit) if limit else None)


class KeptPod(_Kept):
    """What a pod had said last, since its epoch."""

    uid: Short
    epoch: Short
    digest: Sha256
    profile: Annotated[str, Field(max_length=71)]
    made: Time
    time: Time
    rows: Blob | None
    labels: Annotated[dict[Short, KeptLabels], Field(max_length=8)]


class Document(_Kept):
    """All of it, of one deployment."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    deployment: Name
    begun: Time
    """Pods that were made later, and are not among these, have not been counted at all."""
    saved: Time
    courses: Annotated[tuple[KeptCourse, ...], Field(max_length=16)]
    pods: Annotated[tuple[KeptPod, ...], Field(max_length=MOST_PODS)]


def written(document: Document) -> bytes:
    """The document in few bytes."""
    return zlib.compress(document.model_dump_json(by_alias=True).encode(), 6)


def read_document(content: bytes, deployment: str, now: float) -> Document:
    """The document in kept bytes; Distrusted says why it is of no use."""
    inflating = zlib.decompressobj()
    try:
        body = inflating.decompress(content, LARGEST_INSIDE)
    except zlib.error as error:
        raise Distrusted("invalid", f"it cannot be unpacked: {error}") from None
    demand(inflating.eof, "it is too large, or its end is missing")
    found = parsed(Document, body)
    demand(found.deployment == deployment, f"it is of another deployment, {found.deployment[:64]}")
    longest = max((course.period for course in found.courses), default=0)
    demand(found.saved <= now + longest, "it was written in the future; a clock was wrong, then or now")
    for course in found.courses:
        ahead = max(course.closed, course.start or 0, course.history.end if course.history else 0)
        demand(ahead <= found.saved + 2 * course.period, "it has counts from after it was written")
        demand(course.history is None or _ordered(course.history), "its parts are not in the order of time")
    return found


def _ordered(history: KeptHistory) -> bool:
    starts: Sequence[int] = [start for start, _, _ in history.parts]
    return starts == sorted(set(starts)) and starts[-1] < history.end


def _five(value: float) -> float:
    return float(f"{value:.5g}")
