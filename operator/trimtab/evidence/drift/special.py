"""Tails of the two distributions that tests on counts need, in `math` alone: chi-squared and Kolmogorov."""

from __future__ import annotations

import math

SURE = 0.03
"""Below this Kolmogorov's tail differs from 1 by less than 1e-300."""


def chi_squared_tail(statistic: float, freedom: int) -> float:
    """P(X >= statistic) for chi-squared with `freedom` whole degrees of freedom; 1 without any.

    Abramowitz and Stegun, 26.4.4 and 26.4.5: finite sums of positive terms, so nothing cancels.
    """
    if freedom < 1 or statistic < 1e-300:
        return 1.0
    half = statistic / 2
    odd = freedom % 2
    start = 0.5 if odd else 0.0
    log = math.log(half)
    terms = (math.exp((i + start) * log - half - math.lgamma(i + start + 1)) for i in range(freedom // 2))
    return min(1.0, (math.erfc(math.sqrt(half)) if odd else 0.0) + math.fsum(terms))


def kolmogorov_tail(value: float) -> float:
    """P(K >= value) for Kolmogorov's limit, which sqrt(nm / (n + m)) D of two samples approaches.

    Kolmogorov, 1933, for large values; for small ones the theta-transformed series (Feller, Annals of Mathematical
    Statistics 19, 1948, eq. 1.4), where the other one cancels.
    """
    if value < SURE:
        return 1.0
    if value < 1.18:
        step = (math.pi / value) ** 2 / 8
        return 1 - math.sqrt(2 * math.pi) / value * math.fsum(math.exp(-((2 * k - 1) ** 2) * step) for k in range(1, 9))
    return 2 * math.fsum((-1) ** (k - 1) * math.exp(-2 * (k * value) ** 2) for k in range(1, 9))


def normal_tails(z: float) -> float:
    """P(|Z| >= |z|) for a standard normal Z."""
    return math.erfc(abs(z) / math.sqrt(2))
