"""Which arm is better: the decision of an ABTest, the same for the operator and for `kubectl trimtab replay`.

The order matters: data, sample ratio, harm, win, futility, time. Every bound is valid at any time and under any number
of looks, so a reconcile may ask as often as it likes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trimtab.evidence.tally import Segment

Metric = Literal["Outcome", "OutcomeMean", "Errors", "Latency", "Prometheus"]
Direction = Literal["Increase", "Decrease"]
Decision = Literal["Waiting", "Running", "Paused", "StopHarm", "Win", "StopFutile", "Inconclusive"]
Rule = Literal["Data", "SampleRatio", "Harm", "Win", "Futile", "Time", "None"]


@dataclass(frozen=True, slots=True)
class Objective:
    """What a better arm is better at."""

    metric: Metric = "Outcome"
    direction: Direction = "Increase"
    minimum_effect: float = 0.05
    """The smallest relative effect worth having, as a fraction: 0.05 is 5 %."""
    alpha: float = 0.05
    power: float = 0.8


@dataclass(frozen=True, slots=True)
class Guardrail:
    """What a better arm must not be worse at."""

    metric: Literal["Errors", "Latency"]
    max_increase: float = 0.0
    """The relative increase that is put up with, as a fraction."""


@dataclass(frozen=True, slots=True)
class Design:
    """The experiment as it was asked for."""

    arms: tuple[str, ...]
    control: str
    objective: Objective = Objective()
    guardrails: tuple[Guardrail, ...] = ()
    min_seconds: float = 86_400
    max_seconds: float = 2_419_200
    users_error: float = 0.0
    """How far the count of distinct users may be off, as a fraction; 0 when it is exact."""


@dataclass(frozen=True, slots=True)
class ArmEvidence:
    """What is known of one arm against control. Fractions: a lift of 0.05 is 5 % more."""

    lift: float | None
    lower: float | None
    upper: float | None
    e_value: float
    """Evidence for an effect in the wanted direction; a win needs `(arms - 1) * 2 / alpha`."""


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Whether users arrived as the weights say."""

    e_value: float
    mismatch: bool
    segment: int | None = None
    """The index of the given segment where it shows most."""
    arm: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision and everything it rests on."""

    decision: Decision
    winner: str | None
    arms: Mapping[str, ArmEvidence]
    srm: SampleRatio
    needed_users: int | None
    """Users of all arms that a test of fixed size would need; None until a base rate is known."""
    reason: str
    rule: Rule


def judge(design: Design, segments: Sequence[Segment]) -> Verdict:
    """The verdict on all segments so far; ValueError names a design that makes no sense."""
    raise NotImplementedError
