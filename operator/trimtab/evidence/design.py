"""The experiment as it is asked for, and the verdict as it is given: plain values, shared by all who judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

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

    metric: Literal["Errors", "Latency", "Prometheus"]
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
    """How far counts of users may be off by themselves, as a fraction: so much is no sample-ratio mismatch."""

    def __post_init__(self) -> None:
        for holds, complaint in (
            (2 <= len(self.arms) <= 8, f"arms: {len(self.arms)} were given, an experiment has 2 to 8"),
            (len(set(self.arms)) == len(self.arms), "arms: every name may be there once"),
            (self.control in self.arms, f"control: {self.control!r} is not one of the arms {', '.join(self.arms)}"),
            (0 < self.objective.alpha < 1, f"objective.alpha: {self.objective.alpha} is not between 0 and 1"),
            (0 < self.objective.power < 1, f"objective.power: {self.objective.power} is not between 0 and 1"),
            (self.objective.minimum_effect > 0, "objective.minimumEffectPercent: it must be above 0"),
            (self._reachable, "objective.minimumEffectPercent: a decrease must be below 100"),
            (
                all(g.max_increase >= 0 for g in self.guardrails),
                "guardrails.maxIncreasePercent: it must not be negative",
            ),
            (
                0 <= self.min_seconds <= self.max_seconds,
                f"minSeconds: {self.min_seconds:.0f} is not between 0 and maxSeconds, {self.max_seconds:.0f}; left out "
                "they are a day and four weeks",
            ),
        ):
            if not holds:
                raise ValueError(complaint)

    @property
    def _reachable(self) -> bool:
        return self.objective.direction == "Increase" or self.objective.minimum_effect < 1

    @property
    def candidates(self) -> tuple[str, ...]:
        """All arms but control, sorted, so that the order they were given in changes nothing."""
        return tuple(sorted(arm for arm in self.arms if arm != self.control))

    @property
    def arm_alpha(self) -> float:
        """What Bonferroni leaves of alpha to each candidate; two-sided."""
        return self.objective.alpha / len(self.candidates)


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
