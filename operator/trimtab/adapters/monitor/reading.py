"""What one pod has counted of rows, scores and labels, by the profile and by revision: read with suspicion.

The same document as `adapters.models` reads, for another purpose: there requests and users, here distributions. A pod
that contradicts itself, or says less than it said before, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Annotated

from pydantic import Field

from trimtab.adapters.documents import (
    CountsDocument,
    Limited,
    Name,
    Part,
    Sha256,
    Whole,
    counts_document,
    demand,
    demand_growth,
)
from trimtab.adapters.monitor.profile import MOST_MOMENTS, Profile
from trimtab.adapters.polling import Distrusted, Question
from trimtab.core.objects import Object
from trimtab.evidence.drift.labels import Labels
from trimtab.evidence.drift.window import Window, read_counts
from trimtab.kinds.modeldeployment.template import PORT

LARGEST = 16 << 20
REVISIONS = 8
CUT = 8.0
"""Standardised values are cut to ±8 before they are summed."""
SILENCE = 600.0
"""A pod that is ready and does not answer is asked again no later than after so many seconds."""

Counts = Annotated[tuple[Whole, ...], Field(max_length=1 << 16)]


class _Feature(Part):
    name: Name
    counts: Annotated[tuple[Whole, ...], Field(max_length=300)]
    missing: Whole


class _Counted(Part):
    counts: Counts


class _Moments(Part):
    features: Annotated[tuple[Name, ...], Field(max_length=MOST_MOMENTS)]
    n: Whole
    sum: tuple[Limited, ...]
    products: tuple[tuple[Limited, ...], ...]


class _Scores(Part):
    edges: Annotated[tuple[Limited, ...], Field(max_length=256)]
    n: Counts
    right: Counts


class _Errors(Part):
    n: Whole
    sum: Limited
    absolute: Annotated[float, Field(ge=0, le=1e150)]
    squares: Annotated[float, Field(ge=0, le=1e150)]
    fourths: Annotated[float, Field(ge=0, le=1e150)] | None = None
    """None where an older server does not count them."""

    @property
    def sums(self) -> tuple[float, ...]:
        """As labels have them."""
        known = (float(self.n), self.sum, self.absolute, self.squares)
        return known if self.fourths is None else (*known, self.fourths)

    def sound(self) -> bool:
        """Whether there are numbers with such sums (Cauchy and Schwarz)."""
        most = 1 + 1e-9
        sound = abs(self.sum) <= self.absolute * most and self.absolute**2 <= self.n * self.squares * most
        return sound and (self.fourths is None or self.squares**2 <= self.n * self.fourths * most)


class _Revision(Part):
    revision: Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
    scores: _Scores | None = None
    confusion: Annotated[tuple[Counts, ...], Field(max_length=32)] = ()
    errors: _Errors | None = None


class _Delay(Part):
    edges: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(max_length=64)]
    labels: Counts


class _Feedback(Part):
    delay: _Delay
    revisions: Annotated[tuple[_Revision, ...], Field(max_length=REVISIONS)]


class _Predictions(Part):
    classes: Annotated[tuple[str | int | float | bool, ...], Field(max_length=1 << 16)]
    counts: Counts


class _Document(CountsDocument):
    profile: Sha256 | None = None
    type_errors: Annotated[dict[Name, Whole], Field(alias="typeErrors", max_length=2048)] = {}
    predictions: _Predictions | None = None
    score: _Counted | None = None
    features: Annotated[tuple[_Feature, ...], Field(max_length=2048)] = ()
    moments: _Moments | None = None
    outcomes: _Feedback | None = None


@dataclass(frozen=True)
class Reading:
    """One pod's answer. All counts are cumulative since its epoch."""

    pod: str
    epoch: str
    digest: str
    profile: str
    """The digest of its drift profile; empty when the bundle has none."""
    told: _Document
    delay_edges: tuple[float, ...] = ()
    """Seconds; of the cells in `Labels.delays`."""

    @property
    def counts_rows(self) -> bool:
        """Whether the pod counts rows by feature."""
        return bool(self.told.features)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, where the model has any."""
        return tuple(map(str, self.told.predictions.classes)) if self.told.predictions else ()

    def window(self, profile: Profile) -> Window:
        """The rows in the cells of the profile; Distrusted when they do not fit."""
        try:
            found = read_counts(profile.reference, self.told.model_dump())
        except ValueError as error:
            raise Distrusted("profile", str(error)) from None
        known = profile.reference.moments
        moments = found.moments if known else None
        if known is not None and (self.told.moments is None or self.told.moments.features != known.features):
            raise Distrusted("profile", "moments are of other features than the profile's")
        wrong = [0] * len(profile.reference.features)
        for name, place in profile.inputs.items():
            wrong[place] += self.told.type_errors.get(name, 0)
        return replace(found, wrong=tuple(wrong), moments=moments)

    def labels(self) -> Mapping[str, Labels]:
        """Labels by the first 8 digits of the digest that predicted; delays are those of all of them."""
        feedback = self.told.outcomes
        if feedback is None:
            return {}
        return {row.revision: _labels(row, feedback.delay.labels) for row in feedback.revisions}


def read(pod: Object, status: int, body: bytes, before: Reading | None) -> Reading:
    """The reading in an answer to GET /trimtab/v1/counts; Distrusted says why there is none."""
    found = counts_document(_Document, pod, status, body)
    _check(found)
    edges = found.outcomes.delay.edges if found.outcomes else ()
    reading = Reading(pod["metadata"]["uid"], found.epoch, found.digest, found.profile or "", found, edges)
    if before is not None and before.epoch == reading.epoch:
        demand_growth(_growing(before.told), _growing(found))
    return reading


def question(port: int = PORT) -> Question[Reading]:
    """What is asked of each pod."""
    return Question("monitor", port, "/trimtab/v1/counts", read, largest=LARGEST, silence=SILENCE)


def _labels(row: _Revision, delays: tuple[int, ...]) -> Labels:
    return Labels(
        row.scores.edges if row.scores else (),
        row.scores.n if row.scores else (),
        row.scores.right if row.scores else (),
        tuple(chain.from_iterable(row.confusion)),
        row.errors.sums if row.errors else (),
        delays,
    )


def _check(told: _Document) -> None:
    for feature in told.features:
        sound = sum(feature.counts) + feature.missing <= told.rows
        demand(sound, f"features.{feature.name[:64]} has more values than there are rows")
    for name, part in (("score", told.score), ("predictions", told.predictions)):
        demand(part is None or sum(part.counts) <= told.rows, f"{name} has more values than there are rows")
    if told.moments is not None:
        _check_moments(told.moments, told.rows)
    if told.outcomes is not None:
        delay, rows = told.outcomes.delay, told.outcomes.revisions
        demand(len(delay.labels) == len(delay.edges) + 1, "outcomes.delay needs one more cell than edges")
        demand(len({row.revision for row in rows}) == len(rows), "outcomes has a revision twice")
        for row in rows:
            _check_labels(row)


def _check_moments(moments: _Moments, rows: int) -> None:
    size, n = len(moments.features), moments.n * (1 + 1e-9)
    shaped = len(moments.sum) == len(moments.products) == size and {len(row) for row in moments.products} <= {size}
    demand(shaped, "moments: sum and products do not fit its features")
    demand(moments.n <= rows, "moments has more rows than there are")
    cut = all(abs(value) <= CUT * n for value in moments.sum)
    cut = cut and all(abs(value) <= CUT * CUT * n for row in moments.products for value in row)
    demand(cut, "moments: sums are larger than values that are cut to 8 can make")


def _check_labels(row: _Revision) -> None:
    if row.scores is not None:
        told, right = row.scores.n, row.scores.right
        demand(len(told) == len(right) == len(row.scores.edges) + 1, "outcomes.scores needs one more cell than edges")
        sound = all(some <= every for some, every in zip(right, told, strict=True))
        demand(sound, "outcomes.scores: more labels are right than there are")
    demand({len(line) for line in row.confusion} <= {len(row.confusion)}, "outcomes.confusion is not square")
    sound = row.errors is None or row.errors.sound()
    demand(sound, "outcomes.errors: sums and squares contradict each other")


def _growing(told: _Document) -> Mapping[str, tuple[float, ...]]:
    """All that can only grow within an epoch."""
    found: dict[str, tuple[float, ...]] = {"rows": (told.rows,), "typeErrors": (sum(told.type_errors.values()),)}
    for feature in told.features:
        found[f"features.{feature.name[:64]}"] = (*feature.counts, feature.missing)
    for name, part in (("score", told.score), ("predictions", told.predictions)):
        if part is not None:
            found[name] = part.counts
    if told.outcomes is not None:
        found["outcomes.delay"] = told.outcomes.delay.labels
    for row in told.outcomes.revisions if told.outcomes else ():
        found |= {f"{name} of {row.revision}": part for name, part in _labels(row, ()).growing.items()}
    return found
