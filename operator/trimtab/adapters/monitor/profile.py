"""The drift profile of a bundle, fetched once from any of its pods and held to the digest that counts name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from trimtab.adapters.documents import Limited, Name, Part, Whole, demand, grows, parsed
from trimtab.adapters.polling import Distrusted, Question
from trimtab.core.objects import Object
from trimtab.evidence.drift.performance import Calibration, read_calibration
from trimtab.evidence.drift.reference import DECILES, Reference, read_reference
from trimtab.evidence.drift.season import HOURS
from trimtab.evidence.drift.window import Window, empty
from trimtab.kinds.modeldeployment.template import PORT

LARGEST = 32 << 20
MOST_FEATURES = 256
"""Of more inputs the most important ones are watched: memory must have a bound."""
MOST_MOMENTS = 64

Count = Annotated[tuple[Whole, ...], Field(min_length=1, max_length=300)]
Edges = Annotated[tuple[Limited, ...], Field(min_length=1, max_length=256)]


class _Feature(Part):
    name: Name
    input: Name
    kind: Literal["numeric", "category", "boolean"]
    counts: Count
    missing: Whole
    importance: Annotated[float, Field(ge=0, le=1)] | None = None
    edges: Edges | None = None
    deciles: Annotated[tuple[Whole, ...], Field(max_length=DECILES)] = ()
    inside: tuple[Whole, Whole] = (0, 0)
    mean: Limited = 0.0
    deviation: Annotated[float, Field(gt=0, le=1e150)] = 1.0
    categories: Annotated[tuple[Name, ...], Field(max_length=256)] = ()


class _Score(Part):
    kind: Literal["positive", "largest", "value"]
    edges: Edges
    counts: Count
    right: Count | None = None


class _Predictions(Part):
    counts: Annotated[tuple[Whole, ...], Field(max_length=1 << 16)]


class _Moments(Part):
    features: Annotated[tuple[Name, ...], Field(max_length=MOST_MOMENTS)]
    n: Whole
    mean: tuple[Limited, ...]
    matrix: tuple[tuple[Limited, ...], ...]


_Slots = Annotated[tuple[Annotated[tuple[Whole, ...], Field(max_length=1 << 16)], ...], Field(max_length=HOURS)]


class _Hours(Part):
    features: Annotated[dict[Name, _Slots], Field(max_length=MOST_FEATURES)]
    score: _Slots | None = None
    predictions: _Slots | None = None


class _Document(Part):
    schema_: Annotated[Literal[1], Field(alias="schema")]
    features: Annotated[tuple[_Feature, ...], Field(max_length=2048)]
    score: _Score | None = None
    predictions: _Predictions | None = None
    moments: _Moments | None = None
    hours: _Hours | None = None


@dataclass(frozen=True)
class Profile:
    """All of a profile that is of use."""

    digest: str
    reference: Reference
    calibration: Calibration | None = None
    inputs: Mapping[str, int] = field(default_factory=dict)
    """By the name of an input tensor the place of the first feature of it, which its type errors are put down to."""

    @property
    def edges(self) -> tuple[float, ...]:
        """Those of the score."""
        return next((f.edges for f in self.reference.features if f.role == "score"), ())

    @property
    def window(self) -> Window:
        """No rows, with all the parts that a reading's window has."""
        features, moments = self.reference.features, self.reference.moments
        size = len(moments.features) if moments else 0
        sums = (0.0, (0.0,) * size, (0.0,) * size**2) if moments else None
        return replace(empty(self.reference), wrong=(0,) * len(features), moments=sums)


