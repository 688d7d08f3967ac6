"""Whether a canary may go on: the candidate against the current revision, and against absolute limits.

Each gate needs evidence, an e-value of a test that may be looked at any time, so a bad minute of a good revision stops
nothing and no traffic is no verdict. Against the current revision it is the rate-ratio e-process of evidence.eprocess;
against a limit, the likelihood ratio of Bernoulli trials mixed over rates above it (Ramdas, Grünwald, Vovk, Shafer,
Statistical Science 2023, section 3). What confidence leaves is divided among the gates in use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trimtab.evidence.eprocess import HARM, log_e, log_sum_exp, plain
from trimtab.evidence.strata import rate_strata
from trimtab.evidence.tally import Segment, merged

CanaryDecision = Literal["Waiting", "Continue", "StopHarm"]
SLOW_SHARE = 0.05
"""This share of requests may take longer than the limit: the limit is one of the 95th percentile."""
SLOWER = math.log(1.5)
"""So many times as many slow requests are put up with: pods that have just started are a little slower."""
HIGHER = (0.3, 0.6, 1.0, 1.6, 2.5, 4.0)
"""The alternatives to a limit: log odds ratios."""


@dataclass(frozen=True, slots=True)
class Gates:
    """What a candidate has to keep to."""

    max_error_percent: float | None = None
    """Above this share of failed requests the candidate is stopped, whatever the current revision does."""
    max_latency_milliseconds: float | None = None
    """The edge that `Tally.latency_above` counts against; None when latency is no gate."""
    confidence_percent: float = 95.0
    min_requests: int = 200
    """Requests of the candidate before it may go on; harm is seen earlier."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One measure of both revisions: how many of how many, and the evidence of harm."""

    candidate: float
    candidate_requests: float
    current: float
    current_requests: float
    e_value: float
    """Evidence that the candidate is worse than the current revision."""
    limit_e_value: float
    """Evidence that the candidate is above the absolute limit; 1 without a limit."""


@dataclass(frozen=True, slots=True)
class CanaryVerdict:
    """The decision, why, and its numbers."""

    decision: CanaryDecision
    reason: str
    requests: float
    errors: Compared
    latency: Compared | None


def judge_canary(gates: Gates, segments: Sequence[Segment], *, candidate: str, current: str) -> CanaryVerdict:
    """The verdict on all segments of this rollout so far; `candidate` and `current` name their arms."""
    groups = merged(segments)
    errors = _compared("Errors", groups, (candidate, current), 0.0, gates.max_error_percent)
    timed = gates.max_latency_milliseconds is not None
    latency = _compared("Latency", groups, (candidate, current), SLOWER, 100 * SLOW_SHARE) if timed else None
    used = 1 + (gates.max_error_percent is not None) + 2 * timed
    limit = used / (1 - min(gates.confidence_percent, 99.9999) / 100)
    requests = errors.candidate_requests
    for found in _harms(gates, errors, latency, limit):
        return CanaryVerdict("StopHarm", found, requests, errors, latency)
    if requests <= 0:
        return CanaryVerdict("Waiting", "the candidate has had no request yet", requests, errors, latency)
    if requests < gates.min_requests:
        reason = f"the candidate has had {requests:.0f} of the {gates.min_requests} requests it must have first"
        return CanaryVerdict("Waiting", reason, requests, errors, latency)
    reason = f"nothing speaks against the candidate after {requests:.0f} requests ({_rates(errors)} failed)"
    return CanaryVerdict("Continue", reason, requests, errors, latency)


def _harms(gates: Gates, errors: Compared, latency: Compared | None, limit: float) -> list[str]:
    found = []
    if errors.e_value >= limit:
        found.append(f"the candidate fails more often than the current revision: {_rates(errors)}")
    if errors.limit_e_value >= limit:
        found.append(
            f"the candidate fails more often than maxErrorPercent {gates.max_error_percent:g}: {_rates(errors)}"
        )
    slow = f"requests above {gates.max_latency_milliseconds or 0:g} ms"
    if latency and latency.e_value >= limit:
        found.append(f"the candidate is slower than the current revision: {slow} are {_rates(latency)}")
    if latency and latency.limit_e_value >= limit:
        found.append(f"the candidate's 95th percentile is above maxLatencyMilliseconds: {slow} are {_rates(latency)}")
    return [f"{text} (e-value limit {limit:.3g})" for text in found]


def _rates(seen: Compared) -> str:
    own = f"{seen.candidate:.0f} of {seen.candidate_requests:.0f}"
    return f"{own} against {seen.current:.0f} of {seen.current_requests:.0f}"


def _compared(
    metric: Literal["Errors", "Latency"],
    groups: Sequence[Segment],
    arms: tuple[str, str],
    null: float,
    limit_percent: float | None,
) -> Compared:
    field = "errors" if metric == "Errors" else "latency_above"
    bad, all_ = ([sum(getattr(g.tally(arm), name) for g in groups) for arm in arms] for name in (field, "requests"))
    paired = [g for g in groups if 0 < g.share(*arms) < 1]
    strata = rate_strata(metric, paired, *arms)
    above = limit_log_e(bad[0], all_[0], limit_percent / 100) if limit_percent is not None else 0.0
    against = plain(log_e(strata, null, HARM)) if strata else 1.0
    return Compared(bad[0], all_[0], bad[1], all_[1], against, plain(above))


def limit_log_e(bad: float, trials: float, limit: float) -> float:
    """The log e-value of Bernoulli trials against every rate up to `limit`, an even mixture of six higher odds.

    A limit of 0 is broken by the first failure, a limit of 1 never.
    """
    good = max(trials - bad, 0.0)
    if limit <= 0 or limit >= 1:
        return math.inf if bad and limit <= 0 else 0.0
    odds = limit / (1 - limit)
    terms = [bad * z - (bad + good) * (math.log1p(odds * math.exp(z)) - math.log1p(odds)) for z in HIGHER]
    return log_sum_exp(terms) - math.log(len(terms))
