"""How many distinct users several pods have seen together, from the sketches they send (docs/contract.md).

A user may have been answered by several pods, so their numbers of users cannot be added; their sketches can be joined.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

REGISTERS = 1024
BITS = 54
"""What is left of a 64-bit hash when 10 bits have chosen the register; a rank is 1 to BITS + 1, or 0."""


def joined(sketches: Iterable[bytes]) -> bytes:
    """The sketch of all users of these sketches: the larger of each register. Empty ones have seen nobody."""
    return bytes(map(max, bytes(REGISTERS), bytes(REGISTERS), *(sketch for sketch in sketches if sketch)))


def distinct(sketch: bytes) -> float:
    """The estimated number of distinct users; its standard error is 3.25 %, and far less for a few hundred users.

    Infinite for a sketch in which every register is at its end, which no number of users leads to.

    Ertl, New cardinality estimation algorithms for HyperLogLog sketches (arXiv:1702.01284), algorithm 6.
    """
    counts = Counter(sketch)
    if counts[0] == len(sketch):
        return 0.0
    middle = sum(counts[rank] * 2.0**-rank for rank in range(1, BITS + 1))
    ends = REGISTERS * (_sigma(counts[0] / REGISTERS) + _tau(1 - counts[BITS + 1] / REGISTERS) * 2.0**-BITS)
    return REGISTERS**2 / (2 * math.log(2) * (middle + ends)) if middle + ends else math.inf


def _sigma(x: float) -> float:
    """x + Σ_{k≥1} x^(2^k) · 2^(k-1), for 0 ≤ x < 1."""
    total, power, weight = x, x * x, 1.0
    while power * weight > 0 and total + power * weight != total:
        total, power, weight = total + power * weight, power * power, weight * 2
    return total


def _tau(x: float) -> float:
    """(1 - x - Σ_{k≥1} (1 - x^(2^-k))² · 2^-k) / 3, for 0 ≤ x ≤ 1."""
    if x in (0.0, 1.0):
        return 0.0
    total, root, weight = 1 - x, math.sqrt(x), 0.5
    while (step := (1 - root) ** 2 * weight) and total - step != total:
        total, root, weight = total - step, math.sqrt(root), weight / 2
    return total / 3
