"""The part of a ModelDeployment's shape that says what is worth an alarm: drift of the traffic, and poor answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trimtab.core.api import ApiModel, Short, matching, rule, rules
from trimtab.evidence.drift.degradation import Limit
from trimtab.evidence.drift.judge import Policy, Thresholds

EXCESS = r"^(0|[1-9][0-9]?)([.][0-9]{1,3})?$"
SHARE = r"^(0([.][0-9]{1,4})?|1([.]0{1,4})?)$"
AMOUNT = r"^(0|[1-9][0-9]{0,11})([.][0-9]{1,6})?$"
ORDERED = "!(self.warn + self.critical).matches('^[0-9.]+$') || double(self.critical) >= double(self.warn)"
"""What is no number is refused by its own rule."""


def _excess(field: str) -> str:
    return f'{field} must be a decimal in quotes from "0" to "99.999", as in "0.2"'


class FeatureThresholds(ApiModel):
    """Other limits for one feature."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": rules(
            rule(ORDERED, "monitoring.drift.features: critical must not be below warn; raise critical or lower warn")
        ),
    }

    name: Annotated[Short, Field(min_length=1)]
    """The feature, as the drift profile names it; `score` and `prediction` are the model's own answers."""
    warn: Annotated[str, matching(EXCESS, _excess("monitoring.drift.features[].warn"), max_length=8)] = "0.2"
    """Drift of this feature from here on is a warning."""
    critical: Annotated[str, matching(EXCESS, _excess("monitoring.drift.features[].critical"), max_length=8)] = "0.5"
    """And from here on critical."""


class DriftSpec(ApiModel):
    """When traffic counts as different from training."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": rules(
            rule(ORDERED, "monitoring.drift: critical must not be below warn; raise critical or lower warn")
        ),
    }

    warn: Annotated[str, matching(EXCESS, _excess("monitoring.drift.warn"), max_length=8)] = "0.2"
    """The population stability index, less what chance alone gives, from which drift is a warning. 0.2 is a shift of
    about half a standard deviation."""
    critical: Annotated[str, matching(EXCESS, _excess("monitoring.drift.critical"), max_length=8)] = "0.5"
    """And from which it is critical, where the feature matters to the model."""
    false_alarms_per_year: Annotated[int, Field(ge=1, le=10)] = 1
    """How often drift may be claimed where there is none; more is quicker."""
    period_seconds: Annotated[int, Field(ge=5, le=3_600)] = 300
    """How often is judged. The windows that are judged are the last 12, 72, 288 and 2,016 of these: at 300 an hour, 6
    hours, a day and a week, of which the shortest one with enough rows counts."""
    features: Annotated[
        list[FeatureThresholds],
        Field(
            max_length=32,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    """Features with limits of their own."""

    @property
    def policy(self) -> Policy:
        """The limits as the judge takes them."""
        own = {entry.name: _thresholds(entry.warn, entry.critical) for entry in self.features}
        return Policy(_thresholds(self.warn, self.critical), own, float(self.false_alarms_per_year))


class QualitySpec(ApiModel):
    """How good the answers have to be, by labels that come back through feedback."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": rules(
            rule(
                "self.metric in ['Accuracy', 'RocAuc'] ? has(self.warnBelow) && !has(self.warnAbove)"
                " : has(self.warnAbove) && !has(self.warnBelow)",
                "monitoring.quality: Accuracy and RocAuc need warnBelow alone, Brier, MAE and RMSE warnAbove alone",
            )
        ),
    }

    metric: Literal["Accuracy", "RocAuc", "Brier", "MAE", "RMSE"] = "Accuracy"
    """What is held to the limit. RocAuc and Brier need two classes, MAE and RMSE a number."""
    warn_below: (
        Annotated[
            str,
            matching(
                SHARE,
                'monitoring.quality.warnBelow must be a decimal in quotes from "0" to "1", as in "0.8"',
                max_length=6,
            ),
        ]
        | None
    ) = None
    """For Accuracy and RocAuc: proof that the metric is below this is a condition."""
    warn_above: (
        Annotated[
            str,
            matching(
                AMOUNT,
                'monitoring.quality.warnAbove must be a decimal in quotes that is not negative, as in "0.2"',
                max_length=19,
            ),
        ]
        | None
    ) = None
    """For Brier, MAE and RMSE: proof that the metric is above this is a condition."""
    min_labels: Annotated[int, Field(ge=50, le=1_000_000)] = 500
    """The newest labels that are judged together; with fewer nothing is said."""

    @property
    def limit(self) -> Limit:
        """The limit as the detector takes it."""
        return Limit(self.metric, float(self.warn_below or self.warn_above or 0), self.min_labels)


class Monitoring(ApiModel):
    """What is watched while the model serves. It needs Trimtab's own server and, for drift, a model with a profile."""

    drift: DriftSpec = DriftSpec()
    """Whether the traffic is still what the model was trained on."""
    quality: QualitySpec | None = None
    """Whether its answers are still good; needs labels."""


def _thresholds(warn: str, critical: str) -> Thresholds:
    return Thresholds(float(warn), float(critical))
