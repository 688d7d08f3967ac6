"""Two charts as inline SVG: every arm's interval now, and how the intervals came about over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

WIDTH, ROW, LEFT, RIGHT, TOP = 860, 34, 150, 20, 26
HEIGHT = 260
NAMED = 8
COLOURS = ("#0b6e99", "#b3541e", "#5b7f2b", "#7a4a9c", "#a3324a", "#31708f", "#8a6d1d", "#444444")


class Bar(NamedTuple):
    """One interval, in percent; a bound that is None is not known, or infinite."""

    name: str
    lift: float
    lower: float | None
    upper: float | None


class Scale(NamedTuple):
    """From values to places."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value; what lies outside is put at the edge."""
        within = min(max(value, self.low), self.high)
        return round(self.start + (within - self.low) / (self.high - self.low) * (self.end - self.start), 1)


def bar(name: str, row: Mapping[str, Any]) -> Bar | None:
    """An arm's interval from its numbers in percent; None while nothing is known."""
    if row.get("lift") is None:
        return None
    low, high = (None if row.get(key) is None else float(row[key]) for key in ("lower", "upper"))
    return Bar(name, float(row["lift"]), _finite(low), _finite(high))


def intervals(bars: Sequence[Bar]) -> str:
    """A row for each arm: its lift and the interval around it, against no difference."""
    height = TOP + ROW * len(bars) + 26
    across = _scale(bars, LEFT, WIDTH - RIGHT)
    parts = [_line(across(0), TOP - 6, across(0), height - 24, "zero"), *_ticks(across, height)]
    for number, item in enumerate(bars):
        middle = TOP + ROW * number + ROW // 2
        low = across(across.low if item.lower is None else item.lower)
        high = across(across.high if item.upper is None else item.upper)
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<text x="{LEFT - 12}" y="{middle + 4}" text-anchor="end">{escape(item.name)}</text>')
        parts.append(f'<line x1="{low}" y1="{middle}" x2="{high}" y2="{middle}" stroke="{colour}" stroke-width="5"/>')
        parts.append(f'<circle cx="{across(item.lift)}" cy="{middle}" r="6" fill="{colour}"/>')
    return svg(height, "Lift of each arm over the control, in percent, with its interval", parts)


def over_time(hours: Sequence[float], rows: Mapping[str, Sequence[Bar | None]]) -> str:
    """Lift and interval of each arm at the end of each segment; `hours` since the run began."""
    known = [item for series in rows.values() for item in series if item]
    up = _scale(known, HEIGHT - 30, TOP)
    along = Scale(0.0, max(*hours, 1e-9), LEFT, WIDTH - RIGHT)
    parts = [_line(LEFT, up(0), WIDTH - RIGHT, up(0), "zero")]
    parts += [f'<text x="{LEFT - 12}" y="{up(v) + 4}" text-anchor="end">{v:+.3g} %</text>' for v in _steps(up)]
    parts += [
        f'<text x="{along(hour)}" y="{HEIGHT - 8}" text-anchor="middle">{hour:.3g} h</text>'
        for hour in _some(sorted({*hours}))
    ]
    for number, (name, series) in enumerate(rows.items()):
        parts += _series(name, [(along(hour), item) for hour, item in zip(hours, series, strict=True)], up, number)
    return svg(HEIGHT, "Lift over the control at the end of each segment, in percent, with its interval", parts)


def _series(name: str, points: Sequence[tuple[float, Bar | None]], up: Scale, number: int) -> list[str]:
    colour, shift = COLOURS[number % len(COLOURS)], 3 * number
    known = [(place + shift, item) for place, item in points if item]
    path = " ".join(f"{place},{up(item.lift)}" for place, item in known)
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>']
    for place, item in known:
        low = up(up.low if item.lower is None else item.lower)
        high = up(up.high if item.upper is None else item.upper)
        parts.append(f'<line x1="{place}" y1="{low}" x2="{place}" y2="{high}" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<circle cx="{place}" cy="{up(item.lift)}" r="5" fill="{colour}"/>')
    parts.append(f'<text x="{LEFT + 130 * number}" y="14" style="fill: {colour}">{escape(name)}</text>')
    return parts


def _scale(bars: Sequence[Bar], start: float, end: float) -> Scale:
    """Wide enough for all bounds, but not for those of an arm of which hardly anything is known."""
    lifts = [abs(item.lift) for item in bars] or [0.0]
    bounds = [abs(value) for item in bars for value in (item.lower, item.upper) if value is not None]
    reach = max(1.0, *lifts, min(max(bounds, default=0.0), 4 * max(*lifts, 5.0)))
    return Scale(-1.1 * reach, 1.1 * reach, start, end)


def _steps(scale: Scale) -> list[float]:
    """Round values to mark, 0 among them."""
    size = 10 ** math.floor(math.log10(scale.high))
    size = next(step * size for step in (0.2, 0.5, 1.0, 2.0, 5.0) if scale.high / (step * size) <= 5)
    count = int(scale.high / size)
    return [number * size for number in range(-count, count + 1)]


def _some(values: Sequence[float]) -> Sequence[float]:
    """The last of them, and as many before it as there is room to name."""
    every = math.ceil(len(values) / NAMED)
    return values[::-1][::every]


def _ticks(scale: Scale, height: float) -> list[str]:
    return [
        f'<text x="{scale(value)}" y="{height - 6}" text-anchor="middle">{value:+.3g} %</text>'
        for value in _steps(scale)
    ]


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{style}"/>'


def svg(height: float, label: str, parts: Sequence[str]) -> str:
    """A drawing as wide as the page; the label is for those who cannot see it."""
    body = "\n".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">\n{body}\n</svg>'


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
