"""Weights that follow the evidence: Thompson sampling in batches, with a floor for every arm.

Thompson (Biometrika 1933); top-two for three arms or more (Russo, Operations Research 2020). Each batch is a segment of
its own, and a winner is declared by evidence.experiment alone: a share of traffic is no evidence. The draws are seeded
by run and batch, so the same state gives the same weights whoever computes them, and however often.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

from trimtab.evidence import means
from trimtab.evidence.compare import mean_difference
from trimtab.evidence.design import Design
from trimtab.evidence.eprocess import log_ratio, standard_error
from trimtab.evidence.strata import rate_strata
from trimtab.evidence.tally import Segment, merged

DRAWS = 2000
WIDE = 0.5
"""The prior standard deviation of a log ratio; before there is data, all arms are alike."""


def next_weights(
    design: Design, segments: Sequence[Segment], *, run: str, batch: int, floor_percent: float
) -> dict[str, float]:
    """The weights of the next batch in percent, each at least the floor; ValueError when the floors exceed 100."""
    if floor_percent < 0 or floor_percent * len(design.arms) > 100:
        raise ValueError(f"floorPercent: {len(design.arms)} arms of at least {floor_percent:g} % are more than 100 %")
    shares = _chances(_beliefs(design, segments), f"{run}/{batch}", top_two=len(design.arms) >= 3)
    free = 100 - floor_percent * len(design.arms)
    return {arm: floor_percent + free * shares[arm] for arm in design.arms}


def _beliefs(design: Design, segments: Sequence[Segment]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each arm's advantage over control, normal prior times normal likelihood."""
    groups = merged(segments)
    sign = 1 if design.objective.direction == "Increase" else -1
    beliefs = {design.control: (0.0, 0.0)}
    for arm in design.candidates:
        value, error = _seen(design, [g for g in groups if 0 < g.share(arm, design.control) < 1], arm)
        precision = (1 / error**2 if error else 0.0) + 1 / WIDE**2
        beliefs[arm] = (sign * value / error**2 / precision if error else 0.0, math.sqrt(1 / precision))
    return beliefs


def _seen(design: Design, groups: Sequence[Segment], arm: str) -> tuple[float, float]:
    """The log ratio (for means the relative difference) and its error; an error of 0 means nothing is known."""
    if design.objective.metric == "OutcomeMean":
        found = means.combined([d for g in groups if (d := mean_difference(g, arm, design.control))])
        if found is None or not found.control:
            return 0.0, 0.0
        return found.value / abs(found.control), math.sqrt(found.variance) / abs(found.control)
    strata = rate_strata(design.objective.metric, groups, arm, design.control)
    estimate = log_ratio(strata)
    if estimate is None or math.isinf(estimate):
        return 0.0, 0.0
    return estimate, standard_error(strata, estimate)


def _chances(beliefs: Mapping[str, tuple[float, float]], seed: str, *, top_two: bool) -> dict[str, float]:
    """How often each arm is drawn best; with top-two, half of the draws go to the second best."""
    dice = random.Random(seed)  # noqa: S311 - a simulation, no secret
    names = sorted(beliefs)
    counts = dict.fromkeys(names, 0.0)
    for _ in range(DRAWS):
        ranked = sorted(names, key=lambda name: -dice.gauss(*beliefs[name]))
        counts[ranked[0]] += 0.5 if top_two else 1.0
        if top_two:
            counts[ranked[1]] += 0.5
    return {name: count / DRAWS for name, count in counts.items()}
