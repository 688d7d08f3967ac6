"""How far apart two histograms are. Masses are counts; no statistic here says whether the distance could be chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from trimtab.evidence.drift.reference import Feature

HALF = 0.5


def used(reference: Sequence[float], current: Sequence[float]) -> tuple[list[float], list[float]]:
    """Both without the groups that neither has a row in: they say nothing, and would count as degrees of freedom."""
    pairs = [(r, c) for r, c in zip(reference, current, strict=True) if r or c]
    return [r for r, _ in pairs], [c for _, c in pairs]


def psi(reference: Sequence[float], current: Sequence[float]) -> float:
    """The population stability index, sum (p - q) ln(p / q), over the groups that either has rows in.

    The symmetric divergence of Jeffreys (1946); half a row is added to each group (Jeffreys' prior), so that an empty
    one is neither infinite nor, as with a fixed small number, twice as noisy.
    """
    some, others = used(reference, current)
    m, n = (sum(side) + HALF * len(side) for side in (some, others))
    pairs = (((c + HALF) / n, (r + HALF) / m) for r, c in zip(some, others, strict=True))
    return math.fsum((p - q) * math.log(p / q) for p, q in pairs)


def noise_floor(groups: int, effect: float, rows: float, reference_rows: float) -> float:
    """What PSI is on average without any drift: (B - 1) phi (1/n + 1/m).

    PSI without drift is near (1/n + 1/m) times chi-squared with B - 1 degrees of freedom (Yurdakul and Naranjo, Journal
    of Risk Model Validation 14(4), 2020); phi is the design effect. Infinite when one side has no rows.
    """
    return (groups - 1) * effect * (1 / rows + 1 / reference_rows) if rows and reference_rows else math.inf


def jensen_shannon(reference: Sequence[float], current: Sequence[float]) -> float:
    """The Jensen-Shannon distance in bits, 0 to 1 (Endres and Schindelin, IEEE Trans. Inf. Theory 49, 2003)."""
    m, n = sum(reference), sum(current)
    if not m or not n:
        return 0.0
    parts = []
    for r, c in zip(reference, current, strict=True):
        q, p = r / m, c / n
        middle = (p + q) / 2
        parts += [x * math.log2(x / middle) for x in (p, q) if x > 0]
    return math.sqrt(max(0.0, math.fsum(parts) / 2))


def steps(reference: Sequence[float], current: Sequence[float]) -> list[float]:
    """The difference of both distribution functions at each edge; empty when one side has no rows."""
    m, n = sum(reference), sum(current)
    if not m or not n:
        return []
    return list(accumulate(c / n - r / m for r, c in zip(reference[:-1], current[:-1], strict=True)))


def kolmogorov_smirnov(reference: Sequence[float], current: Sequence[float]) -> float:
    """The largest difference of the distribution functions at the edges (Smirnov, 1939).

    At most the mass of the largest cell below that of the raw values. For a category, whose cells have no order, it
    is the total variation distance, the largest that any order gives.
    """
    return max((abs(step) for step in steps(reference, current)), default=0.0)


def total_variation(reference: Sequence[float], current: Sequence[float]) -> float:
    """Half of sum |p - q|; 0 when one side has no rows."""
    m, n = sum(reference), sum(current)
    return sum(abs(c / n - r / m) for r, c in zip(reference, current, strict=True)) / 2 if m and n else 0.0


def wasserstein(
    feature: Feature, reference: Sequence[float], current: Sequence[float], sums: Sequence[float] = ()
) -> float:
    """The area between the distribution functions of a number, in standard deviations of the reference.

    Vallender, Theory of Probability and its Applications 18, 1974. With the `sums` of z by cell, and the reference's,
    the area in each cell is exact unless the functions cross there. Without them rows are spread evenly over their
    cell, or stand at its lower edge where that explains the reference's mean better, as with whole numbers; and those
    beyond the outermost edge count as if they were at it.
    """
    differences = steps(reference, current)
    if not differences:
        return 0.0
    if sums and feature.sums:
        return math.fsum(_areas(feature, differences, sums, sum(reference), sum(current)))
    pairs = zip(pairwise(differences), pairwise(feature.edges), strict=True)
    if _stands_at_edges(feature):
        area = math.fsum(abs(after) * (high - low) for (_, after), (low, high) in pairs)
    else:
        area = math.fsum(_area(before, after) * (high - low) for (before, after), (low, high) in pairs)
    return area / feature.deviation


def _areas(
    feature: Feature, differences: Sequence[float], sums: Sequence[float], m: float, n: float
) -> Iterator[float]:
    """The area in each cell by parts: the integral of F over a cell is x F at its ends less that of x dF."""
    at_edges = [
        (edge - feature.mean) / feature.deviation * step for edge, step in zip(feature.edges, differences, strict=True)
    ]
    masses = (now / n - before / m for now, before in zip(sums, feature.sums, strict=True))
    for (low, high), mass in zip(pairwise([0.0, *at_edges, 0.0]), masses, strict=True):
        yield abs(high - low - mass)


def _area(before: float, after: float) -> float:
    """The mean of |x| where x goes evenly from `before` to `after`."""
    if before * after >= 0:
        return abs(before + after) / 2
    return (before * before + after * after) / (2 * (abs(before) + abs(after)))


def _stands_at_edges(feature: Feature) -> bool:
    inner = list(zip(feature.counts[1:-1], pairwise(feature.edges), strict=True))
    n = sum(count for count, _ in inner)
    if not n:
        return True
    lower = math.fsum(count * low for count, (low, _) in inner) / n
    middle = math.fsum(count * (low + high) / 2 for count, (low, high) in inner) / n
    return abs(lower - feature.mean) < abs(middle - feature.mean)


def beyond(feature: Feature, cells: Sequence[float]) -> Iterator[float]:
    """The shares of rows below and above the range seen in training."""
    n, (first, last) = sum(cells), feature.inside
    yield sum(cells[:first]) / n if n else 0.0
    yield sum(cells[last + 1 :]) / n if n else 0.0


def tail(feature: Feature, reference: Sequence[float], current: Sequence[float]) -> tuple[float, float]:
    """The share of both in the outer tails, the outermost cells that hold about 1 % of the reference on each side."""
    m, n = sum(reference), sum(current)
    if not m or not n:
        return 0.0, 0.0
    low = next(i for i, mass in enumerate(accumulate(reference)) if mass > m / 100)
    high = len(reference) - next(i for i, mass in enumerate(accumulate(reversed(reference))) if mass > m / 100)
    outer = [sum(side[:low]) + sum(side[max(low, high) :]) for side in (reference, current)]
    return outer[0] / m, outer[1] / n
