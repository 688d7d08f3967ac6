"""One feature's values in training and in traffic, side by side, as inline SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

from trimtab.cli.chart import COLOURS, WIDTH, svg
from trimtab.evidence.drift.reference import Feature

BARS = 24
MOST_CATEGORIES = 12
OUTER = 0.005
HEIGHT, TOP, FLOOR, LEFT = 170, 24, 140, 10
TRAINING, TRAFFIC = "#9aa7ad", COLOURS[0]
LONGEST_LABEL = 14


class Pair(NamedTuple):
    """A place on the axis with both shares of rows, 0 to 1."""

    label: str
    training: float
    traffic: float


def plot(feature: Feature, counts: Sequence[int]) -> str:
    """A drawing of the shares of rows; `counts` are in the feature's cells."""
    pairs = numeric(feature, counts) if feature.kind == "numeric" else categories(feature, counts)
    most = max((max(pair.training, pair.traffic) for pair in pairs), default=0.0) or 1.0
    step = (WIDTH - 2 * LEFT) / max(1, len(pairs))
    drawn = [part for place, pair in enumerate(pairs) for part in _bars(pair, LEFT + place * step, step, most)]
    key = f'<text x="{LEFT}" y="14" style="fill: {TRAINING}">training</text>'
    key += f'<text x="{LEFT + 70}" y="14" style="fill: {TRAFFIC}">traffic</text>'
    return svg(HEIGHT, f"Shares of rows of {feature.name}, in training and in traffic", [key, *drawn])


def numeric(feature: Feature, counts: Sequence[int]) -> list[Pair]:
    """Bars of one width between the outer half percents of both, and one on each side for what lies beyond them."""
    sides = [_shares(feature.counts), _shares(counts)]
    low, high = _middle(feature, sides)
    width = (high - low) / BARS
    edges = [low + width * place for place in range(BARS + 1)]
    spread = [_spread(feature, side, edges) for side in sides]
    labels = [f"< {low:.4g}", *(f"{edge:.4g}" for edge in edges[:-1]), f"> {high:.4g}"]
    return [Pair(*row) for row in zip(labels, *spread, strict=True)]


def categories(feature: Feature, counts: Sequence[int]) -> list[Pair]:
    """A bar for each category, the most frequent in either first; the rest together."""
    names = list(feature.categories) + (["other", "unseen"] if feature.listed and feature.kind == "category" else [])
    names = ["false", "true"] if feature.kind == "boolean" else names
    names += [f"{place}" for place in range(len(names), len(feature.counts))]
    rows = [Pair(*row) for row in zip(names, _shares(feature.counts), _shares(counts), strict=True)]
    rows.sort(key=lambda pair: -max(pair.training, pair.traffic))
    rest = rows[MOST_CATEGORIES:]
    more = Pair("the rest", sum(pair.training for pair in rest), sum(pair.traffic for pair in rest))
    return rows[:MOST_CATEGORIES] + ([more] if rest else [])


def _shares(counts: Sequence[float]) -> list[float]:
    whole = sum(counts)
    return [count / whole if whole else 0.0 for count in counts]


def _middle(feature: Feature, sides: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The edges between which nearly all of both lies."""
    lows, highs = [], []
    for shares in sides:
        below = 0.0
        inside = [feature.edges[0], feature.edges[-1]]
        for edge, share in zip(feature.edges, shares, strict=False):
            below += share
            if below <= OUTER:
                inside[0] = edge
            if below >= 1 - OUTER:
                inside[1] = edge
                break
        if any(shares):
            lows.append(inside[0])
            highs.append(inside[1])
    low, high = min(lows, default=0.0), max(highs, default=1.0)
    return (low, high) if low < high else (low - 0.5, low + 0.5)


def _spread(feature: Feature, shares: Sequence[float], edges: Sequence[float]) -> list[float]:
    """Shares by the bars' edges, with one more on each side; rows are spread evenly over their cell."""
    found = [0.0] * (len(edges) + 1)
    found[0], found[-1] = shares[0], shares[-1]
    for share, (low, high) in zip(shares[1:-1], pairwise(feature.edges), strict=True):
        if share:
            for place, part in _parts(low, high, edges):
                found[place] += share * part
    return found


def _parts(low: float, high: float, edges: Sequence[float]) -> Iterator[tuple[int, float]]:
    """Which bars a cell covers, and with how much of itself."""
    bounds = [min(low, edges[0]), *edges, max(high, edges[-1])]
    for place, (start, end) in enumerate(pairwise(bounds)):
        if (shared := min(high, end) - max(low, start)) > 0:
            yield place, shared / (high - low)


def _bars(pair: Pair, left: float, width: float, most: float) -> Iterator[str]:
    tip = escape(f"{pair.label}: training {pair.training:.1%}, traffic {pair.traffic:.1%}")
    for shift, share, colour in ((0.08, pair.training, TRAINING), (0.5, pair.traffic, TRAFFIC)):
        height = round((FLOOR - TOP) * share / most, 1)
        place = f'x="{left + shift * width:.1f}" y="{FLOOR - height:.1f}" width="{0.42 * width:.1f}" height="{height}"'
        yield f'<rect {place} fill="{colour}"><title>{tip}</title></rect>'
    size = min(11.0, 1.6 * width / max(1, min(len(pair.label), LONGEST_LABEL)))
    label = escape(pair.label if len(pair.label) <= LONGEST_LABEL else pair.label[: LONGEST_LABEL - 1] + "…")
    middle = f'x="{left + width / 2:.1f}" y="{FLOOR + 16}" text-anchor="middle"'
    yield f'<text {middle} style="font-size: {size:.1f}px">{label}</text>'
