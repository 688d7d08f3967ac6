"""What the recipes share of a model: from columns to numbers, balancing classes, how good it is, handing it over.

A model is measured as the gate will measure it, by the gate's own code; the gate does it again, on rows that no trainer
has seen.
"""

from __future__ import annotations

from typing import Any

from trimtab_toolbox.attempt import TrainingRun
from trimtab_toolbox.job import BadData, SelfCheckFailed
from trimtab_toolbox.recipes.data import Rows, is_regression
from trimtab_toolbox.recipes.options import Options

MAX_IMBALANCE = 2
SMOTE_NEIGHBOURS = 5
MAX_CATEGORIES = 50


def encoder(features: Any) -> list[Any]:
    """The steps from the columns as they are to numbers: gaps filled, numbers scaled, texts one-hot; not fitted yet."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [name for name in features.columns if features[name].dtype.kind == "f"]
    texts = [name for name in features.columns if name not in numbers]
    scaled = [SimpleImputer(strategy="median"), StandardScaler()]
    if not texts:
        return scaled
    known = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MAX_CATEGORIES, sparse_output=False)
    encoded = make_pipeline(SimpleImputer(strategy="most_frequent"), known)
    return [ColumnTransformer([("numbers", make_pipeline(*scaled), numbers), ("texts", encoded, texts)])]


def pipeline(rows: Rows, estimator: Any, seed: int, *, regression: bool) -> Any:
    """Encoder and `estimator` as one model, not fitted yet; with SMOTE between them when the classes are uneven.

    The sampler works in training only (imbalanced-learn's pipeline leaves it out of predictions), and on the rows of
    the fit alone: balancing before the split would put copies of held-out rows into what is learnt from.
    """
    from imblearn.over_sampling import SMOTE, RandomOverSampler
    from imblearn.pipeline import make_pipeline

    steps = encoder(rows.features)
    if not regression:
        smallest, largest = class_sizes(rows)
        if largest > MAX_IMBALANCE * smallest:
            # Few rows have few neighbours, and a single one has none.
            close = min(SMOTE_NEIGHBOURS, smallest - 1)
            steps.append(SMOTE(k_neighbors=close, random_state=seed) if close else RandomOverSampler(random_state=seed))
    return make_pipeline(*steps, estimator)


def class_sizes(rows: Rows) -> tuple[int, int]:
    """The rows of the smallest and of the largest class."""
    import numpy as np

    counts = np.unique(rows.target, return_counts=True)[1]
    if len(counts) < 2:
        raise BadData(f"{len(rows.target)} rows that should be learnt from have one class alone; give more rows")
    return int(counts.min()), int(counts.max())


def measure(metric: str, model: Any, rows: Rows) -> float:
    """The metric of a fitted model on `rows`, as a gate computes it."""
    import numpy as np

    from trimtab_toolbox.evaluation.estimate import one
    from trimtab_toolbox.evaluation.truth import Answers, Truth, class_names, coded

    nothing = np.empty(0)
    if is_regression(metric):
        answers = Answers(nothing.astype(np.int64), nothing, np.asarray(model.predict(rows.features), dtype=float))
        return one(metric, Truth(nothing.astype(np.int64), rows.target), answers, draws=2).point
    known, names = list(class_names(model.classes_)), class_names(rows.target)
    classes = (*known, *sorted(set(names) - set(known)))
    scores = np.zeros((len(names), len(classes)))
    scores[:, : len(known)] = model.predict_proba(rows.features)
    labels = coded(class_names(model.predict(rows.features)), classes)
    try:
        return one(metric, Truth(coded(names, classes), nothing, classes), Answers(labels, scores, nothing), 2).point
    except ValueError as error:
        raise BadData(f"{metric} cannot be told of {len(names)} rows that were kept apart: {error}") from error


def hand_over(run: TrainingRun, options: Options, model: Any, learnt: Rows, held_out: Rows) -> str:
    """Check the fitted model, log it with its metric and register it; returns the version."""
    import mlflow
    import numpy as np

    from trimtab_toolbox.training import log_model

    value = measure(options.metric, model, held_out)
    answers = (
        model.predict(held_out.features) if is_regression(options.metric) else model.predict_proba(held_out.features)
    )
    if not np.isfinite(answers).all() or not np.isfinite(value):
        raise SelfCheckFailed(f"the model's answers to {len(answers)} rows that were kept apart are not all finite")
    if (answers == answers[0]).all():
        raise SelfCheckFailed(f"the model gives the same answer to all of {len(answers)} rows that were kept apart")
    mlflow.log_metric(options.metric, value)
    mlflow.log_params({"data": options.data.partition("?")[0], "target": options.target, "seed": run.seed})
    given = (held_out.features, held_out.target, held_out.times)
    return log_model(
        model,
        learnt.features,
        learnt.target,
        registered_model_name=options.model_name,
        holdout=given,
        times=learnt.times,
    ).version
