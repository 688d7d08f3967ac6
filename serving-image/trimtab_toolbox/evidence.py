"""What a fitted scikit-learn model remembers of its training data: ranges of numbers, and categories.

The rows on which two runtimes are compared should be like those the model was made for. When no example was
logged, or one of three rows, the model itself still knows: a scaler its means, a tree its thresholds, an
encoder its categories.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab_toolbox.boosters import is_bare, split_limits

Ranges = list[tuple[float, float]]


def observed_ranges(model: Any, count: int) -> Ranges:
    """For each of `count` features the lowest and highest number the model remembers; NaN where it knows none."""
    lows, highs = np.full(count, np.nan), np.full(count, np.nan)
    for low, high in _memories(_first_step(model), count):
        if low.shape == high.shape == (count,):
            lows, highs = np.fmin(lows, low), np.fmax(highs, high)
    return [(float(low), float(high)) for low, high in zip(lows, highs, strict=True)]


def observed_categories(model: Any, columns: Sequence[str]) -> Mapping[str, list[Any]]:
    """The categories that encoders inside the model know, by column name."""
    from sklearn.compose import ColumnTransformer

    known: dict[str, list[Any]] = {}
    for part in _parts(model):
        if not isinstance(part, ColumnTransformer):
            continue
        for _, transformer, selected in getattr(part, "transformers_", []):
            names = [str(name) for name in selected] if isinstance(selected, (list, np.ndarray)) else []
            for step in _parts(transformer):
                categories = getattr(step, "categories_", None)
                if categories is not None and len(categories) == len(names):
                    known |= {name: list(values) for name, values in zip(names, categories, strict=True)}
    return {name: values for name, values in known.items() if name in columns}


def selects_by_name(model: Any) -> bool:
    """Whether some part of the model picks columns of a table, so that they must be told apart."""
    from sklearn.compose import ColumnTransformer

    return any(isinstance(part, ColumnTransformer) for part in _parts(model))


def has_trees_behind_steps(model: Any) -> bool:
    """Whether the model is a pipeline whose last step is made of trees, which take FP32 (LightGBM's do as ONNX)."""
    steps = getattr(model, "steps", None)
    if not steps or len(steps) < 2:
        return False
    last = steps[-1][1]
    members = np.ravel(np.asarray(getattr(last, "estimators_", []), dtype=object))
    return any(takes_missing(part) or next(_trees(part), None) is not None for part in (last, *members))


def is_boosted(model: Any) -> bool:
    """Whether `model` is of XGBoost or LightGBM."""
    return type(model).__module__.split(".")[0] in ("xgboost", "lightgbm") or is_bare(model)


def takes_missing(model: Any) -> bool:
    """Whether a missing number is an ordinary value to `model`, which then need not say so in a signature."""
    return is_boosted(model) or type(model).__name__.startswith("HistGradientBoosting")


def last_step(model: Any) -> Any:
    """The estimator that gives the answer: of a pipeline the last step, of others the model itself."""
    steps = getattr(model, "steps", None)
    return last_step(steps[-1][1]) if steps else model


def _first_step(model: Any) -> Any:
    steps = getattr(model, "steps", None)
    return _first_step(steps[0][1]) if steps else model


def _parts(model: Any) -> Iterator[Any]:
    yield model
    for _, step in getattr(model, "steps", []):
        yield from _parts(step)


def _memories(step: Any, count: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    minimum, maximum = getattr(step, "data_min_", None), getattr(step, "data_max_", None)
    if minimum is not None and maximum is not None:
        yield np.asarray(minimum, dtype=float), np.asarray(maximum, dtype=float)
    middle = next((getattr(step, name) for name in ("mean_", "center_") if hasattr(step, name)), None)
    spread = getattr(step, "scale_", None)
    if isinstance(middle, np.ndarray) and isinstance(spread, np.ndarray):
        yield middle - 3 * spread, middle + 3 * spread
    trees = list(_trees(step))
    if trees:
        yield _thresholds(trees, count)
    yield from split_limits(step, count)


def _trees(step: Any) -> Iterator[Any]:
    if hasattr(step, "tree_"):
        yield step.tree_
    members = getattr(step, "estimators_", None)
    if members is not None:
        for member in np.ravel(np.asarray(members, dtype=object)):
            if hasattr(member, "tree_"):
                yield member.tree_


def _thresholds(trees: Sequence[Any], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lows, highs = np.full(count, np.nan), np.full(count, np.nan)
    feature = np.concatenate([tree.feature for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])
    inner = (feature >= 0) & (feature < count)
    np.fmin.at(lows, feature[inner], threshold[inner])
    np.fmax.at(highs, feature[inner], threshold[inner])
    return lows, highs
