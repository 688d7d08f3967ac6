"""One look at one window: how far each feature is from the reference, whether that is chance, and whether it matters.

A bare threshold on PSI is in alarm for ever on small windows, and a bare p-value on large ones. So a feature drifts
only when its PSI beyond the noise floor reaches the threshold, and the difference is significant among all features,
and there are enough independent rows to say so. Episodes (evidence.drift.episode) ask for that several times in a row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Literal, NamedTuple

from trimtab.evidence.drift import distance
from trimtab.evidence.drift.pairs import PairDrift, pair_drift
from trimtab.evidence.drift.reference import Feature, Reference
from trimtab.evidence.drift.season import LEAST_ROWS
from trimtab.evidence.drift.significance import adjusted, chi_squared
from trimtab.evidence.drift.special import kolmogorov_tail
from trimtab.evidence.drift.window import Window

State = Literal["InsufficientData", "OK", "Warning", "Critical"]
Level = Literal["OK", "Warning", "Critical"]
LEVELS: tuple[Level, ...] = ("OK", "Warning", "Critical")
MOST = 3.0
DISCOVERIES = 0.01
LEAST_WARN = 1e-3


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The excess PSI that is worth a warning, and the one that is worth acting on. 0.2 is a shift of about 0.46 sd."""

    warn: float = 0.2
    critical: float = 0.5


@dataclass(frozen=True)
class Policy:
    """How strict to be."""

    thresholds: Thresholds = Thresholds()
    features: Mapping[str, Thresholds] = field(default_factory=dict)
    """Thresholds of single features, by name."""
    false_alarms_per_year: float = 1.0

    def of(self, name: str) -> Thresholds:
        """The thresholds of a feature."""
        return self.features.get(name, self.thresholds)

    @property
    def discoveries(self) -> float:
        """The false-discovery rate allowed: 1 % for one false alarm a year, and in proportion, at most 10 %.

        At 1 %, simulations of 36 months had none, which bounds the rate at 1 a year (95 %).
        """
        return min(0.1, DISCOVERIES * self.false_alarms_per_year)


@dataclass(frozen=True, slots=True)
class FeatureLook:
    """What was found of one feature."""

    name: str
    rows: int
    """Values, missing ones not among them."""
    effective: float
    """As many independent rows as would tell as much."""
    psi: float
    excess: float
    """PSI beyond the noise floor; -inf when one side has no rows."""
    p_value: float
    ks: float
    ks_p_value: float
    wasserstein: float | None
    """In standard deviations; None for what is no number."""
    jensen_shannon: float
    tail: tuple[float, float] | None
    """The share of the reference and of the window in the outer hundredths of the reference, both sides."""
    level: Level = "OK"
    weight: float = 0.0

    @property
    def drifted(self) -> bool:
        """Whether it reached its warning threshold, significantly, on enough rows."""
        return self.level != "OK"


@dataclass(frozen=True, slots=True)
class Look:
    """What was found in a window."""

    state: State
    score: float
    """The weighted excess in units of the warning threshold, each feature at most 3; 1 is worth acting on."""
    rows: int
    effective: float
    needed: int
    """Rows that are missing in the window before anything can be said."""
    needed_reference: int
    features: tuple[FeatureLook, ...]
    pair: PairDrift | None = None


class Chosen(NamedTuple):
    """A window, how long it is in seconds, and the design effect of each feature in it."""

    seconds: int
    window: Window
    effects: tuple[float, ...]
    whole: bool = False
    """Whether all hours of the day are in it, so that it is compared with the whole reference."""
    pairs: tuple[Window, float] | None = None
    """What correlations are judged in, and the design effect of the median feature there; None where nothing is."""


def judge(reference: Reference, window: Window, effects: Sequence[float], policy: Policy | None = None) -> Look:
    """Judge one window by itself; `effects` has the design effect of each feature of the reference."""
    return judge_chosen(reference, Chosen(0, window, tuple(effects), pairs=(window, median(effects or [1.0]))), policy)


def judge_chosen(reference: Reference, chosen: Chosen, policy: Policy | None = None) -> Look:
    """Judge a window as it was chosen."""
    policy, window, effects = policy or Policy(), chosen.window, chosen.effects
    typical = median(effects) if effects else 1.0
    effective = window.rows / typical
    needed = max(0, math.ceil(LEAST_ROWS * typical - window.rows))
    measured = [
        replace(_measured(reference.features[i], chosen, i), weight=weight)
        for i, weight in enumerate(reference.weights)
    ]
    known = max((sum(f.counts) for f in reference.features), default=0)
    short = max(0, LEAST_ROWS - known)
    false_rates = adjusted([look.p_value for look in measured])
    ready = not needed and not short
    looks = tuple(
        replace(look, level=_level(look, rate, policy, sum(f.counts)) if ready else "OK")
        for look, rate, f in zip(measured, false_rates, reference.features, strict=True)
    )
    score = sum(look.weight * _share(look, policy) for look in looks if look.effective >= LEAST_ROWS)
    state: State = _state(looks, score) if ready else "InsufficientData"
    pair = pair_drift(reference.moments, *chosen.pairs, policy.discoveries) if ready and chosen.pairs else None
    return Look(state, score, window.rows, effective, needed, short, looks, pair)


def _measured(feature: Feature, chosen: Chosen, place: int) -> FeatureLook:
    """Distances and the p-value of one feature."""
    window, effect = chosen.window, chosen.effects[place]
    cells = window.cells[place]
    before = feature.counts if chosen.whole else feature.expected(window.hours)
    m, n = sum(before), sum(cells)
    some, others = feature.grouped(before), feature.grouped(cells)
    numeric = feature.kind == "numeric"
    sums = window.sums[place] if window.sums and before is feature.counts else ()
    psi = distance.psi(some, others)
    floor = distance.noise_floor(len(distance.used(some, others)[0]), effect, n, m)
    ks = (distance.kolmogorov_smirnov if numeric else distance.total_variation)(before, cells)
    p_value = chi_squared(some, others, feature.kind).p_value(effect)
    scale = math.sqrt(n * m / (n + m) / effect) if n and m else 0.0
    return FeatureLook(
        feature.name,
        n,
        n / effect,
        psi,
        psi - floor,
        p_value,
        ks,
        kolmogorov_tail(scale * ks) if numeric else p_value,
        distance.wasserstein(feature, before, cells, sums) if numeric else None,
        distance.jensen_shannon(some, others),
        distance.tail(feature, before, cells) if numeric else None,
    )


def _level(look: FeatureLook, false_rate: float, policy: Policy, reference_rows: int) -> Level:
    limits = policy.of(look.name)
    enough = look.effective >= LEAST_ROWS and reference_rows >= LEAST_ROWS
    if not enough or false_rate > policy.discoveries or look.excess < limits.warn:
        return "OK"
    return "Critical" if look.excess >= limits.critical else "Warning"


def _share(look: FeatureLook, policy: Policy) -> float:
    return min(max(look.excess, 0.0) / max(policy.of(look.name).warn, LEAST_WARN), MOST)


def _state(looks: Sequence[FeatureLook], score: float) -> Level:
    """Critical is what should be acted on: an important feature is critical, or all together are worth it.

    What does not matter to the model, and the model's own answers, only warn.
    """
    drifted = [look for look in looks if look.drifted]
    inputs = sum(look.weight > 0 for look in looks)
    if not drifted:
        return "OK"
    acts = any(look.level == "Critical" and look.weight >= 1 / (2 * max(1, inputs)) for look in drifted)
    return "Critical" if acts or score >= 1 else "Warning"
