"""What a challenger must show before it may serve, and what the evaluator Job said of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from trimtab.core.api import DIGEST, ApiModel, Short, Text, matching, name_or_empty

HOLDOUTS = (
    r"^runs:/[0-9A-Za-z_-]+/[^\s?#]+$",
    r"^https?://[^\s/?#@]+/[^\s?#]+([?]\S*)?$",
    r"^(s3|gs|az)://[^\s/?#@]+/[^\s?#]+$",
    r"^hf://[^\s/@?#]+/[^\s/@?#]+(@[^\s/?#]+)?(/[^\s?#]*)?$",
    r"^oci://[^\s/?#@]+/[^\s?#@:]+(:[^\s/?#@]+|@sha256:[0-9a-f]{64})$",
    r"^pvc://[a-z0-9][a-z0-9.-]*/[^\s?#]+$",
)
AMOUNT = r"^(0|[1-9][0-9]{0,8})([.][0-9]{1,6})?$"
AMOUNT_OR_EMPTY = r"^((0|[1-9][0-9]{0,8})([.][0-9]{1,6})?)?$"
NUMBER_OR_EMPTY = r"^(-?(0|[1-9][0-9]{0,8})([.][0-9]{1,6})?)?$"
CONFIDENCE = r"^([5-9][0-9]([.][0-9]{1,2})?)$"
METRICS = {
    "Accuracy": "accuracy",
    "BalancedAccuracy": "balanced_accuracy",
    "RocAuc": "roc_auc",
    "PrAuc": "pr_auc",
    "F1": "f1",
    "LogLoss": "log_loss",
    "Brier": "brier",
    "MAE": "mae",
    "RMSE": "rmse",
    "R2": "r2",
}
"""What the evaluator calls each metric."""
Metric = Literal["Accuracy", "BalancedAccuracy", "RocAuc", "PrAuc", "F1", "LogLoss", "Brier", "MAE", "RMSE", "R2"]
Column = Annotated[str, Field(min_length=1, max_length=128)]


def _amount(field: str, pattern: str = AMOUNT) -> Any:
    return matching(pattern, f'gate.{field} must be a number as text, as in "0.01"', max_length=20)


class Holdout(ApiModel):
    """The data that champion and challenger are judged on: later than what either has learned from."""

    uri: Annotated[
        str,
        matching(
            "|".join(HOLDOUTS),
            "holdout.uri must be runs:/RUN/PATH, https://HOST/PATH, s3|gs|az://BUCKET/PATH, hf://OWNER/REPO/PATH, "
            "oci://HOST/REPO:TAG or pvc://CLAIM/PATH, without user, password or fragment",
            max_length=1024,
        ),
    ]
    """Where one file lies: CSV or Parquet with a row for each case."""
    digest: Annotated[
        str,
        matching(DIGEST, "holdout.digest must be sha256: and 64 hexadecimal digits in lower case", max_length=128),
    ]
    """The sha256 that the file must have, so that all challengers are judged on the same rows."""
    target: Column
    """The column that holds what was to be predicted."""
    credentials_secret_name: Annotated[str, name_or_empty("holdout.credentialsSecretName", "Secret")] = ""
    """A Secret in this namespace whose keys become environment variables of the evaluator Job."""


class Fairness(ApiModel):
    """How far groups of people may be treated apart."""

    column: Column
    """The column of the holdout that names the group."""
    max_gap: Annotated[str, _amount("fairness.maxGap")]
    """The largest difference of the metric between two groups."""


class Gate(ApiModel):
    """What a challenger must show beside the champion, on the same rows. A Job finds out, and never the trainer."""

    metric: Metric
    """What champion and challenger are compared by."""
    mode: Literal["NonInferior", "Superior"] = "NonInferior"
    """NonInferior: shown not to be worse by `margin`. Superior: shown to be better."""
    margin: Annotated[str, _amount("margin")] = "0.01"
    """How much worse is still as good, in units of the metric."""
    confidence_percent: Annotated[
        str,
        matching(CONFIDENCE, 'gate.confidencePercent must be from "50" to "99.99"', max_length=5),
    ] = "95"
    """How sure that must be."""
    floor: Annotated[str, _amount("floor", NUMBER_OR_EMPTY)] = ""
    """The value the metric must reach in any case; the largest it may have where less is better."""
    holdout: Holdout
    """The data that both are judged on."""
    slices: Annotated[list[Column], Field(max_length=8)] = []
    """Columns of the holdout; in each of their groups the challenger must hold up, too."""
    slice_margin: Annotated[str, _amount("sliceMargin", AMOUNT_OR_EMPTY)] = ""
    """How much worse is still as good within a group. Empty means twice the margin."""
    class_floor: Annotated[str, _amount("classFloor", AMOUNT_OR_EMPTY)] = ""
    """The least recall of any class."""
    max_calibration_error: Annotated[str, _amount("maxCalibrationError", AMOUNT_OR_EMPTY)] = ""
    """The largest expected calibration error."""
    fairness: Fairness | None = None
    """How far groups may be treated apart."""
    max_latency_ratio: Annotated[str, _amount("maxLatencyRatio", AMOUNT_OR_EMPTY)] = ""
    """How many times the champion's time a prediction may take."""
    max_size_bytes: Annotated[int, Field(ge=0, le=1_099_511_627_776)] = 0
    """The largest size of the model; 0 for any."""


CHECKS, VALUE_LIMIT = 48, 256


class Check(ApiModel):
    """One of the things that were checked."""

    name: Short
    """What was checked."""
    passed: bool | None = None
    """Whether it held; absent where there were too few rows to tell."""
    value: Annotated[str, Field(max_length=VALUE_LIMIT)] = ""
    """What was found."""
    limit: Annotated[str, Field(max_length=VALUE_LIMIT)] = ""
    """What it had to be."""


class GateStatus(ApiModel):
    """The evaluator's verdict, with all its numbers."""

    verdict: Literal["Passed", "Rejected"]
    """Whether the challenger may serve."""
    reason: Annotated[str, Field(max_length=128)] = ""
    """Why, in one word."""
    message: Text = ""
    """Why, in a sentence with numbers."""
    metric: Annotated[str, Field(max_length=32)] = ""
    """What both were compared by."""
    champion: Annotated[str, Field(max_length=32)] = ""
    """The champion's value; empty where there was none."""
    challenger: Annotated[str, Field(max_length=32)] = ""
    """The challenger's value."""
    difference: Annotated[str, Field(max_length=32)] = ""
    """How much better the challenger is."""
    lower: Annotated[str, Field(max_length=32)] = ""
    """The lower end of the difference's confidence interval."""
    upper: Annotated[str, Field(max_length=32)] = ""
    """Its upper end."""
    rows: Annotated[int, Field(ge=0)] = 0
    """Rows of the holdout."""
    chance_if_worse: Annotated[str, Field(max_length=32)] = ""
    """The chance that a challenger that is worse by the margin would have passed."""
    needed_rows: Annotated[int, Field(ge=0)] | None = None
    """How many rows would have sufficed, where there were too few."""
    checks: Annotated[list[Check], Field(max_length=CHECKS)] = []
    """What else was checked."""
