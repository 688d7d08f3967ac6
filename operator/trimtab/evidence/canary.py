"""Whether a canary may go on: the candidate against the current revision, and against absolute limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trimtab.evidence.tally import Segment

CanaryDecision = Literal["Waiting", "Continue", "StopHarm"]


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
    raise NotImplementedError