def read_profile(pod: Object, status: int, body: bytes, _: Profile | None) -> Profile:
    """The profile in an answer to GET /trimtab/v1/profile; Distrusted says why there is none."""
    if status != 200:
        raise Distrusted("status", f"it answered HTTP {status}")
    told = parsed(_Document, body)
    for feature in told.features:
        _check_feature(feature)
    _demand_unique([feature.name for feature in told.features])
    if told.score is not None:
        _check_cells("score", told.score.edges, told.score.counts)
        demand(told.score.right is None or len(told.score.right) == len(told.score.counts), "score.right is too short")
    if told.moments is not None:
        _check_moments(told.moments, {feature.name for feature in told.features if feature.kind == "numeric"})
    if told.hours is not None:
        _check_hours(told, told.hours)
    document: dict[str, Any] = json.loads(body)
    reference = _bounded(read_reference(document))
    places = {f.name: place for place, f in enumerate(reference.features) if f.role == "input"}
    inputs: dict[str, int] = {}
    for feature in told.features:
        if feature.name in places:
            inputs.setdefault(feature.input, places[feature.name])
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    return Profile(digest, reference, read_calibration(document), inputs)


def question(port: int = PORT) -> Question[Profile]:
    """What is asked of one pod of each profile."""
    read: Callable[[Object, int, bytes, Profile | None], Profile] = read_profile
    return Question("profile", port, "/trimtab/v1/profile", read, seconds=10.0, largest=LARGEST)


def _bounded(reference: Reference) -> Reference:
    """The reference with at most MOST_FEATURES inputs, the most important ones, in their order."""
    inputs = [f for f in reference.features if f.role == "input"]
    if len(inputs) <= MOST_FEATURES:
        return reference
    ranked = sorted(inputs, key=lambda f: -(f.importance or 0.0))
    kept = {f.name for f in ranked[:MOST_FEATURES]}
    return replace(reference, features=tuple(f for f in reference.features if f.role != "input" or f.name in kept))


def _check_feature(feature: _Feature) -> None:
    where, cells = f"feature {feature.name[:64]!r}", len(feature.counts)
    if feature.kind == "numeric":
        demand(feature.edges is not None, f"{where} has no edges")
        _check_cells(where, feature.edges or (), feature.counts)
        demand(all(place < cells - 1 for place in feature.deciles), f"{where}: deciles names edges that do not exist")
        demand(feature.inside[0] <= feature.inside[1] < cells, f"{where}: inside names cells that do not exist")
    else:
        wanted = len(feature.categories) + 2 if feature.kind == "category" else 2
        demand(cells == wanted, f"{where} has {cells} cells; there should be {wanted}")


def _check_cells(where: str, edges: Sequence[float], counts: Sequence[int]) -> None:
    demand(grows(edges), f"{where}: the edges do not grow")
    demand(len(counts) == len(edges) + 1, f"{where} needs one more cell than edges")


def _check_moments(moments: _Moments, numeric: set[str]) -> None:
    size = len(moments.features)
    shaped = len(moments.mean) == len(moments.matrix) == size and {len(row) for row in moments.matrix} <= {size}
    demand(shaped, "moments: mean and matrix do not fit its features")
    demand(set(moments.features) <= numeric, "moments names a feature that is no number")


def _check_hours(told: _Document, hours: _Hours) -> None:
    counts = {feature.name: feature.counts for feature in told.features}
    for name, slots in hours.features.items():
        _check_slots(f"feature {name[:64]!r}", slots, counts.get(name))
    _check_slots("score", hours.score, told.score.counts if told.score else None)
    _check_slots("predictions", hours.predictions, told.predictions.counts if told.predictions else None)


def _check_slots(where: str, slots: _Slots | None, counts: Sequence[int] | None) -> None:
    if slots is None:
        return
    shaped = counts is not None and len(slots) == HOURS and {len(slot) for slot in slots} == {len(counts)}
    demand(shaped, f"hours: {where} needs {HOURS} rows of as many counts as it has cells")
    demand(tuple(map(sum, zip(*slots, strict=True))) == counts, f"hours: {where} does not add up to the whole day")


def _demand_unique(names: Sequence[str]) -> None:
    demand(len(set(names)) == len(names), "two features have one name")
