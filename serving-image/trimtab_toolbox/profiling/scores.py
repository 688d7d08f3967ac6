"""What a model says of rows it was not trained on: the histogram of its score, and how often it was right.

A model is surer of the rows it has learnt than of others, so a histogram over those would make production look worse
than it is. Where no rows were held out, the model's own kind is fitted on four fifths of the data and asked for the
rest, five times.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab_serving.counting.profile import Predictions, Score
from trimtab_toolbox.predictions import is_classifier
from trimtab_toolbox.profiling.features import Numbers, cells_of

FOLDS = 5
MAX_FOLDED_ROWS = 20_000
_CHANCES = np.arange(1, 50) / 50


class Verdicts(NamedTuple):
    """A model's answers to rows it does not know [n], the probabilities [n, classes] if it has them, and the truth."""

    answers: NDArray[Any]
    chances: NDArray[Any] | None
    truth: NDArray[Any]
    hours: NDArray[np.int64] | None = None
    """The hours of the day, UTC, that the rows belong to, where that is known."""

    def part(self, chosen: NDArray[np.bool_]) -> Verdicts:
        """Some of the rows."""
        answers, chances, truth, hours = self
        some = None if chances is None else chances[chosen]
        return Verdicts(answers[chosen], some, truth[chosen], None if hours is None else hours[chosen])


def held_out(model: Any, features: Any, truth: Any, hours: NDArray[np.int64] | None = None) -> Verdicts:
    """The verdicts of the fitted `model` on rows that were kept apart."""
    chances = np.asarray(model.predict_proba(features)) if _has_chances(model) else None
    return Verdicts(np.asarray(model.predict(features)), chances, np.asarray(truth), hours)


def cross_validated(model: Any, features: Any, truth: Any, hours: NDArray[np.int64] | None = None) -> Verdicts | None:
    """The verdicts of copies of `model`, each on the part of the rows it was not fitted with.

    None for what cannot be fitted again: bare boosters, and models whose smallest class has too few rows; and, with a
    warning, for a model that refuses a part of the rows (a category that only the other parts have).
    """
    from sklearn.base import clone
    from sklearn.model_selection import cross_val_predict

    labels = np.asarray(truth)
    chosen = np.sort(np.random.default_rng(0).permutation(len(labels))[:MAX_FOLDED_ROWS])
    rows, labels = (features.iloc[chosen] if hasattr(features, "iloc") else features[chosen]), labels[chosen]
    smallest = np.unique(labels, return_counts=True)[1].min() if is_classifier(model) else len(labels)
    if not hasattr(model, "fit") or smallest < FOLDS:
        return None
    method = "predict_proba" if _has_chances(model) else "predict"
    try:
        given = cross_val_predict(clone(model), rows, labels, cv=FOLDS, method=method)
    except ValueError as error:
        message = (
            f"the profile has no scores: the model cannot be cross-validated ({error}); give holdout=(X, y) instead"
        )
        warnings.warn(message, stacklevel=2)
        return None
    hours = None if hours is None else hours[chosen]
    if method == "predict":
        return Verdicts(given, None, labels, hours)
    return Verdicts(np.asarray(model.classes_)[given.argmax(axis=1)], given, labels, hours)


def score_of(model: Any, verdicts: Verdicts) -> Score | None:
    """The histogram and, for classifiers, the calibration table; None for several outputs and bare labels."""
    answers, chances, truth, _ = verdicts
    if chances is not None:
        classes = np.asarray(model.classes_)
        narrow = chances.astype(np.float32)  # as clients get them
        if len(classes) == 2:
            return _calibrated("positive", narrow[:, 1], truth == classes[1])
        return _calibrated("largest", narrow.max(axis=1), answers == truth)
    if is_classifier(model) or answers.ndim > 1 or answers.dtype.kind not in "iuf":
        return None
    numbers = Numbers(answers)
    edges = numbers.edges()
    return Score("value", tuple(edges.tolist()), cells_of(numbers.ordered, edges))


def predictions_of(verdicts: Verdicts, classes: Sequence[Any] | None) -> Predictions | None:
    """How often each class was predicted; None without classes."""
    if classes is None:
        return None
    return Predictions(tuple(int((verdicts.answers == value).sum()) for value in classes))


def _calibrated(kind: Any, score: NDArray[Any], right: NDArray[Any]) -> Score:
    counts, rightly = (cells_of(np.sort(part), _CHANCES) for part in (score, score[right]))
    return Score(kind, tuple(_CHANCES.tolist()), counts, rightly)


def _has_chances(model: Any) -> bool:
    return is_classifier(model) and hasattr(model, "predict_proba") and np.ndim(model.classes_) == 1
