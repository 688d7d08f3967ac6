"""Do users arrive as the weights say? If not, something loses or doubles users of one arm, and no comparison holds.

The sequential sample-ratio test: the e-process of evidence.eprocess on the users of an arm against those of all others,
at ratio 1, on both sides (Lindon and Malek, arXiv 2011.03567). Its parts are averaged, and an average of e-processes is
one: over the arms; and over a mismatch that goes through all segments and one that is in a single segment alone.
An arm of weight 0 takes no part: leftover users of it are not a mismatch, and its absence is none either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from trimtab.evidence.design import SampleRatio
from trimtab.evidence.eprocess import FARTHEST, Stratum, log_e, log_ratio, log_sum_exp, plain, prior, swapped
from trimtab.evidence.tally import Segment

ALPHA = 0.01
PRIOR = prior((1.0, (0.02, 0.04, 0.08, 0.12, 0.2, 0.5, 1.2)))


def sample_ratio(
    arms: Sequence[str], groups: Sequence[Segment], segments: Sequence[Segment], users_error: float = 0.0
) -> SampleRatio:
    """The test over `groups`; on a mismatch it names the arm and the one of `segments` where it shows most.

    `groups` are the segments, merged where weights are equal.
    Units are users, or requests when nobody counted users. `users_error` is how far counts may be off by themselves.
    """
    tested = sorted(arms)[1:] if len(arms) == 2 else sorted(arms)
    slack = math.log1p(users_error)
    unit = "users" if any(tally.users for g in groups for tally in g.tallies.values()) else "requests"
    scores = [_arm([s for g in groups if (s := _stratum(g, arm, arms, unit))], slack) for arm in tested]
    value = log_sum_exp(scores) - math.log(len(scores))
    if value < -math.log(ALPHA):
        return SampleRatio(plain(value), False)
    _, segment, arm = max(
        (_two_sided([s], slack), -index, arm)
        for index, given in enumerate(segments)
        for arm in sorted(arms)
        if (s := _stratum(given, arm, arms, unit))
    )
    return SampleRatio(plain(value), True, -segment, arm)


def _arm(strata: Sequence[Stratum], slack: float) -> float:
    """Half of the stake on a ratio common to all segments, half on single ones, each with 1/(i+1)(i+2) of it."""
    if not strata:
        return 0.0
    single = [_two_sided([s], slack) - math.log((i + 1) * (i + 2)) for i, s in enumerate(strata)]
    unused = -math.log(len(strata) + 1)
    return log_sum_exp([_two_sided(strata, slack), *single, unused]) - math.log(2)


def _two_sided(strata: Sequence[Stratum], slack: float) -> float:
    """Against the ratio within the slack that fits best; without slack that is 1."""
    null = max(-slack, min(slack, log_ratio(strata) or 0.0)) if slack else 0.0
    if math.fabs(null) > FARTHEST:
        return 0.0
    return log_sum_exp([log_e(strata, null, PRIOR), log_e(swapped(strata), -null, PRIOR)]) - math.log(2)


def _stratum(segment: Segment, arm: str, arms: Sequence[str], unit: str) -> Stratum | None:
    """The arm against all others that have weight; None when one side has none, or nothing was counted."""
    live = [name for name in arms if segment.weights.get(name, 0.0) > 0]
    if arm not in live or len(live) < 2:
        return None
    counts = {name: float(getattr(segment.tally(name), unit)) for name in live}
    whole = sum(segment.weights[name] for name in live)
    stratum = Stratum(counts[arm], sum(counts.values()) - counts[arm], segment.weights[arm] / whole)
    return stratum if stratum.candidate + stratum.control > 0 else None
