"""How many users an experiment needs, and for how long: said before it starts, so that a hopeless one is not begun.

The figures are those of a test of fixed size, which everybody can check. Evidence that may be looked at any time needs
about 1.1 times that on average when the effect is the smallest one of interest, up to 2.5 times to find it with 94 %,
and less than the fixed size when the effect is 1.5 times as large. That is for rare events: e-processes take events as
they come and do not know of those that did not happen, so a rate p takes 1 / (1 - p) times as many.
"""

from __future__ import annotations

import math
from statistics import NormalDist

QUANTILE = NormalDist().inv_cdf


def needed_users(rate: float, effect: float, share: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Users of both arms together that a two-sided test of two proportions needs, each with its own variance.

    `rate` is control's, `effect` the relative change (negative for a decrease), `share` the candidate's part of the two
    arms' users. ValueError where one of them is out of range.
    """
    _check(rate > 0, "rate", "above 0")
    _check(0 < share < 1, "share", "between 0 and 1")
    _check(effect != 0 and effect > -1, "effect", "above -1 and not 0")
    first, second = rate, rate * (1 + effect)
    variance = _variance(first) / (1 - share) + _variance(second) / share
    return needed_for_mean(variance, second - first, alpha, power)


def _variance(rate: float) -> float:
    """Of one user's events: yes or no, or a Poisson count where there is about one a user or more."""
    return rate * (1 - rate) if rate < 0.95 else rate


def needed_for_mean(variance: float, difference: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Units of both arms; `variance` is that of the difference of means, times the units it was taken from."""
    _check(difference != 0, "difference", "not 0")
    return math.ceil((QUANTILE(1 - alpha / 2) + QUANTILE(power)) ** 2 * variance / difference**2)


def days(users: float, users_per_second: float) -> float | None:
    """How long it takes until so many users have come; None without traffic."""
    return users / users_per_second / 86_400 if users_per_second > 0 else None


def _check(holds: bool, name: str, bound: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {bound}")
