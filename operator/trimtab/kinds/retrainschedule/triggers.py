"""What starts a run: the part of the spec. Which of them is due is decided in `due`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trimtab.core.api import DNS_LABEL, NAME_LIMIT, ApiModel, matching, rule, rules

CRON = r"^[0-9A-Za-z*,/#-]+( [0-9A-Za-z*,/#-]+){4}$"
ZONE = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$"
DECIMAL = r"^-?(0|[1-9][0-9]{0,8})([.][0-9]{1,6})?$"

DeploymentName = Annotated[
    str,
    matching(
        DNS_LABEL,
        "deployment must be the name of a ModelDeployment: a-z, 0-9 and '-', and a letter first",
        max_length=NAME_LIMIT,
    ),
]

Bound = Annotated[str, matching(DECIMAL, 'performance: a bound must be a number as text, as in "0.8"', max_length=20)]


class Cron(ApiModel):
    """A run at fixed times."""

    schedule: Annotated[
        str,
        matching(
            CRON,
            "cron.schedule has five fields with one blank between: minute, hour, day of month, month, day of week, "
            "as in 0 3 * * 0",
            max_length=100,
        ),
    ]
    """Minute, hour, day of month, month, day of week. A local time that comes twice when clocks go back runs once, and
    one that is skipped when they go forward runs at the next instant there is."""
    time_zone: Annotated[
        str,
        matching(ZONE, "cron.timeZone must be a name of the tz database, as in Europe/Berlin or UTC", max_length=64),
    ] = "UTC"
    """A name of the tz database."""
    starting_deadline_seconds: Annotated[int, Field(ge=60, le=604_800)] = 3600
    """How late a run may start, after the operator was away. Of several missed times only the last one counts."""


class DriftTrigger(ApiModel):
    """A run for an episode of drift. Each episode starts at most one."""

    deployment: DeploymentName
    """A ModelDeployment in this namespace whose `monitoring.drift` is set."""
    level: Literal["Warning", "Critical"] = "Critical"
    """The level that the episode must have reached."""


class Performance(ApiModel):
    """A run when realised quality is proven to be bad. Each revision that serves starts at most one."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": rules(
            rule(
                "has(self.below) != has(self.above)",
                "performance needs either below, for a metric that should be large, or above, for one that should be "
                "small",
            ),
            rule(
                "has(self.above) == (self.metric in ['Brier', 'MAE', 'RMSE'])",
                "performance: Brier, MAE and RMSE are bad above a bound, Accuracy and RocAuc below one",
            ),
        ),
    }

    deployment: DeploymentName
    """A ModelDeployment in this namespace whose `monitoring.quality` is set."""
    metric: Literal["Accuracy", "RocAuc", "Brier", "MAE", "RMSE"]
    """The metric, as status.quality.metrics of the ModelDeployment names it."""
    below: Bound | None = None
    """The run starts when the upper end of the metric's confidence interval is below this."""
    above: Bound | None = None
    """The run starts when the lower end of the metric's confidence interval is above this."""
    min_labels: Annotated[int, Field(ge=1, le=1_000_000_000)] = 500
    """How many outcomes must be known."""


class Triggers(ApiModel):
    """What starts a run. The annotation trimtab.dev/run=<a value not used before> always does."""

    cron: Cron | None = None
    """Fixed times."""
    drift: DriftTrigger | None = None
    """Drift of what a deployment is asked."""
    performance: Performance | None = None
    """Bad answers of a deployment, by outcomes that were reported."""
