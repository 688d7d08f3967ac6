"""What has been counted so far, over restarts of everything: persisted totals, and where each source was last seen.

Sources report cumulative counts with an epoch. Only growth since the cursor is added, and totals and cursors are
written together, so nothing is ever counted twice: what a crash loses is what had not been written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, NamedTuple

from pydantic import Field

from trimtab.core.api import ApiModel, Short
from trimtab.evidence.tally import NOTHING, Bucket, Segment, Tally

SEGMENTS = 64
"""More are not kept: an experiment that changes its weights so often has to live with the last ones."""
CURSORS = 96
"""Sources that are remembered, with the epoch before the last one of each; the longest unchanged is forgotten first."""

Numbers = Annotated[str, Field(max_length=32768)]
Decimal = Annotated[str, Field(max_length=32)]


@dataclass(frozen=True, slots=True)
class Reading:
    """One source's cumulative counts since its epoch, by arm."""

    source: str
    """Unique and stable: the pod's uid, with a prefix for what was read."""
    epoch: str
    arms: Mapping[str, Tally] = field(default_factory=dict)
    baseline: bool = False
    """It may have counted before the experiment began: seen for the first time, it only sets the cursor."""


class ArmTotal(ApiModel):
    """What was counted of one arm."""

    name: Short
    """The arm."""
    weight: Decimal | None = None
    """Its planned share in percent."""
    counts: Numbers | None = None
    """Users, requests, errors, outcomes, their sum and squares, slow, answered, guarded; then by user bucket."""


class SegmentTotal(ApiModel):
    """What was counted between two changes of the weights."""

    seconds: Decimal
    """How long it lasted."""
    arms: Annotated[list[ArmTotal], Field(max_length=16)]
    """All arms with a weight or with counts."""


class Cursor(ApiModel):
    """Where a source was last seen, so that only what it counts from there on is added."""

    source: Short
    """The source."""
    epoch: Short
    """Its epoch; in another one it counts from zero."""
    arms: Annotated[list[ArmTotal], Field(max_length=16)]
    """Its cumulative counts then."""


class LedgerStatus(ApiModel):
    """The ledger as it is kept in status."""

    segments: Annotated[list[SegmentTotal], Field(max_length=SEGMENTS)] = Field(default_factory=list)
    """Totals of each segment, the last one still growing."""
    cursors: Annotated[list[Cursor], Field(max_length=CURSORS)] = Field(default_factory=list)
    """Where each source was last seen, the longest unchanged first."""


class Key(NamedTuple):
    """One life of one source."""

    source: str
    epoch: str


def restore(status: LedgerStatus | None) -> Ledger:
    """The ledger that was persisted, or an empty one."""
    if status is None:
        return Ledger()
    return Ledger(
        tuple(_segment(total) for total in status.segments),
        {Key(c.source, c.epoch): {arm.name: _tally(arm.counts) for arm in c.arms} for c in status.cursors},
    )


@dataclass(frozen=True, slots=True)
class Ledger:
    """Totals by segment and arm, and the cursors they rest on. Immutable: every change is a new ledger."""

    segments: tuple[Segment, ...] = ()
    cursors: Mapping[Key, Mapping[str, Tally]] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        """No further segment is kept: `begin` would go on with the weights there are."""
        return len(self.segments) >= SEGMENTS

    def begin(self, weights: Mapping[str, float], readings: Sequence[Reading]) -> Ledger:
        """Take these readings into the segment that ends, and begin one of other weights.

        The very first time nothing is counted: the readings only say where each source stands.
        """
        settled = self.read(readings, 0.0) if self.segments else self._noted(readings)
        if self.full or (self.segments and dict(self.segments[-1].weights) == dict(weights)):
            return settled
        return replace(settled, segments=(*settled.segments, Segment(0.0, dict(weights), {})))

    def read(self, readings: Sequence[Reading], seconds: float) -> Ledger:
        """Add to the current segment what each source has counted since it was last seen, and how long that took.

        Nothing is added before the first segment begins. A source that counts less than before in the same epoch gave
        an old answer, or lies: it is passed over until it has caught up.
        """
        if not self.segments:
            return self
        last = self.segments[-1]
        admitted = self._admitted(readings)
        tallies = dict(last.tallies)
        for reading in admitted:
            known = self.cursors.get(Key(reading.source, reading.epoch))
            if known is None and reading.baseline:
                continue
            for arm, seen in _grown(reading, known or {}).items():
                tallies[arm] = tallies.get(arm, NOTHING) + _minus(seen, (known or {}).get(arm, NOTHING))
        current = Segment(last.seconds + seconds, last.weights, tallies)
        return replace(self._noted(admitted), segments=(*self.segments[:-1], current))

    def skip(self, readings: Sequence[Reading]) -> Ledger:
        """Count none of this, and go on from here: while routers change weights, users come by the old and the new."""
        return self._noted(readings)

    def _admitted(self, readings: Sequence[Reading]) -> list[Reading]:
        """One reading of each life; new ones only while no cursor of a source that just answered must go for them."""
        live = {reading.source for reading in readings}
        room = CURSORS - sum(key.source in live for key in self.cursors)
        admitted: dict[Key, Reading] = {}
        for reading in readings:
            key = Key(reading.source, reading.epoch)
            new = key not in self.cursors
            if key not in admitted and (not new or room > 0):
                admitted[key] = reading
                room -= new
        return list(admitted.values())

    def _noted(self, readings: Sequence[Reading]) -> Ledger:
        """The cursors, those that have grown last. A baseline is noted at zero, too: what comes after it is new."""
        cursors = dict(self.cursors)
        for reading in readings:
            key = Key(reading.source, reading.epoch)
            if (grown := _grown(reading, cursors.get(key, {}))) or (reading.baseline and key not in cursors):
                cursors[key] = {**cursors.pop(key, {}), **grown}
        return replace(self, cursors=_bounded(cursors, {reading.source for reading in readings}))

    def status(self) -> LedgerStatus:
        """The form that is persisted: bounded, and the same for the same ledger."""
        return LedgerStatus(
            segments=[
                SegmentTotal(seconds=_plain(s.seconds), arms=_totals(s.tallies, s.weights)) for s in self.segments
            ],
            cursors=[
                Cursor(source=key.source, epoch=key.epoch, arms=_totals(arms)) for key, arms in self.cursors.items()
            ],
        )


