"""The same fitted model in the shape that the converters understand.

Some things that a model may hold say nothing about prediction or say it in a way ONNX cannot: the samplers of
imbalanced-learn do nothing after training; a missing text is NaN to scikit-learn and the text `nan` to ONNX Runtime,
which has no missing texts; the converter of XGBoost knows no names of features; and trees behind other steps want
their numbers rounded to FP32. The given model is left as
it is: what is changed is a copy, and what is not changed is shared.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab_toolbox.boosters import nameless

MISSING_TEXT = "nan"
_INFREQUENT_OR_NONE = ("infrequent_if_exist", "warn")


def prepared(model: Any, *, narrow_last: bool) -> Any:
    """The model to convert; `narrow_last` casts to FP32 before the last step of a pipeline."""
    ready = _prepared(model)
    if not narrow_last:
        return ready
    from skl2onnx.sklapi import CastTransformer
    from sklearn.pipeline import Pipeline

    *steps, last = ready.steps
    return Pipeline([*steps, ("to_fp32", CastTransformer(dtype=np.float32)), last])


def _prepared(part: Any) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    if isinstance(part, Pipeline):
        # imbalanced-learn's pipeline is one of scikit-learn's with samplers in it.
        steps = [(name, _prepared(step)) for name, step in part.steps if not hasattr(step, "fit_resample")]
        return Pipeline(steps)
    if isinstance(part, ColumnTransformer):
        ready = copy.copy(part)
        ready.transformers_ = [(name, _prepared(step), columns) for name, step, columns in part.transformers_]
        return ready
    return _prepared_step(part)


def _prepared_step(part: Any) -> Any:
    from sklearn.ensemble import VotingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

    if isinstance(part, SimpleImputer) and part.statistics_.dtype == object and _is_nan(part.missing_values):
        ready = copy.copy(part)
        ready.missing_values = MISSING_TEXT
        return ready
    if isinstance(part, (OneHotEncoder, OrdinalEncoder)):
        ready = copy.copy(part)
        ready.categories_ = [_named(categories) for categories in part.categories_]
        if part.handle_unknown in _INFREQUENT_OR_NONE and not any(map(_has_some, _infrequent(part))):
            ready.handle_unknown = "ignore"  # which is the same then, and the only one that the converter knows
        return ready
    if isinstance(part, VotingClassifier):
        # How its `transform` lays out the members' answers, which nobody asks for here.
        ready = copy.copy(part)
        ready.flatten_transform = False
        return ready
    if type(part).__module__ == "xgboost.sklearn":
        ready = copy.copy(part)
        ready._Booster = nameless(part.get_booster())
        return ready
    return part


def _infrequent(encoder: Any) -> list[Any]:
    """For each column the categories that share one output; none where they are not grouped."""
    return list(getattr(encoder, "infrequent_categories_", []))


def _has_some(categories: Any) -> bool:
    return categories is not None and len(categories) > 0


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value


def _named(categories: NDArray[Any]) -> NDArray[Any]:
    """The categories with the missing one under its name."""
    if categories.dtype != object:
        return categories
    return np.array([MISSING_TEXT if _is_nan(value) else value for value in categories], dtype=object)
