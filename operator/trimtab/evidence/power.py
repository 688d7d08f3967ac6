"""How many users an experiment needs, and for how long: said before it starts, so that a hopeless one is not begun."""

from __future__ import annotations


def needed_users(rate: float, effect: float, share: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Users of both arms together that a two-sided test of fixed size needs."""
    raise NotImplementedError


def needed_users_for_mean(
    mean: float, deviation: float, effect: float, share: float, alpha: float = 0.05, power: float = 0.8
) -> int:
    """The same for a mean with a standard deviation."""
    raise NotImplementedError


def days(users: float, users_per_second: float) -> float | None:
    """How long it takes until so many users have come; None without traffic."""
    raise NotImplementedError
