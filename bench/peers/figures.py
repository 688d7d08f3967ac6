"""Arithmetic of the comparison: medians over rounds, and medians of the ratios of rounds that ran side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from bench.peers.load import Round

Rounds = Mapping[str, Sequence[Round]]
"""Server to its rounds; the n-th rounds of all servers ran one right after the other."""


def middle(rounds: Sequence[Round], figure: Callable[[Round], float]) -> float:
    """The median of a figure."""
    return median(figure(one) for one in rounds)


def ratio(ours: Sequence[Round], theirs: Sequence[Round], figure: Callable[[Round], float]) -> float:
    """How many times our figure is theirs: the median over pairs of rounds.

    A disturbance that lasts longer than a pair of rounds hits both sides of one ratio, and one that is shorter spoils
    one ratio of many. ValueError when the numbers of rounds differ.
    """
    return median(figure(our) / figure(their) for our, their in zip(ours, theirs, strict=True))


def rate(one: Round) -> float:
    """Requests a second."""
    return one.rate


def per_processor_second(one: Round) -> float:
    """Requests for each second of the server's processor time."""
    return one.per_processor_second
