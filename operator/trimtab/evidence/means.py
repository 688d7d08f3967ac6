"""Is one mean higher than another? An asymptotic confidence sequence of a difference, with the variance pooled.

Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, Annals of Statistics 2024 (arXiv 2103.06476), eq. 9. The variance is the
one under the hypothesis that both arms have the same distribution: with separate variances a small arm that has not yet
met its tail seems surer than it is. For the same reason nothing is said before both arms have `USERS` users and
`EVENTS` expected outcomes, counted as so many equal ones would vary (Kish's effective number).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

USERS = 200
EVENTS = 10


class Difference(NamedTuple):
    """Candidate minus control in one stratum, and what it was taken from."""

    value: float
    variance: float
    """Of `value`, with the arms pooled."""
    units: float
    """Of both arms."""
    control: float
    """The mean of control."""


def combined(strata: Sequence[Difference]) -> Difference | None:
    """Strata weighed by how much they know (inverse variance); None when none of them varies."""
    some = [s for s in strata if s.variance > 0]
    if not some:
        return None
    precision = sum(1 / s.variance for s in some)
    value = sum(s.value / s.variance for s in some) / precision
    control = sum(s.control / s.variance for s in some) / precision
    return Difference(value, 1 / precision, sum(s.units for s in some), control)


def pooled_variance(sums: Sequence[tuple[float, float, float]]) -> float:
    """The variance of one unit from (units, sum, squares) of each arm, as if all units had the same mean."""
    units, total, squares = (math.fsum(column) for column in zip(*sums, strict=True))
    return max(0.0, squares - total * total / units) / max(units - 1.0, 1.0)


def rho(planned: float, alpha: float) -> float:
    """The parameter that makes the interval narrowest at `planned` units (arXiv 2103.06476, appendix B.2)."""
    level = -2 * math.log(alpha)
    return math.sqrt((level + math.log(level + 1)) / max(planned, 1.0))


def radius(variance: float, units: float, scale: float, alpha: float) -> float:
    """Half the width of the two-sided sequence for a difference of this variance (eq. 9, sigma² = units · variance).

    `scale` is rho. In eq. 9's letters: sigma · sqrt(2 (t rho² + 1) / (t² rho²) · log(sqrt(t rho² + 1) / alpha)).
    """
    spread = units * scale * scale + 1
    return math.sqrt(variance * 2 * spread / (units * scale * scale) * math.log(math.sqrt(spread) / alpha))


def log_e(z: float, units: float, scale: float) -> float:
    """The log of the one-sided e-value of a difference that is z standard errors above its hypothesis.

    The normal mixture behind `radius`, with its prior folded onto the side above: twice the two-sided e-value times
    Phi(z sqrt(t rho² / (t rho² + 1))). Reaching 2/alpha implies that the two-sided sequence at alpha excludes it.
    """
    spread = units * scale * scale
    shrink = spread / (spread + 1)
    return math.log(2) + log_phi(z * math.sqrt(shrink)) - 0.5 * math.log1p(spread) + 0.5 * z * z * shrink


def log_phi(x: float) -> float:
    """log of the normal distribution function; far below by its asymptotic series (Abramowitz and Stegun 26.2.12)."""
    if x > -30:
        return math.log(0.5 * math.erfc(-x / math.sqrt(2)))
    return -0.5 * x * x - math.log(-x) - 0.5 * math.log(2 * math.pi) + math.log1p(-1 / (x * x) + 3 / x**4)
