"""The part of a ModelDeployment's status that says how its traffic and its answers are. Numbers are decimal strings."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from trimtab.core.api import ApiModel, Digest, Short, Text
from trimtab.evidence.drift.judge import Level
from trimtab.evidence.drift.quality import Problem
from trimtab.kinds.modeldeployment.progress import Count, RevisionName, Time

MOST_FEATURES = 10
MOST_METRICS = 16

Number = Annotated[str, Field(max_length=32)]
DriftState = Literal["ReferenceMissing", "InsufficientData", "OK", "Warning", "Critical"]
QualityState = Literal["InsufficientData", "OK", "Degraded"]


class FeatureDrift(ApiModel):
    """One feature in the window."""

    name: Short
    """The feature; `score` and `prediction` are the model's own answers."""
    level: Level
    """What it is by itself."""
    excess: Number = ""
    """The population stability index less what chance alone gives; empty when one side has no rows."""
    psi: Number
    """The population stability index."""
    p_value: Number
    """The chance of such a difference without drift."""
    ks: Number
    """The largest distance of the distribution functions."""
    wasserstein: Number = ""
    """The area between them in standard deviations; empty for what is no number."""
    weight: Number
    """How much the feature matters to the model; all weights add up to 1."""


class PairStatus(ApiModel):
    """Two features that hang together otherwise than in training."""

    features: Annotated[list[Short], Field(max_length=2)]
    """Which two."""
    before: Number
    """Their correlation in training."""
    after: Number
    """And in the window."""
    p_value: Number
    """The chance of the largest change among all pairs without drift."""


class ProblemStatus(ApiModel):
    """Something that is wrong with the data, and not to be learnt from."""

    feature: Short
    """The feature, or the input for wrong types."""
    problem: Problem
    """What it is."""
    share: Number
    """The share of values that have it."""
    message: Text
    """How bad it is."""


class EpisodeStatus(ApiModel):
    """Drift that was seen three times in a row, until it is absent three times in a row."""

    id: Annotated[str, Field(max_length=12)] = ""
    """12 digits that no other episode has; empty while there is no drift."""
    begun_at: Time | None = None
    """When it began."""
    first_at: Time | None = None
    """When the present run of looks with drift began."""
    warned: Count = 0
    """Looks in a row with drift."""
    critical: Count = 0
    """Looks in a row with critical drift."""
    quiet: Count = 0
    """Looks in a row without drift."""


class DriftStatus(ApiModel):
    """Whether the traffic of the revision that serves is what it was trained on."""

    state: DriftState
    """What the last look found."""
    level: Level = "OK"
    """What holds: the level of the episode, which one look neither begins nor ends."""
    revision: RevisionName
    """The revision that was judged."""
    digest: Digest
    """Its bundle."""
    window_seconds: Count = 0
    """The length of the window."""
    rows: Count = 0
    """Rows in the window."""
    effective_rows: Count = 0
    """As many independent rows as tell as much."""
    needed_rows: Count = 0
    """Rows that are missing before anything can be said."""
    score: Number = ""
    """The excess of all features with enough rows by weight, in units of the warning; 1 is worth acting on."""
    features: Annotated[list[FeatureDrift], Field(max_length=MOST_FEATURES)] = []
    """The features that are farthest off, at most 10."""
    pair: PairStatus | None = None
    """The two features whose correlation changed most, if that is beyond chance."""
    problems: Annotated[list[ProblemStatus], Field(max_length=MOST_FEATURES)] = []
    """What is wrong with the data itself."""
    episode: EpisodeStatus = EpisodeStatus()
    """The drift that holds, and how near it is to its beginning or its end."""
    checked_at: Time | None = None
    """The end of the last period with rows."""
    message: Text = ""
    """All of it in a sentence."""


class MetricStatus(ApiModel):
    """One figure of quality."""

    name: Short
    """Accuracy, RocAuc, Brier, MAE, RMSE, or the recall of a class."""
    realised: Number = ""
    """By labels; empty without any."""
    estimated: Number = ""
    """By scores alone, if training's calibration still holds: blind to concept drift, so it decides nothing."""
    lower: Number = ""
    """The lower end of the 95 % interval of `realised`, at this look."""
    upper: Number = ""
    """The upper end."""


class QualityStatus(ApiModel):
    """How good the answers of the revision that serves are."""

    state: QualityState
    """Degraded is proven, not a figure that happens to be low."""
    revision: RevisionName
    """The revision that was judged."""
    digest: Digest
    """Its bundle."""
    labels: Count = 0
    """The newest labels, those that were judged together."""
    delay_seconds: Count | None = None
    """Half of the labels came within so many seconds of the prediction."""
    metrics: Annotated[list[MetricStatus], Field(max_length=MOST_METRICS)] = []
    """What was found."""
    evidence: Number = ""
    """The logarithm of the evidence that the limit is broken."""
    needed_evidence: Number = ""
    """What would be proof."""
    message: Text = ""
    """All of it in a sentence."""
    checked_at: Time | None = None
    """The end of the last period with rows or labels."""


class Vitals(NamedTuple):
    """Both; None for what is not watched."""

    drift: DriftStatus | None = None
    quality: QualityStatus | None = None
