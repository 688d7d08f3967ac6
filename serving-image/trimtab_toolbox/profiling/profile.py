"""The whole drift profile of a fitted model and the rows it was fitted with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab_serving.bundle import Tensor
from trimtab_serving.counting.dated import DatedProfile, Hours, decode_dated
from trimtab_serving.counting.profile import (
    MAX_MOMENTS,
    MOMENT_CLIP,
    Feature,
    Moments,
    Numeric,
    Profile,
    encode,
)
from trimtab_toolbox.profiling.features import profile_features
from trimtab_toolbox.profiling.hours import features_by_hour, verdicts_by_hour
from trimtab_toolbox.profiling.scores import Verdicts, predictions_of, score_of
from trimtab_toolbox.table import Tensors, column_names, is_matrix

IMPORTANCE_ROWS = 1000
MAX_RANKED_FEATURES = 256


def build_profile(
    model: Any,
    tensors: Tensors,
    inputs: Sequence[Tensor],
    verdicts: Verdicts | None,
    importance: Sequence[float] | None,
    hours: NDArray[np.int64] | None = None,
) -> bytes:
    """The content of profile.json for the training rows in `tensors`, checked by its one reader.

    `hours` are the hours of the day, UTC, of the rows [n], 0 to 23; with them the profile has counts by hour.
    """
    features = profile_features(tensors, inputs)
    if importance is not None:
        pairs = zip(features, importance, strict=True)
        features = tuple(msgspec.structs.replace(feature, importance=float(weight)) for feature, weight in pairs)
    profile = DatedProfile(
        rows=len(next(iter(tensors.values()))),
        features=features,
        score=score_of(model, verdicts) if verdicts else None,
        predictions=predictions_of(verdicts, _classes(model)) if verdicts else None,
        moments=moments_of(features, tensors, inputs),
    )
    if hours is not None:
        profile = msgspec.structs.replace(profile, hours=_hours(model, profile, tensors, inputs, hours, verdicts))
    content = encode(profile)
    decode_dated(content)
    return content


def _hours(
    model: Any,
    profile: Profile,
    tensors: Tensors,
    inputs: Sequence[Tensor],
    hours: NDArray[np.int64],
    verdicts: Verdicts | None,
) -> Hours:
    found = features_by_hour(profile.features, tensors, inputs, hours)
    if verdicts is None:
        return Hours(found)
    return Hours(found, *verdicts_by_hour(model, verdicts, profile.score, profile.predictions))


def importance_of(model: Any, features: Any, truth: Any) -> list[float] | None:
    """How much the model's score suffers when a feature is shuffled, as shares that add up to 1.

    None where that says nothing: no `score` method, too many features, or no feature that matters.
    """
    from sklearn.inspection import permutation_importance

    if not hasattr(model, "score") or np.shape(features)[1] > MAX_RANKED_FEATURES:
        return None
    chosen = np.random.default_rng(0).permutation(len(features))[:IMPORTANCE_ROWS]
    rows = features.iloc[chosen] if hasattr(features, "iloc") else features[chosen]
    found = permutation_importance(model, rows, np.asarray(truth)[chosen], n_repeats=3, random_state=0)
    weights = np.clip(found.importances_mean, 0, None)
    return list(weights / weights.sum()) if weights.sum() > 0 else None


def moments_of(features: Sequence[Feature], tensors: Tensors, inputs: Sequence[Tensor]) -> Moments | None:
    """The second moments of the first 64 numbers, most important first; None without any whole row."""
    numeric = [(index, feature) for index, feature in enumerate(features) if isinstance(feature, Numeric)]
    numeric.sort(key=lambda entry: -(entry[1].importance or 0.0))
    chosen = sorted(numeric[:MAX_MOMENTS], key=lambda entry: entry[0])
    if not chosen:
        return None
    scaled = _columns(tensors, inputs, [index for index, _ in chosen])
    scaled -= np.array([feature.mean for _, feature in chosen])
    scaled /= np.array([feature.deviation for _, feature in chosen])
    np.clip(scaled, -MOMENT_CLIP, MOMENT_CLIP, out=scaled)
    gaps = np.isnan(scaled)
    whole = scaled[~gaps.any(axis=1)] if gaps.any() else scaled
    if not len(whole):
        return None
    matrix = whole.T @ whole / len(whole)
    return Moments(
        features=tuple(feature.name for _, feature in chosen),
        n=len(whole),
        mean=tuple(whole.mean(axis=0).tolist()),
        matrix=tuple(tuple(row) for row in matrix.tolist()),
    )


def fits(profile: Profile, inputs: Sequence[Tensor]) -> bool:
    """Whether the profile's features are columns of these inputs."""
    names = column_names(inputs)
    places = {tensor.name: tensor for tensor in inputs}
    return all(
        feature.input in places
        and (feature.name in names)
        and (not is_matrix(inputs) or feature.column == names.index(feature.name))
        for feature in profile.features
    )


def _columns(tensors: Tensors, inputs: Sequence[Tensor], chosen: Sequence[int]) -> NDArray[np.float64]:
    """The columns with these numbers [n, columns], for the caller to keep."""
    if is_matrix(inputs):
        return tensors[inputs[0].name].take(chosen, axis=1).astype(np.float64)
    return np.column_stack([tensors[inputs[index].name][:, 0].astype(np.float64) for index in chosen])


def _classes(model: Any) -> Sequence[Any] | None:
    classes = getattr(model, "classes_", None)
    return list(classes) if classes is not None and np.ndim(classes) == 1 else None
