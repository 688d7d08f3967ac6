"""Is one rate higher than another? The answer in events alone, valid at every look, whatever the base rate does.

Given that an event happened in a segment where the candidate has the share w of the two arms' users, it was the
candidate's with probability `theta(r) = w r / (w r + 1 - w)`, where r is the ratio of the two rates. Nothing else
enters: neither the base rate, which may drift, nor the number of looks. The likelihood ratio of r against r0, mixed
over a prior on r, is a test martingale under r0, and by Ville's inequality (1939) it reaches 1/alpha with a probability
of at most alpha. The case of one stream is the sequential test of counts of Lindon and Malek, arXiv 2011.03567, eq. 5.
The ratios not rejected are a confidence sequence (Howard, Ramdas, McAuliffe, Sekhon, Annals of Statistics 2021).

Events must be at most one a unit, and units assigned independently. Where they are not, counts are divided by their
dispersion first (evidence.clusters).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import NamedTuple

FARTHEST = 40.0
"""Ratios beyond e to this power are not told apart."""

CEILING = 690.0
"""Logarithms of e-values beyond this would overflow."""


class Stratum(NamedTuple):
    """Events of both arms while the weights stood still, and the candidate's share of the two arms' users."""

    candidate: float
    control: float
    share: float


class Point(NamedTuple):
    """One ratio of the prior: how far from r0 on the log scale, the factor itself, and the log of its weight."""

    distance: float
    factor: float
    log_weight: float


Prior = tuple[Point, ...]


def log_normal_grid(median: float, deviation: float, size: int) -> list[float]:
    """The mid-quantiles of a log-normal distribution of distances."""
    normal = NormalDist()
    return [median * math.exp(deviation * normal.inv_cdf((i + 0.5) / size)) for i in range(size)]


def prior(*parts: tuple[float, Iterable[float]]) -> Prior:
    """A prior of several parts, each with its share of the weight and its distances, which count equally in it."""
    points = []
    for weight, distances in parts:
        some = tuple(distances)
        points += [Point(z, math.exp(z), math.log(weight / len(some))) for z in some]
    return tuple(points)


def around(effect: float) -> Prior:
    """The one-sided prior of an objective: about the log ratio that matters, with a tail of far larger ones.

    Nearly as quick as the sequential probability ratio test at that effect, and not slow at twice of it.
    """
    return prior((0.95, log_normal_grid(0.9 * effect, 0.3, 7)), (0.05, (3 * effect, 8 * effect, 20 * effect)))


HARM = prior((0.85, log_normal_grid(0.9, 0.6, 9)), (0.15, (0.05, 0.1, 0.2)))
"""The one-sided prior of a guardrail: mostly ratios of 1.4 to 6, some small ones that take long to see."""


def log_e(strata: Sequence[Stratum], null: float, points: Prior) -> float:
    """The log of the e-value against the log ratio `null`, for ratios above it.

    Against `null` and everything below, too: the e-value only falls when `null` is raised.
    """
    total = sum(s.candidate for s in strata)
    odds = [(s.candidate + s.control, s.share / (1 - s.share) * math.exp(null)) for s in strata]
    base = sum(events * math.log1p(o) for events, o in odds)
    terms = []
    for point in points:
        fit = sum(events * math.log1p(o * point.factor) for events, o in odds)
        terms.append(point.log_weight + point.distance * total + base - fit)
    return log_sum_exp(terms)


def log_sum_exp(terms: Sequence[float]) -> float:
    """log(sum(exp(terms))) without overflow."""
    peak = max(terms)
    return peak + math.log(sum(math.exp(term - peak) for term in terms))


def plain(value: float) -> float:
    """An e-value from its logarithm, finite."""
    return math.exp(max(-CEILING, min(value, CEILING)))


def swapped(strata: Sequence[Stratum]) -> list[Stratum]:
    """The same events with the roles of the arms exchanged: ratios become their inverses."""
    return [Stratum(s.control, s.candidate, 1 - s.share) for s in strata]


def log_ratio(strata: Sequence[Stratum]) -> float | None:
    """The maximum likelihood estimate of log r; infinite when one arm has no events, None without any."""
    candidate, control = sum(s.candidate for s in strata), sum(s.control for s in strata)
    if not candidate or not control:
        return None if candidate == control else math.copysign(math.inf, candidate - control)
    low, high = -FARTHEST, FARTHEST
    guess = math.log(candidate / control) - math.log(_expected_odds(strata))
    for _ in range(60):
        score, information = _score(strata, guess)
        low, high = (guess, high) if score > 0 else (low, guess)
        step = guess + score / information if information > 0 else low
        following = step if low < step < high else (low + high) / 2
        if abs(following - guess) < 1e-10:
            return following
        guess = following
    return guess


def _expected_odds(strata: Sequence[Stratum]) -> float:
    events = sum(s.candidate + s.control for s in strata)
    share = sum((s.candidate + s.control) * s.share for s in strata) / events
    return share / (1 - share)


def _score(strata: Sequence[Stratum], value: float) -> tuple[float, float]:
    """The derivative of the log likelihood by log r, and the Fisher information."""
    score, information = 0.0, 0.0
    for s in strata:
        odds = s.share / (1 - s.share) * math.exp(value)
        theta, events = odds / (1 + odds), s.candidate + s.control
        score += s.candidate - events * theta
        information += events * theta * (1 - theta)
    return score, information


def standard_error(strata: Sequence[Stratum], value: float) -> float:
    """The standard error of log r at `value`, for reports and bandits; infinite without information."""
    information = _score(strata, value)[1]
    return 1 / math.sqrt(information) if information > 0 else math.inf


def lower(strata: Sequence[Stratum], points: Prior, alpha: float) -> float:
    """The lower confidence bound of log r: the point where the e-value against it falls below 1/alpha.

    -inf when nothing is known. Valid at any time: log_e is monotone in its null, so the set of ratios that are not
    rejected is an interval.
    """
    estimate = log_ratio(strata)
    if estimate is None or estimate == -math.inf:
        return -math.inf
    goal = -math.log(alpha)
    top = min(estimate, FARTHEST)
    step = 3 * min(standard_error(strata, top), 1.0)
    right, left = top, top - step
    value = log_e(strata, left, points) - goal
    while value < 0:
        if left < -FARTHEST:
            return -math.inf
        right, left, step = left, left - step, step * 1.6
        value = log_e(strata, left, points) - goal
    return _root(strata, points, goal, (left, right), value)


def _root(strata: Sequence[Stratum], points: Prior, goal: float, bracket: tuple[float, float], at_left: float) -> float:
    """Where log_e meets the goal: regula falsi with halved ends (Illinois)."""
    left, right = bracket
    at_right = log_e(strata, right, points) - goal
    if at_right >= 0:
        return right
    kept = 0
    for _ in range(80):
        middle = right - at_right * (right - left) / (at_right - at_left)
        value = log_e(strata, middle, points) - goal
        if abs(value) < 1e-9 or right - left < 1e-12:
            return middle
        if value > 0:
            left, at_left, at_right, kept = middle, value, at_right / 2 if kept == 1 else at_right, 1
        else:
            right, at_right, at_left, kept = middle, value, at_left / 2 if kept == 2 else at_left, 2
    return left


def upper(strata: Sequence[Stratum], points: Prior, alpha: float) -> float:
    """The upper confidence bound of log r; inf when nothing is known."""
    return -lower(swapped(strata), points, alpha)
