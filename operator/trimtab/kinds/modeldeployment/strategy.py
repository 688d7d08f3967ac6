"""The part of a ModelDeployment's shape that says how traffic moves from one revision to the next."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trimtab.core.api import ApiModel, matching, rule, rules

PERCENT = r"^(0|[1-9][0-9]?|100|(0|[1-9][0-9]?)[.][0-9]{1,2})$"
CONFIDENCE = r"^([5-9][0-9])([.][0-9]{1,2})?$"
HOSTNAME = r"^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
DEFAULT_WEIGHTS = (5, 25, 50)


class Step(ApiModel):
    """One share of the traffic, and how long the candidate has it at least."""

    weight: Annotated[int, Field(ge=1, le=100)]
    """The candidate's share, in percent."""
    seconds: Annotated[int, Field(ge=1, le=604_800)] = 60
    """The least time at this share, from the moment all routers know of it."""


class Gates(ApiModel):
    """What the candidate must not do. Each limit is broken only by evidence, never by a few requests."""

    max_error_percent: (
        Annotated[
            str,
            matching(
                PERCENT, 'gates.maxErrorPercent must be a decimal in quotes from "0" to "100", as in "1"', max_length=5
            ),
        ]
        | None
    ) = None
    """The largest share of requests that may fail, in percent. Without it, too, a candidate that fails more often than
    the current revision is sent back."""
    max_latency_milliseconds: Annotated[int, Field(ge=1, le=60_000)] | None = None
    """Answers slower than this count as slow. A candidate with more than one slow answer in twenty, or with more of
    them than the current revision, is sent back. Left out, latency is not judged."""
    confidence_percent: Annotated[
        str,
        matching(
            CONFIDENCE,
            'gates.confidencePercent must be a decimal in quotes from "50" to "99.99", as in "95"',
            max_length=5,
        ),
    ] = "95"
    """How sure a rollback has to be, however often it is looked at: at "95" an equal candidate is rolled back at most
    once in twenty rollouts."""
    min_requests: Annotated[int, Field(ge=0, le=100_000_000)] = 200
    """The requests that the candidate has to answer in each step before the next one."""


class ParentRef(ApiModel):
    """A Gateway, or one of its listeners."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """The Gateway."""
    namespace: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Where it is; left out, in this namespace."""
    section_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """One of its listeners; left out, all that take the route."""


class GatewayRoute(ApiModel):
    """Where an HTTPRoute of the Gateway API leads requests from."""

    parent_refs: Annotated[list[ParentRef], Field(min_length=1, max_length=8)]
    """The Gateways. Each must accept the route before a step counts."""
    hostnames: Annotated[
        list[
            Annotated[
                str,
                matching(HOSTNAME, "hostnames consist of labels of a-z, 0-9 and '-' with dots between", max_length=253),
            ]
        ],
        Field(max_length=16),
    ] = []
    """The host names whose requests are for this deployment; empty means all that come to these Gateways."""


class RolloutSpec(ApiModel):
    """How traffic moves to a new revision."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": rules(
            rule(
                "self.strategy == 'Canary' || !has(self.steps) || size(self.steps) == 0",
                "rollout.steps: only the strategy Canary has steps; set strategy to Canary or leave steps out",
            ),
            rule(
                "!has(self.steps) || self.steps.all(a, self.steps.exists_one(b, b.weight == a.weight))"
                " && self.steps.map(s, s.weight).isSorted()",
                "rollout.steps: each step needs a greater weight than the one before it",
            ),
            rule(
                "self.strategy == 'Canary' || self.shadowPercent == 0",
                "rollout.shadowPercent: only the strategy Canary has a router that can mirror; set strategy to Canary",
            ),
            rule(
                "self.strategy == 'Canary' || !has(self.gateway)",
                "rollout.gateway: only the strategy Canary splits traffic; set strategy to Canary or leave gateway out",
            ),
            rule(
                "!has(self.gateway) || self.shadowPercent == 0",
                "rollout.gateway: pods cannot tell copies from requests; set shadowPercent to 0 or leave gateway out",
            ),
            rule(
                "self.strategy != 'RollingUpdate' || !has(self.gates)",
                "rollout.gates: RollingUpdate judges nothing; set strategy to Canary or BlueGreen, or leave gates out",
            ),
            rule(
                "self.strategy != 'RollingUpdate' || self.bakeSeconds == 300",
                "rollout.bakeSeconds: RollingUpdate lets the old revision go at once; set strategy to Canary or "
                "BlueGreen",
            ),
            rule(
                "self.strategy == 'Canary' || self.maxSeconds == 3600",
                "rollout.maxSeconds: only the strategy Canary waits for a verdict; set strategy to Canary or leave it "
                "out",
            ),
        ),
    }

    strategy: Literal["RollingUpdate", "BlueGreen", "Canary"] = "RollingUpdate"
    """RollingUpdate: all traffic moves when the new revision is ready. BlueGreen: when it answers the model's own
    example, too; it moves back if `gates` are broken. Canary: step by step, through routers, while `gates` hold."""
    steps: Annotated[list[Step], Field(max_length=20)] = []
    """For Canary: the shares, smallest first. Empty means 5, 25 and 50 percent. After the last one it gets all."""
    gates: Gates | None = None
    """What sends a candidate back. Left out, Canary compares the errors of both revisions with 95 percent confidence,
    and BlueGreen judges nothing."""
    gateway: GatewayRoute | None = None
    """For Canary: split requests at Gateways of yours by an HTTPRoute, instead of by routers behind the Service, which
    then leads to the revision that serves. Nobody keeps his revision while the share moves, and evidence comes from the
    pods. The operator must be installed with gatewayApi.enabled."""
    shadow_percent: Annotated[int, Field(ge=0, le=100)] = 0
    """For Canary: so much of the traffic is copied to the candidate before its first step, and its answers are thrown
    away; 0 leaves that out."""
    shadow_seconds: Annotated[int, Field(ge=1, le=604_800)] = 60
    """How long traffic is copied at least."""
    max_seconds: Annotated[int, Field(ge=60, le=31_536_000)] = 3_600
    """For Canary: without a verdict after so many seconds of traffic the candidate is rolled back. Time without any
    requests does not count."""
    bake_seconds: Annotated[int, Field(ge=10, le=604_800)] = 300
    """For Canary and BlueGreen: so long the old revision stays warm after all traffic has moved, to go back to."""

    @property
    def shares(self) -> tuple[Step, ...]:
        """The steps of a Canary, the default ones if none are given."""
        return tuple(self.steps) or tuple(Step(weight=weight) for weight in DEFAULT_WEIGHTS)
