"""What is wrong with the data itself, kept apart from drift: a broken feed must be mended, not learnt from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Literal, NamedTuple

from trimtab.evidence.drift.distance import beyond
from trimtab.evidence.drift.reference import Feature, Reference
from trimtab.evidence.drift.special import normal_tails
from trimtab.evidence.drift.window import Window

Problem = Literal["Missing", "Type", "Range", "Unseen", "Stuck", "Unit"]
BROKEN: tuple[Problem, ...] = ("Missing", "Type", "Stuck", "Unit")
"""What must not be learned from. New ranges and categories may be the world's own: then training is the cure."""
LEAST_ROWS = 50
LEAST_SHARE = 0.05
LIMIT = 1e-4
STUCK = 0.999
FREE = 0.5
FACTORS = (10.0, 100.0, 1000.0, 60.0, 3600.0, 2.54, 2.204_622_6, 1.609_344, 3.280_84, 4.184)
FAR, NEAR = 0.6, 0.12


class Finding(NamedTuple):
    """One problem of one feature, with a sentence that says how large it is."""

    feature: str
    problem: Problem
    share: float
    message: str


def problems(reference: Reference, window: Window) -> list[Finding]:
    """All problems of the inputs in a window; none below 50 rows."""
    wrong = window.wrong or (0,) * len(reference.features)
    found: list[Finding] = []
    for feature, cells, missing, bad in zip(reference.features, window.cells, window.missing, wrong, strict=True):
        if feature.role == "input":
            found += _of(feature, cells, missing, bad)
    return found


def _of(feature: Feature, cells: Sequence[int], missing: int, wrong: int) -> Iterator[Finding]:
    present, name = sum(cells), feature.name
    rows, known = present + missing + wrong, sum(feature.counts)
    if rows < LEAST_ROWS:
        return
    if _more((wrong, rows), (0, known + feature.missing)):
        yield Finding(name, "Type", wrong / rows, f"{wrong / rows:.1%} of the values are of a wrong type")
    if _more((missing, rows), (feature.missing, known + feature.missing)):
        before = feature.missing / max(1, known + feature.missing)
        yield Finding(name, "Missing", missing / rows, f"{missing / rows:.1%} are missing, {before:.1%} in training")
    if present < LEAST_ROWS:
        return
    if feature.kind == "numeric":
        yield from _numeric(feature, cells, present)
    elif feature.kind == "category" and feature.listed and _more((cells[-1], present), (feature.counts[-1], known)):
        share = cells[-1] / present
        yield Finding(name, "Unseen", share, f"{share:.1%} are categories that training did not have")


def _numeric(feature: Feature, cells: Sequence[int], present: int) -> Iterator[Finding]:
    known, name = sum(feature.counts), feature.name
    factor = unit_change(feature, cells)
    if factor:
        yield Finding(name, "Unit", 1.0, f"the values look like those of training times {factor:g}")
    outside = sum(beyond(feature, cells))
    if _more((round(outside * present), present), (0, known)):
        yield Finding(name, "Range", outside, f"{outside:.1%} are out of the range of training")
    if max(cells) >= STUCK * present and max(feature.counts) <= FREE * known:
        yield Finding(name, "Stuck", max(cells) / present, "nearly all values are in one cell: it looks stuck")


def _more(current: tuple[int, int], reference: tuple[int, int]) -> bool:
    """Whether a share is larger by at least 5 points, and by more than chance (pooled z-test of two proportions)."""
    (bad, rows), (before, known) = current, reference
    share, usual = bad / rows, before / max(1, known)
    if share - usual < LEAST_SHARE:
        return False
    pooled = (bad + before) / (rows + known)
    error = math.sqrt(pooled * (1 - pooled) * (1 / rows + 1 / max(1, known)))
    return error == 0 or normal_tails((share - usual) / error) <= LIMIT


def unit_change(feature: Feature, cells: Sequence[int]) -> float | None:
    """The factor by which all values seem to be multiplied, as when metres become millimetres; None for none.

    The distribution is far from the reference's (Kolmogorov-Smirnov distance above 0.6), and near it (below 0.12) when
    the reference is multiplied by a factor between common units. Where several fit, because the values lie beyond all
    edges, it is the smallest.
    """
    n, m = sum(cells), sum(feature.counts)
    if not n or not m:
        return None
    now = [mass / n for mass in accumulate(cells[:-1])]
    before = [mass / m for mass in accumulate(feature.counts[:-1])]
    if max(abs(a - b) for a, b in zip(now, before, strict=True)) < FAR:
        return None
    fits = []
    for factor in (*FACTORS, *(1 / factor for factor in FACTORS)):
        scaled = [_share_below(feature.edges, before, edge / factor) for edge in feature.edges]
        if max(abs(a - b) for a, b in zip(now, scaled, strict=True)) < NEAR:
            fits.append(factor)
    return min(fits, key=lambda factor: abs(math.log(factor)), default=None)


def _share_below(edges: Sequence[float], shares: Sequence[float], value: float) -> float:
    """The reference's share below a value, evenly spread between edges."""
    if value <= edges[0]:
        return 0.0 if value < edges[0] else shares[0]
    for (low, high), (before, after) in zip(pairwise(edges), pairwise(shares), strict=True):
        if value <= high:
            return before + (after - before) * (value - low) / (high - low)
    return 1.0
