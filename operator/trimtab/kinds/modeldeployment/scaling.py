"""The part of a ModelDeployment's shape that becomes a HorizontalPodAutoscaler."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trimtab.core.api import ApiModel, rule, rules


class Metric(ApiModel):
    """What the autoscaler watches."""

    type: Literal["CPU", "Memory"]
    """The resource whose use is measured."""
    target_percent: Annotated[int, Field(ge=1, le=1_000)]
    """The average use to keep, in percent of what the pods request."""


class ScalingPolicy(ApiModel):
    """One limit on how fast to scale (autoscaling/v2)."""

    type: Literal["Pods", "Percent"]
    """What value counts."""
    value: Annotated[int, Field(ge=1, le=100_000)]
    """The change allowed within the period."""
    period_seconds: Annotated[int, Field(ge=1, le=1_800)]
    """The period."""


class ScalingRules(ApiModel):
    """How to scale in one direction (autoscaling/v2)."""

    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3_600)] | None = None
    """How far to look back for a more careful answer."""
    select_policy: Literal["Max", "Min", "Disabled"] | None = None
    """Which of the policies counts."""
    policies: Annotated[list[ScalingPolicy], Field(min_length=1, max_length=8)] | None = None
    """Limits on the speed."""


class Behavior(ApiModel):
    """How fast the autoscaler acts (autoscaling/v2)."""

    scale_up: ScalingRules | None = None
    """Adding pods."""
    scale_down: ScalingRules | None = None
    """Removing pods."""


class Autoscaling(ApiModel):
    """A HorizontalPodAutoscaler per revision."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": rules(
            rule(
                "self.minReplicas <= self.maxReplicas",
                "autoscaling.minReplicas must not exceed maxReplicas; raise the one or lower the other",
            ),
        ),
    }

    min_replicas: Annotated[int, Field(ge=1, le=1_000)] = 1
    """The least number of pods. Zero would need something to hold requests meanwhile, and is not offered."""
    max_replicas: Annotated[int, Field(ge=1, le=1_000)]
    """The greatest number of pods."""
    metrics: Annotated[
        list[Metric],
        Field(
            min_length=1,
            max_length=2,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = [Metric(type="CPU", target_percent=70)]
    """What to watch; the metric that asks for the most pods decides."""
    behavior: Behavior | None = None
    """How fast to act."""
