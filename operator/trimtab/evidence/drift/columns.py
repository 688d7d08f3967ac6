"""Columns of text as features: the cells of a drift profile, made in plain Python from a table.

Edges are those the training toolbox writes: 64-quantiles, deciles, the outer points, the range, and five edges beyond
on each side. A column is a number when nearly all its values are; what is no number there is counted as wrong.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from trimtab.evidence.drift.reference import Feature

MISSING_WORDS = frozenset({"", "na", "n/a", "nan", "null", "none"})
TRUTHS = frozenset({"true", "false"})
NUMERIC_SHARE = 0.95
NAMED_ROWS = 5
MOST_CATEGORIES = 256
BEYOND = 5
DECILES = tuple(i / 10 for i in range(1, 10))
POINTS = sorted({*(i / 64 for i in range(1, 64)), *DECILES, 0.001, 0.01, 0.99, 0.999})
CLIP = 8.0
LARGEST = 1e150
"""Squares of larger numbers overflow."""


class Column(NamedTuple):
    """A feature and what tells OTHER from UNSEEN."""

    feature: Feature
    rest: frozenset[str] = frozenset()


class Coded(NamedTuple):
    """A column's cells, one a row, with two more for missing and wrong values; of a number also what follows."""

    cells: list[int]
    z: list[float]
    """Standardised by the reference and cut to ±8; NaN where there is no value."""
    far: list[float]
    """Standardised and not cut, 0 where there is no value; infinite ones are at the outermost edges."""


def column_of(name: str, texts: Sequence[str], *, categorical: bool) -> Column:
    """The feature of a reference column; ValueError when it can say nothing."""
    values = [] if categorical else numbers(texts)
    found = [value for value in values if value is not None and value == value]
    if found and len(found) >= NUMERIC_SHARE * (len(found) + values.count(None)):
        return Column(_numeric(name, found, len(texts) - len(found) - values.count(None)))
    present = [text for text in texts if not is_missing(text)]
    if not present:
        raise ValueError("the reference has no value in it")
    counted = Counter(present)
    if len(present) > NAMED_ROWS and len(counted) > len(present) / 2:
        raise ValueError(f"it looks like an identifier: {len(counted)} values in {len(present)} rows")
    ranked = sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))
    named = [text for text, count in ranked if count >= NAMED_ROWS][:MOST_CATEGORIES]
    others = frozenset(counted) - frozenset(named)
    counts = (*(counted[text] for text in named), sum(counted[text] for text in others), 0)
    missing = len(texts) - len(present)
    return Column(Feature(name, "category", counts, missing, categories=tuple(named)), others)


def code(column: Column, texts: Sequence[str]) -> Coded:
    """The cells of a column's values, in the reference's cells."""
    feature = column.feature
    missing, wrong = len(feature.counts), len(feature.counts) + 1
    if feature.kind == "category":
        places = {text: place for place, text in enumerate(feature.categories)}
        places |= dict.fromkeys(column.rest, missing - 2)
        spelt = _by_meaning(places)
        cell = {
            text: missing if is_missing(text) else places.get(text, spelt.get(_meaning(text), missing - 1))
            for text in set(texts)
        }
        return Coded([cell[text] for text in texts], [], [])
    values = numbers(texts)
    cells = [
        bisect_right(feature.edges, value) if value is not None and value == value else wrong - (value is not None)
        for value in values
    ]
    present = [math.nan if value is None else value for value in values]
    scaled = [(value - feature.mean) / feature.deviation for value in present]
    if not -CLIP <= min(scaled, default=0.0) <= max(scaled, default=0.0) <= CLIP:
        # NaN compares false with everything, so that it has to be the first argument to come through both.
        scaled = [min(max(z, -CLIP), CLIP) for z in scaled]
    return Coded(
        cells,
        scaled,
        [z if -CLIP < z < CLIP else _far(feature, value) for z, value in zip(scaled, present, strict=True)],
    )


def _by_meaning(places: Mapping[str, int]) -> Mapping[float | str | None, int]:
    """Where categories go that are all numbers or truths, however they are spelt; nothing where two mean the same."""
    found = {_meaning(text): place for text, place in places.items()}
    return found if None not in found and len(found) == len(places) else {}


def _meaning(text: str) -> float | str | None:
    """1 and 1.0 are one number, True and TRUE one word; None for any other text.

    Whole numbers are written with decimals as soon as a cell is missing, and each program has its own truths.
    """
    word = text.strip().lower()
    return word if word in TRUTHS else number(text)


def _far(feature: Feature, value: float) -> float:
    if math.isnan(value):
        return 0.0
    at = max(feature.edges[0], min(value, feature.edges[-1])) if math.isinf(value) else value
    return (at - feature.mean) / feature.deviation


def numbers(texts: Sequence[str]) -> list[float | None]:
    """The number in each cell, NaN for a missing one, None for what is no number."""
    if "_" not in "".join(texts):
        try:
            plain = [float(text) for text in texts]
        except ValueError:
            pass
        else:
            if all(map(math.isfinite, plain)) and -LARGEST <= min(plain, default=0) <= max(plain, default=0) <= LARGEST:
                return list(plain)
    return [math.nan if is_missing(text) else number(text) for text in texts]


def is_missing(text: str) -> bool:
    """Whether a cell of a table says that there is no value."""
    return text.strip().lower() in MISSING_WORDS


def number(text: str) -> float | None:
    """The number a cell has, infinite beyond 1e150; None when it has none."""
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        return None
    if abs(value) > LARGEST:
        return math.copysign(math.inf, value)
    return None if math.isnan(value) else value


def edges_of(values: Sequence[float], deviation: float) -> tuple[float, ...]:
    """Growing edges for finite `values` in growing order; doubles fall together, as in the toolbox."""
    low, high = values[0], values[-1]
    outer = (side for k in range(BEYOND) for side in (low - deviation * 2.0**k, high + deviation * 2.0**k))
    inner = (quantile(values, point) for point in POINTS)
    found = {*inner, low, math.nextafter(high, math.inf), *outer}
    return tuple(sorted(edge for edge in found if math.isfinite(edge)))


def quantile(values: Sequence[float], share: float) -> float:
    """Between the two nearest of the sorted `values` (definition 7 of Hyndman and Fan, 1996)."""
    place = share * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] if values[low] == values[high] else values[low] + (place - low) * (values[high] - values[low])


def _numeric(name: str, values: Sequence[float], missing: int) -> Feature:
    finite = sorted(value for value in values if math.isfinite(value)) or [0.0]
    scale = max(1.0, abs(finite[0]), abs(finite[-1]))
    mean = scale * fmean(value / scale for value in finite)
    spread = scale * math.sqrt(fmean(((value - mean) / scale) ** 2 for value in finite))
    # A constant has no spread but what rounding left.
    deviation = spread if finite[0] < finite[-1] and math.isfinite(spread) and spread > 0 else 1.0
    edges = edges_of(finite, deviation)
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[bisect_right(edges, value)] += 1
    places = {bisect_left(edges, quantile(finite, share)) for share in DECILES}
    inside = (bisect_right(edges, finite[0]), bisect_right(edges, finite[-1]))
    deciles = tuple(sorted(place for place in places if place < len(edges)))
    return Feature(name, "numeric", tuple(counts), missing, edges, deciles, inside, mean, deviation)


Table = Mapping[str, Sequence[str]]
"""Columns of text by name, all of one length."""
