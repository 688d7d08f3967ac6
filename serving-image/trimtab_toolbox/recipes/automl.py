"""FLAML's choice among learners and their settings within a budget of seconds.

    python -m trimtab_toolbox.recipes.automl --data sales.csv --target sold --metric rmse --budget-seconds 600

The budget is spent in slices. After each, the best so far and where each learner's search stands are in the checkpoint,
so a stopped training spends only what is left. FLAML sees numbers alone; what is served is the learner it chose, fitted
anew behind the encoder, so no part of FLAML is needed to predict.
"""

from __future__ import annotations

import importlib
import json
import logging
import math
import time
from typing import Any

from trimtab_serving.cpu import cores
from trimtab_toolbox.evaluation.metrics import METRICS
from trimtab_toolbox.recipes.classify import folds
from trimtab_toolbox.recipes.data import Rows, is_regression, load
from trimtab_toolbox.recipes.model import encoder, hand_over, measure
from trimtab_toolbox.recipes.options import Flag, recipe

BUDGET = Flag("budget-seconds", "RECIPE_BUDGET_SECONDS", 120, "how long to search")
SLICES = 5
LEARNERS = {
    "lgbm": ("lightgbm", "LGBM{}"),
    "rf": ("sklearn.ensemble", "RandomForest{}"),
    "extra_tree": ("sklearn.ensemble", "ExtraTrees{}"),
    "xgboost": ("xgboost", "XGB{}"),
    "lrl1": ("sklearn.linear_model", "LogisticRegression"),
}


class _Named:
    """A learner of FLAML's, which knows classes by their numbers, as a model that knows them by name."""

    def __init__(self, learner: Any, classes: Any) -> None:
        self._learner, self.classes_ = learner, classes

    def predict(self, features: Any) -> Any:
        """The class (or, without classes, the value) of each row."""
        found = self._learner.predict(features)
        return found if self.classes_ is None else self.classes_[found.astype(int)]

    def predict_proba(self, features: Any) -> Any:
        """The probability of each class for each row."""
        return self._learner.predict_proba(features)


def main() -> None:
    """Search slice by slice, fit the best learner on all rows, hand over."""
    with recipe("Let FLAML choose a learner and its settings.", BUDGET) as (run, options):
        learn, held_out = load(options, run.seed)
        budget = options.numbers["budget-seconds"]
        before = run.restored("search.json")
        state: dict[str, Any] = json.loads(before.read_text()) if before else {"spent": 0.0, "starts": {}}
        while state["spent"] < budget:
            step(state, learn, options.metric, max(budget / SLICES, 1.0), run.seed)
            with run.checkpoint("search.json") as path:
                path.write_text(json.dumps(state, default=lambda value: value.item()))
            run.progress(min(round(state["spent"]), budget), budget)
        if "learner" not in state:
            raise ValueError(f"FLAML finished no trial within {budget} s; give it more time (--budget-seconds)")
        model = _pipeline(state, learn, is_regression(options.metric))
        _log(state)
        hand_over(run, options, model.fit(*learn[:2]), learn, held_out)


def step(state: dict[str, Any], rows: Rows, metric: str, seconds: float, seed: int) -> None:
    """Search for some seconds more, from where `state` says the learners stand; `state` is changed."""
    import flaml.automl as flaml

    logging.getLogger("flaml").setLevel(logging.WARNING)
    began = time.monotonic()
    tables, codes, classes = _numbered(rows, metric, seed)
    make: Any = flaml.AutoML  # without types
    found = make(
        task="regression" if classes is None else "classification",
        metric=_metric(metric, classes),
        estimator_list=_learners(classes),
        starting_points=state["starts"],
        time_budget=seconds,
        n_jobs=cores(),
        seed=seed % 2**31,
        mlflow_logging=False,
        skip_transform=True,
        retrain_full=False,
        verbose=0,
    )
    found.fit(X_train=tables[0], y_train=codes[0], X_val=tables[1], y_val=codes[1])
    state["spent"] += max(time.monotonic() - began, seconds)
    if found.model is not None and found.best_loss < state.get("loss", math.inf):
        state |= {"loss": found.best_loss, "learner": found.best_estimator}
        state["settings"] = found.model.estimator.get_params()
    state["starts"] |= {name: config for name, config in (found.best_config_per_estimator or {}).items() if config}


def _numbered(rows: Rows, metric: str, seed: int) -> tuple[list[Any], list[Any], Any]:
    """Tables and targets of the part to fit on and the part to judge by, all of numbers; and the classes, if any."""
    import numpy as np
    from sklearn.pipeline import make_pipeline

    part, judge = list(folds(rows, seed))[-1]
    encoded = make_pipeline(*encoder(part.features)).fit(part.features)
    if is_regression(metric):
        return [encoded.transform(one.features) for one in (part, judge)], [part.target, judge.target], None
    classes = np.unique(part.target)
    judge = judge.part(np.flatnonzero(np.isin(judge.target, classes)))
    codes = [np.searchsorted(classes, one.target) for one in (part, judge)]
    return [encoded.transform(one.features) for one in (part, judge)], codes, classes


def _metric(metric: str, classes: Any) -> Any:
    def loss(rows: Any, target: Any, learner: Any, *_: Any, **__: Any) -> tuple[float, dict[str, float]]:
        names = target if classes is None else classes[target]
        value = measure(metric, _Named(learner, classes), Rows(rows, names, False))
        return -METRICS[metric].sign * value, {metric: value}

    return loss


def _learners(classes: Any) -> list[str]:
    """XGBoost takes no names for classes, and the logistic regression is none of numbers."""
    if classes is None:
        return ["lgbm", "rf", "extra_tree", "xgboost"]
    numbered = classes.dtype.kind == "i" and list(classes) == list(range(len(classes)))
    return ["lgbm", "rf", "extra_tree", "lrl1", *(["xgboost"] if numbered else [])]


def _pipeline(state: dict[str, Any], rows: Rows, regression: bool) -> Any:
    from sklearn.pipeline import make_pipeline

    module, name = LEARNERS[state["learner"]]
    kind = getattr(importlib.import_module(module), name.format("Regressor" if regression else "Classifier"))
    return make_pipeline(*encoder(rows.features), kind(**state["settings"]))


def _log(state: dict[str, Any]) -> None:
    import mlflow

    settings = {name: value for name, value in state["settings"].items() if value is not None}
    mlflow.log_params({"recipe": "automl", "learner": state["learner"], **settings})
    mlflow.log_metric("search.loss", state["loss"])


if __name__ == "__main__":
    main()
