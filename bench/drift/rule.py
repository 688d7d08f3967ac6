"""The operator's rule for drift in numpy, over months at once, and bare rules beside it.

tests/contract holds it against the operator's own code, look by look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from bench.drift.mixes import DAY, FEATURES, GROUPS, HOUR, Mix, windowed
from trimtab.evidence.drift.history import SPREAD_OVER
from trimtab.evidence.drift.significance import CALM, LEAST_PAIRS

LEAST, DISCOVERIES, WARN, RUN = 200, 0.01, 0.2, 3


def design(counts: np.ndarray, widths: Sequence[int]) -> dict[int, np.ndarray]:
    """The design effect [feature, bucket] in windows of these widths, as evidence.drift.history has it."""
    rows = counts.sum(axis=2, keepdims=True)
    hours = (counts.shape[0], -1, HOUR, GROUPS)
    squares = np.divide(counts**2, rows, out=np.zeros(counts.shape), where=rows > 0)
    square, whole = (part.reshape(hours).cumsum(axis=2) for part in (squares, counts))
    parts = (rows > 0).reshape(*hours[:3]).cumsum(axis=2)
    fit = np.divide(square, whole, out=np.zeros(square.shape), where=whole > 0).sum(axis=3) - 1
    freedom = np.maximum(0, (parts - 1) * ((whole > 0).sum(axis=3) - 1))
    fit = np.where(freedom > 0, fit * whole.sum(axis=3), 0.0)
    fit, freedom = calm(recent(fit), recent(freedom))
    effect = np.maximum(1.0, np.divide(fit, freedom, out=np.ones(fit.shape), where=freedom > 0))
    effect = effect.reshape(counts.shape[:2])
    shown = {scale: successions(counts, scale, over) for scale, over in ((HOUR, DAY), (DAY, 7 * DAY))}
    return {
        width: np.maximum.reduce([effect, *(found for scale, found in shown.items() if scale <= width)])
        for width in widths
    }


def recent(hours: np.ndarray) -> np.ndarray:
    """Of [feature, hour, bucket], what each bucket's hour has so far and the five hours before had in all; axis 0."""
    whole = np.pad(hours[:, :, -1:], ((0, 0), (SPREAD_OVER - 1, 0), (0, 0)))
    count = hours.shape[1]
    before = [np.broadcast_to(whole[:, back : back + count], hours.shape) for back in range(SPREAD_OVER - 1)]
    return np.stack([hours, *before])


