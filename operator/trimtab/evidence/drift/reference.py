"""What traffic is compared with: each feature's cells in training, as the drift profile has them.

Statistics that need comparable masses (PSI, chi-squared, Jensen-Shannon) use groups of cells, about ten; those that
need a fine grid or the tails (Kolmogorov-Smirnov, Wasserstein) use the cells themselves.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, Literal

from trimtab.evidence.drift.season import Slot, mixed, slots

Kind = Literal["numeric", "category", "boolean"]
Role = Literal["input", "score", "prediction"]
Cells = tuple[int, ...]
DECILES = 9
TENTH = 0.1


@dataclass(frozen=True)
class Feature:
    """One feature of a drift profile, or the model's score or predicted class in the same form."""

    name: str
    kind: Kind
    counts: Cells
    """Rows by cell: for k growing edges k + 1; for a category those listed, OTHER, UNSEEN; for a boolean two."""
    missing: int = 0
    edges: tuple[float, ...] = ()
    deciles: tuple[int, ...] = ()
    inside: tuple[int, int] = (0, 0)
    """First and last cell of the range seen; a cell outside is out of range. For numbers."""
    mean: float = 0.0
    deviation: float = 1.0
    categories: tuple[str, ...] = ()
    importance: float | None = None
    role: Role = "input"
    listed: bool = True
    """Whether the last two cells of a category are OTHER and UNSEEN."""
    sums: tuple[float, ...] = field(default=(), repr=False)
    """The sum of z over the rows of each cell, where it was counted: distances are then as good as exact."""
    hours: tuple[Sequence[int], ...] = field(default=(), repr=False)
    """The counts by hour of the day, UTC, where the reference was dated; 24 of them, or none."""

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """The group of each cell. By the deciles; where values repeat so that deciles coincide, by runs of cells."""
        if self.kind != "numeric":
            return tuple(range(len(self.counts)))
        if len(self.deciles) == DECILES:
            starts = {place + 1 for place in self.deciles}
            return tuple(accumulate(int(cell in starts) for cell in range(len(self.counts))))
        return runs(self.counts)

    @cached_property
    def _slots(self) -> tuple[Slot, ...]:
        return slots(self.counts, self.hours)

    def expected(self, hours: Sequence[int]) -> Sequence[float]:
        """The cells that a window with these rows by hour of the day should have: like is compared with like.

        The whole reference's where it was not dated, or the window is not.
        """
        if not self.hours or not any(hours) or not any(self.counts):
            return self.counts
        return mixed(self._slots, hours)

    def grouped(self, cells: Sequence[float]) -> list[float]:
        """The sums of cells by group."""
        sums = [0.0] * (self.groups[-1] + 1)
        for group, count in zip(self.groups, cells, strict=True):
            sums[group] += count
        return sums


def runs(counts: Sequence[int]) -> tuple[int, ...]:
    """Neighbouring cells put together to about a tenth of all rows; a cell with more is a group of its own.

    So a value that takes up most rows hides no other; and what lies beyond the range stays apart from it.
    """
    whole = TENTH * sum(counts)
    filled = [cell for cell, count in enumerate(counts) if count] or [0]
    ends = {filled[0], filled[-1] + 1}
    groups, group, mass = [], 0, 0.0
    for cell, count in enumerate(counts):
        if cell and (cell in ends or mass >= whole > 0 or (mass and count >= whole)):
            group, mass = group + 1, 0.0
        groups.append(group)
        mass += count
    return tuple(groups)


@dataclass(frozen=True)
class Moments:
    """Mean of z and of z zᵀ over n rows; z is standardised by the reference and cut to ±8."""

    features: tuple[str, ...]
    n: float
    mean: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Reference:
    """All of one model version's profile that drift is judged by."""

    features: tuple[Feature, ...]
    moments: Moments | None = None

    @cached_property
    def dated(self) -> bool:
        """Whether the hours of the day are known of any feature."""
        return any(feature.hours for feature in self.features)

    @cached_property
    def weights(self) -> tuple[float, ...]:
        """How much each input matters, adding up to 1: its importance, at least 1 / (4F); 0 for what is no input."""
        inputs = [f for f in self.features if f.role == "input"]
        given = sum(f.importance or 0.0 for f in inputs)
        least = 1 / (4 * max(1, len(inputs)))
        raw = [
            max(least, (f.importance or 0.0) / given if given else 1 / len(inputs)) if f.role == "input" else 0.0
            for f in self.features
        ]
        total = sum(raw) or 1.0
        return tuple(weight / total for weight in raw)


def read_reference(document: Mapping[str, Any], classes: Sequence[str] = ()) -> Reference:
    """A reference from the content of profile.json, which the server has checked; KeyError names what is absent.

    The score and the predicted classes come last, in this order, as the features `score` and `prediction`.
    """
    hours = document.get("hours") or {}
    features = [
        replace(_feature(entry), hours=_hours(hours.get("features", {}).get(entry["name"])))
        for entry in document["features"]
    ]
    if score := document.get("score"):
        edges, counts = tuple(score["edges"]), tuple(score["counts"])
        features.append(replace(_scored(edges, counts), hours=_hours(hours.get("score"))))
    if predictions := document.get("predictions"):
        counts = tuple(predictions["counts"])
        by_hour = _hours(hours.get("predictions"))
        features.append(Feature("prediction", "category", counts, role="prediction", listed=False, hours=by_hour))
    given = document.get("moments")
    moments = given and Moments(
        tuple(given["features"]), given["n"], tuple(given["mean"]), tuple(map(tuple, given["matrix"]))
    )
    return Reference(tuple(features), moments)


def _hours(rows: Sequence[Sequence[int]] | None) -> tuple[Sequence[int], ...]:
    """In as few bytes as will do: of many models there is a lot of this."""
    most = max((max(row, default=0) for row in rows or ()), default=0)
    return tuple(array("H" if most < 1 << 16 else "q", row) for row in rows or ())


def _feature(entry: Mapping[str, Any]) -> Feature:
    common = Feature(
        entry["name"],
        entry["kind"],
        tuple(entry["counts"]),
        entry["missing"],
        categories=tuple(entry.get("categories", ())),
        importance=entry.get("importance"),
    )
    if common.kind != "numeric":
        return common
    return replace(
        common,
        edges=tuple(entry["edges"]),
        deciles=tuple(entry["deciles"]),
        inside=tuple(entry["inside"]),
        mean=entry["mean"],
        deviation=entry["deviation"],
    )


def _scored(edges: tuple[float, ...], counts: Cells) -> Feature:
    """The score as a feature: its range is whatever is possible, its mean and deviation are those of the cells."""
    ends = [edges[0], *edges, edges[-1]]
    middles = [(low + high) / 2 for low, high in pairwise(ends)]
    n = max(1, sum(counts))
    mean = sum(c * x for c, x in zip(counts, middles, strict=True)) / n
    square = sum(c * (x - mean) ** 2 for c, x in zip(counts, middles, strict=True)) / n
    inside = (0, len(counts) - 1)
    return Feature(
        "score", "numeric", counts, edges=edges, inside=inside, mean=mean, deviation=square**0.5 or 1.0, role="score"
    )
