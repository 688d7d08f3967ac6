"""The part of a ModelDeployment's status that remembers a rollout: where it is, since when, and what was seen.

It is all the memory there is. A new process goes on from here, with the same step, the same clock and the same counts.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trimtab.core.api import ApiModel, Short, Text
from trimtab.evidence.ledger import LedgerStatus

HISTORY_ROWS = 10

Stage = Literal["Starting", "Shadowing", "Stepping", "Promoting", "Baking", "Ended"]
Outcome = Literal["Promoted", "RolledBack", "Superseded"]
Strategy = Literal["RollingUpdate", "BlueGreen", "Canary"]
Time = Annotated[str, Field(max_length=20, json_schema_extra={"format": "date-time"})]
RevisionName = Annotated[str, Field(max_length=16)]
Reason = Annotated[str, Field(max_length=128)]
Count = Annotated[int, Field(ge=0)]


class Comparison(ApiModel):
    """One measure of candidate and current revision: how many of how many, and what that proves."""

    metric: Literal["Errors", "Latency"]
    """Failed requests, or requests slower than gates.maxLatencyMilliseconds."""
    candidate: Count
    """Requests of the candidate that were bad by this measure."""
    candidate_requests: Count
    """Its requests."""
    current: Count
    """The same of the current revision, while both had traffic."""
    current_requests: Count
    """Its requests."""
    e_value: Annotated[str, Field(max_length=32)]
    """Evidence that the candidate is worse than the current revision."""
    limit_e_value: Annotated[str, Field(max_length=32)]
    """Evidence that the candidate breaks the absolute limit."""


class RolloutStatus(ApiModel):
    """The rollout that is under way, or the last one."""

    revision: RevisionName
    """The candidate."""
    previous: RevisionName
    """Who served when it began, and to whom traffic goes back."""
    strategy: Strategy
    """How traffic moves."""
    stage: Stage = "Starting"
    """Starting: its pods get ready. Shadowing: it gets copies. Stepping: it has a share. Promoting: it is to get all
    traffic. Baking: it serves, the previous one stays warm."""
    step: Annotated[int, Field(ge=0, le=100)] = 0
    """The number of the step, counted from 1; 0 before the first."""
    steps: Annotated[int, Field(ge=0, le=100)] = 0
    """How many steps there are."""
    weight: Annotated[int, Field(ge=0, le=100)] = 0
    """The candidate's share of the traffic, in percent."""
    verdict: Annotated[str, Field(max_length=64)] = ""
    """The stage or the outcome, for people."""
    outcome: Outcome | None = None
    """How it ended."""
    reason: Reason = ""
    """Why it ended so, in one word."""
    message: Text = ""
    """Why, or what it waits for."""
    started_at: Time
    """When it began."""
    clock_at: Time | None = None
    """When all routers knew of the present share: the start of the step's time."""
    asked_at: Time | None = None
    """When the candidate's requests were last seen to grow."""
    active_seconds: Count = 0
    """Seconds with requests to the candidate, as maxSeconds counts them."""
    troubled_at: Time | None = None
    """Since when its pods are in trouble."""
    paused_at: Time | None = None
    """Since when it is held or paused."""
    compared: Annotated[
        list[Comparison],
        Field(
            max_length=2,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["metric"]},
        ),
    ] = []
    """What was measured of both revisions."""
    evidence: LedgerStatus | None = None
    """All counts."""

    @property
    def under_way(self) -> bool:
        """True until there is an outcome."""
        return self.stage != "Ended"

    @property
    def exposed(self) -> bool:
        """True while the candidate has, or is about to have, traffic or copies of it beside the previous revision."""
        return self.stage in ("Shadowing", "Stepping", "Promoting")


class HistoryEntry(ApiModel):
    """A rollout that ended."""

    revision: RevisionName
    """The candidate."""
    version: Short = ""
    """Its model's version."""
    strategy: Strategy
    """How traffic moved."""
    outcome: Outcome
    """How it ended."""
    reason: Reason
    """Why, in one word."""
    message: Text
    """Why, in a sentence with numbers."""
    weight: Annotated[int, Field(ge=0, le=100)]
    """The largest share of the traffic it had in its last stage, in percent."""
    started_at: Time
    """When it began."""
    ended_at: Time
    """When it ended."""
