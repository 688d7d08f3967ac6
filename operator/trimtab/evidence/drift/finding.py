"""What is known of a revision's traffic at the end of a bucket: what a deployment's status is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trimtab.evidence.drift.judge import Look
from trimtab.evidence.drift.performance import Metric
from trimtab.evidence.drift.quality import Finding as Problem


@dataclass(frozen=True, slots=True)
class Drift:
    """A look at inputs and scores. Times are seconds since the epoch."""

    at: float
    """The end of the last bucket that had rows."""
    seconds: int
    """The length of the window."""
    look: Look
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Quality:
    """A look at labels, and at what scores say without them."""

    at: float
    labels: int
    """Labels in the window."""
    since: float
    """When the window began; 0 without labels."""
    metrics: tuple[Metric, ...] = ()
    estimated: Mapping[str, float] = field(default_factory=dict)
    delay: float | None = None
    """Half of the labels came within so many seconds; None without labels, infinite when beyond all cells."""
    alarmed: bool = False
    """Whether it is proven that the limit is broken."""
    evidence: float = 0.0
    needed: float = 0.0
    """Logarithms of what is proven and what would be proof; 0 without a limit."""


@dataclass(frozen=True, slots=True)
class Finding:
    """All of it."""

    digest: str
    """The bundle that the revision serves."""
    profile: str | None = None
    """The digest of its drift profile, empty when it has none, None while that is not known."""
    drift: Drift | None = None
    """None before the first bucket with rows has ended."""
    quality: Quality | None = None
    note: str = ""
    """Why nothing can be read, when that is so."""