def calm(fit: np.ndarray, freedom: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sums over axis 0, of three hours and more without the one that spreads most."""
    known = freedom > 0
    ratio = np.divide(fit, freedom, out=np.full(fit.shape, -np.inf), where=known)
    widest = np.arange(len(fit))[:, None, None, None] == ratio.argmax(axis=0)
    kept = ~widest | (known.sum(axis=0) < CALM)
    return (fit * kept).sum(axis=0), (freedom * kept).sum(axis=0)


def successions(counts: np.ndarray, scale: int, over: int) -> np.ndarray:
    """The median difference of successive sub-windows, held until the next is complete."""
    features, buckets, _ = counts.shape
    whole = counts.reshape(features, buckets // scale, scale, GROUPS).sum(axis=2)
    a, b = whole[:, :-1], whole[:, 1:]
    m, n = a.sum(axis=2, keepdims=True), b.sum(axis=2, keepdims=True)
    both = a + b
    terms = np.divide((b * m - a * n) ** 2, both * m * n, out=np.zeros(both.shape), where=both * m * n > 0)
    freedom = (both > 0).sum(axis=2) - 1
    known = np.maximum(1, freedom)
    ratios = np.where(freedom > 0, terms.sum(axis=2) / (known * (1 - 2 / (9 * known)) ** 3), np.nan)
    found = np.ones((features, buckets))
    kept = over // scale - 1
    for last in range(LEAST_PAIRS, ratios.shape[1] + 1):
        part = ratios[:, max(0, last - kept) : last]
        enough = (freedom[:, max(0, last - kept) : last] > 0).sum(axis=1) >= LEAST_PAIRS
        start = (last + 1) * scale
        found[enough, start : start + scale] = np.maximum(1.0, np.nanmedian(part[enough], axis=1))[:, None]
    return found


@dataclass(frozen=True)
class Looks:
    """What each rule says of each look; [bucket] booleans."""

    ours: np.ndarray
    psi: np.ndarray
    p_value: np.ndarray


class Seen(NamedTuple):
    """What one window says of each feature: [feature, bucket]."""

    psi: np.ndarray
    excess: np.ndarray
    p_value: np.ndarray
    bare: np.ndarray
    """The p-value of independent rows."""
    effective: np.ndarray
    typical: np.ndarray
    """Effective rows of the median feature: [bucket]."""


def looks(counts: np.ndarray, mix: Mix, references: Mapping[int, np.ndarray], *, apart: bool = False) -> Looks:
    """`references` are [feature, bucket or 1, group] counts, by window.

    `apart` is not the operator's rule: each feature is judged in the shortest window that is long enough for it alone,
    and not in that of the median feature.
    """
    effects = design(counts, mix.windows)
    seen = [look(counts, width, references[width], effects[width]) for width in mix.windows]
    typical = np.stack([one.typical for one in seen])
    chosen = np.broadcast_to(first(typical >= LEAST, len(seen) - 1), counts.shape[:2])
    if apart:
        chosen = first(np.stack([one.effective for one in seen]) >= LEAST, chosen)
    excess, p_values, effective = (
        np.take_along_axis(np.stack(parts), chosen[None], axis=0)[0]
        for parts in zip(*((one.excess, one.p_value, one.effective) for one in seen), strict=True)
    )
    ordered = np.sort(p_values, axis=0)
    rates = ordered * FEATURES / np.arange(1, FEATURES + 1)[:, None]
    limit = np.where(rates <= DISCOVERIES, ordered, -1).max(axis=0)
    drifted = (excess >= WARN) & (p_values <= limit) & (effective >= LEAST)
    ours = drifted.any(axis=0) & (typical.max(axis=0) >= LEAST)
    return Looks(ours, (seen[0].psi > 0.2).any(axis=0), (seen[0].bare < 0.05).any(axis=0))


def first(enough: np.ndarray, otherwise: np.ndarray | int) -> np.ndarray:
    """The place along axis 0 of the first that is enough."""
    return np.where(enough.any(axis=0), enough.argmax(axis=0), otherwise)


def look(counts: np.ndarray, width: int, reference: np.ndarray, effect: np.ndarray) -> Seen:
    """One window, with its design effect [feature, bucket]."""
    now = windowed(counts, width)
    n, m = now.sum(axis=2), reference.sum(axis=2)
    p = (now + 0.5) / (n[..., None] + GROUPS / 2)
    q = (reference + 0.5) / (m[..., None] + GROUPS / 2)
    psi = ((p - q) * np.log(p / q)).sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = psi - (GROUPS - 1) * effect * (1 / n + 1 / m)
        x2 = ((now * m[..., None] - reference * n[..., None]) ** 2 / (now + reference)).sum(axis=2) / (m * n)
    bare, p_value = (stats.chi2.sf(x2 / divisor, GROUPS - 1) for divisor in (1, effect))
    return Seen(psi, excess, p_value, bare, n / effect, n[0] / np.median(effect, axis=0))


def alarms(found: np.ndarray) -> np.ndarray:
    """In alarm or not, look by look: on after three in a row, off after three without."""
    state, run, quiet, told = False, 0, 0, np.zeros(len(found), bool)
    for place, seen in enumerate(found):
        run, quiet = (run + 1, 0) if seen else (0, quiet + 1)
        state = (state or run >= RUN) and quiet < RUN
        told[place] = state
    return told


def episodes(found: np.ndarray) -> int:
    """How many alarms began."""
    told = alarms(found)
    return int(told[0]) + int((told[1:] & ~told[:-1]).sum())
