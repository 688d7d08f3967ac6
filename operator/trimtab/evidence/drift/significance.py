"""Could the difference be chance? Chi-squared on pooled groups, divided by the design effect, over all features.

Rows are rarely independent: one entity sends many. The design effect phi says how much wider counts spread than those
of independent rows would; it is measured on sub-windows of the traffic itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from trimtab.evidence.drift.distance import used
from trimtab.evidence.drift.reference import Kind
from trimtab.evidence.drift.special import chi_squared_tail

LEAST_EXPECTED = 5.0
LEAST_PAIRS = 5
CALM = 3


class Test(NamedTuple):
    """A statistic and its degrees of freedom."""

    statistic: float
    freedom: int

    def p_value(self, effect: float = 1.0) -> float:
        """The tail of chi-squared beyond the statistic divided by the design effect (Rao and Scott, 1981)."""
        return chi_squared_tail(self.statistic / effect, self.freedom)


def chi_squared(reference: Sequence[float], current: Sequence[float], kind: Kind = "numeric") -> Test:
    """Pearson's test that two samples, both of finite size, are of one distribution.

    Sparse groups are pooled until each expected count is at least 5 (Cochran, Biometrics 10, 1954): neighbours of a
    number, the rarest of a category.
    """
    pairs = list(zip(reference, current, strict=True))
    if kind == "category":
        pairs.sort(key=sum)
    m, n = sum(reference), sum(current)
    if not m or not n:
        return Test(0.0, 0)
    least = LEAST_EXPECTED * (m + n) / min(m, n)
    pooled: list[list[float]] = []
    for r, c in pairs:
        if pooled and sum(pooled[-1]) < least:
            pooled[-1] = [pooled[-1][0] + r, pooled[-1][1] + c]
        else:
            pooled.append([r, c])
    if len(pooled) > 1 and sum(pooled[-1]) < least:
        r, c = pooled.pop()
        pooled[-1] = [pooled[-1][0] + r, pooled[-1][1] + c]
    statistic = sum((c * m - r * n) ** 2 / (r + c) for r, c in pooled if r + c) / (m * n)
    return Test(statistic, len(pooled) - 1)


class Spread:
    """How much wider than chance counts spread among sub-windows: Pearson's X² of each against all together.

    X² is sum(S / share) - rows, where S is the sum of count² / rows over the sub-windows; so one is added at the cost
    of one.
    """

    def __init__(self, groups: int) -> None:
        self._parts = 0
        self._whole = [0.0] * groups
        self._squares = [0.0] * groups

    def take(self, part: Sequence[float]) -> None:
        """Add a sub-window's group counts."""
        rows = sum(part)
        if not rows:
            return
        self._parts += 1
        for group, count in enumerate(part):
            if count:
                self._whole[group] += count
                self._squares[group] += count * count / rows

    def test(self) -> Test:
        """X² and its degrees of freedom, none when fewer than two sub-windows have rows."""
        rows = sum(self._whole)
        present = [(square, mass) for square, mass in zip(self._squares, self._whole, strict=True) if mass]
        freedom = (self._parts - 1) * (len(present) - 1)
        if freedom < 1:
            return Test(0.0, 0)
        return Test(sum(square * rows / mass for square, mass in present) - rows, freedom)


def design_effect(tests: Sequence[Test]) -> float:
    """X² by degrees of freedom, over all stretches of time that were tested; at least 1.

    The first-order correction of Rao and Scott, Journal of the American Statistical Association 76, 1981. Of three
    stretches and more the one that spreads most is left out: a sudden shift within it is no dependence of rows, and
    the larger it is the longer it would hide itself.
    """
    known = sorted((test for test in tests if test.freedom), key=lambda test: test.statistic / test.freedom)
    calm = known[:-1] if len(known) >= CALM else known
    freedom = sum(test.freedom for test in calm)
    return max(1.0, sum(test.statistic for test in calm) / freedom) if freedom else 1.0


def succession(first: Sequence[float], second: Sequence[float]) -> float | None:
    """X² of a sub-window and the next by the median of chi-squared; None where that says nothing.

    The median over many pairs is a design effect that sees entities who come back later than `Spread` looks, and that
    one sudden shift hardly moves. The median of chi-squared is near f (1 - 2 / 9f)³ (Wilson and Hilferty, 1931).
    """
    before, after = used(first, second)
    m, n, freedom = sum(before), sum(after), len(before) - 1
    if not m or not n or freedom < 1:
        return None
    statistic = sum((b * m - a * n) ** 2 / (a + b) for a, b in zip(before, after, strict=True)) / (m * n)
    return statistic / (freedom * (1 - 2 / (9 * freedom)) ** 3)


def typical(ratios: Sequence[float]) -> float:
    """The design effect that successions show: their median, at least 1; 1 when there are fewer than five."""
    return max(1.0, median(ratios)) if len(ratios) >= LEAST_PAIRS else 1.0


def adjusted(p_values: Sequence[float]) -> list[float]:
    """The smallest false-discovery rate at which each is found (Benjamini and Hochberg, 1995)."""
    order = sorted(range(len(p_values)), key=lambda i: -p_values[i])
    found, least = [1.0] * len(p_values), 1.0
    for place, index in enumerate(order):
        least = min(least, p_values[index] * len(p_values) / (len(p_values) - place))
        found[index] = least
    return found
