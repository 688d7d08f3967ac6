"""By what arms are compared: the objective that decides, and the guardrails that protect."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trimtab.core.api import ApiModel, matching, rule, rules

POSITIVE_PERCENT = r"^([1-9][0-9]{0,2}([.][0-9]{1,2})?|0[.][0-9]?[1-9])$"
PERCENT = r"^(0|[1-9][0-9]{0,2}|(0|[1-9][0-9]{0,2})[.][0-9]{1,2})$"
ALPHA = r"^0[.](0{1,2}[1-9][0-9]{0,2}|[1-4][0-9]{0,3}|5)$"
POWER = r"^0[.][5-9][0-9]{0,3}$"
AboveMilliseconds = Annotated[int, Field(ge=1, le=60_000)]
Query = Annotated[
    str,
    Field(max_length=1024, json_schema_extra=rules(rule("self.contains('$arm')", "query must hold $arm"))),
]


SLOW = rule(
    "(self.metric == 'Latency') == has(self.aboveMilliseconds)",
    "aboveMilliseconds says which answers count as slow: set it with metric Latency, and only there",
)


class Objective(ApiModel):
    """What decides which arm is better."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": rules(
            SLOW,
            rule(
                "(self.metric == 'Prometheus') == has(self.query)",
                "query is the PromQL that counts the events of an arm: set it with metric Prometheus, and only there",
            ),
            rule(
                "!(self.metric in ['Errors', 'Latency']) || !has(self.direction) || self.direction == 'Decrease'",
                "objective: fewer errors and fewer slow answers are better; set direction to Decrease or leave it out",
            ),
            rule(
                "!has(self.direction) || self.direction == 'Increase' || double(self.minimumEffectPercent) < 100.0",
                "objective: nothing decreases by more than it is; set minimumEffectPercent below 100",
            ),
            rule(
                "self.metric != 'Prometheus' || has(self.direction)",
                "objective: only you know whether more events of your query are better; set direction",
            ),
        ),
    }

    metric: Literal["Outcome", "OutcomeMean", "Errors", "Latency", "Prometheus"]
    """Outcome: positive outcomes per user. OutcomeMean: the sum of outcomes per user. Errors: failed requests per
    request. Latency: answers slower than `aboveMilliseconds` per request. Prometheus: events that `query` counts per
    request. Outcomes come by the tokens of `docs/predicting.md`."""
    direction: Literal["Increase", "Decrease"] | None = None
    """What is better. Left out it is Increase for outcomes, and Decrease for errors and latency."""
    minimum_effect_percent: Annotated[
        str,
        matching(
            POSITIVE_PERCENT,
            'minimumEffectPercent must be a decimal in quotes from "0.01" to "999.99"',
            max_length=6,
        ),
    ] = "5"
    """The smallest relative change that matters. The test ends as futile once a larger one can be excluded."""
    alpha: Annotated[str, matching(ALPHA, 'alpha must be a decimal in quotes from "0.001" to "0.5"', max_length=6)] = (
        "0.05"
    )
    """How often a winner may be declared where there is no difference, over all arms and however often it is looked
    at."""
    power: Annotated[str, matching(POWER, 'power must be a decimal in quotes from "0.5" to "0.9999"', max_length=6)] = (
        "0.8"
    )
    """How often a change of the minimum effect shall be found; sets how many users the test needs."""
    above_milliseconds: AboveMilliseconds | None = None
    """For Latency: slower answers count as slow."""
    query: Query | None = None
    """For Prometheus: PromQL that gives one number, the events of `$arm` since ever."""


class Guardrail(ApiModel):
    """What must not get worse by much, whatever the objective gains."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": rules(
            SLOW,
            rule(
                "(self.metric == 'Prometheus') == has(self.query)",
                "query is the PromQL that counts what must not grow: set it with metric Prometheus, and only there",
            ),
        ),
    }

    metric: Literal["Errors", "Latency", "Prometheus"]
    """Errors: failed requests per request. Latency: answers slower than `aboveMilliseconds` per request. Prometheus:
    events that `query` counts per request; fewer are better."""
    max_increase_percent: Annotated[
        str,
        matching(
            PERCENT, 'maxIncreasePercent must be a decimal in quotes from "0" to "999.99", as in "50"', max_length=6
        ),
    ] = "50"
    """The relative increase over the control that is tolerated. An arm that was shown to exceed it gets no more
    traffic."""
    above_milliseconds: AboveMilliseconds | None = None
    """For Latency: slower answers count as slow."""
    query: Query | None = None
    """For Prometheus: PromQL that gives one number, the events of `$arm` since ever. While it fails, nobody wins."""