def _bounded(cursors: dict[Key, Mapping[str, Tally]], live: Collection[str]) -> dict[Key, Mapping[str, Tally]]:
    """Two lives of each source, and as many as are kept; those who just answered before all others."""
    lives: Counter[str] = Counter()
    recent: list[Key] = []
    for key in reversed(cursors):
        lives[key.source] += 1
        if lives[key.source] <= 2:
            recent.append(key)
    kept = set(sorted(recent, key=lambda key: key.source not in live)[:CURSORS])
    return {key: arms for key, arms in cursors.items() if key in kept}


def _grown(reading: Reading, known: Mapping[str, Tally]) -> dict[str, Tally]:
    """The arms of which the source now counts more."""
    pairs = ((arm, seen, known.get(arm, NOTHING)) for arm, seen in reading.arms.items())
    return {arm: seen for arm, seen, before in pairs if seen != before and _follows(seen, before)}


SIGNED = {"outcome_sum"}
PLAIN = tuple(f.name for f in fields(Tally) if f.name != "buckets")


def _follows(seen: Tally, before: Tally) -> bool:
    """Nothing that can only grow has shrunk, and the buckets are the same ones."""
    if len(before.buckets) not in (0, len(seen.buckets)):
        return False
    grows = all(getattr(seen, name) >= getattr(before, name) for name in PLAIN if name not in SIGNED)
    pairs = zip(seen.buckets, before.buckets, strict=False)
    return grows and all(b.rows >= a.rows and b.outcomes >= a.outcomes and b.squares >= a.squares for b, a in pairs)


def _minus(seen: Tally, before: Tally) -> Tally:
    plain = (getattr(seen, name) - getattr(before, name) for name in PLAIN)
    pairs = zip(seen.buckets, before.buckets or [Bucket()] * len(seen.buckets), strict=True)
    buckets = tuple(Bucket(*(b - a for b, a in zip(new, old, strict=True))) for new, old in pairs)
    return replace(Tally(*plain), buckets=buckets)


def _totals(tallies: Mapping[str, Tally], weights: Mapping[str, float] | None = None) -> list[ArmTotal]:
    shares = weights or {}
    return [
        ArmTotal(
            name=name,
            weight=_plain(shares[name]) if name in shares else None,
            counts=_text(tallies[name]) if name in tallies else None,
        )
        for name in sorted({*tallies, *shares})
    ]


def _segment(total: SegmentTotal) -> Segment:
    return Segment(
        float(total.seconds),
        {arm.name: float(arm.weight) for arm in total.arms if arm.weight is not None},
        {arm.name: _tally(arm.counts) for arm in total.arms if arm.counts is not None},
    )


def _text(tally: Tally) -> str:
    parts = [[getattr(tally, name) for name in PLAIN], *tally.buckets]
    return ";".join(" ".join(_plain(value) for value in part) for part in parts)


def _tally(text: str | None) -> Tally:
    if not text:
        return NOTHING
    plain, *buckets = ([float(number) for number in part.split()] for part in text.split(";"))
    # What was written when fewer numbers were kept has none of the later ones.
    return Tally(**dict(zip(PLAIN, plain, strict=False)), buckets=tuple(Bucket(*bucket) for bucket in buckets))


def _plain(value: float) -> str:
    """The shortest text that reads back as the same number."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))
