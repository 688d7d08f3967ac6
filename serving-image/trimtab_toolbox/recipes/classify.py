"""The best of three classifiers: logistic regression, a random forest, boosted trees.

    python -m trimtab_toolbox.recipes.classify --data payments.csv --target fraud --metric pr_auc --time paid_at

Each is judged on folds of the rows to learn from, with SMOTE inside the pipeline when the largest class is more than
twice the smallest; the best is fitted on all of them. What has been judged is in the checkpoint, so that a training
that was stopped goes on with the next.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from trimtab_serving.cpu import cores
from trimtab_toolbox.evaluation.metrics import METRICS
from trimtab_toolbox.job import BadData
from trimtab_toolbox.recipes.data import Rows, is_regression, load
from trimtab_toolbox.recipes.model import class_sizes, hand_over, measure, pipeline
from trimtab_toolbox.recipes.options import recipe

FOLDS = 3


def estimators(seed: int) -> dict[str, Any]:
    """The candidates by name, simplest first: of equals the first is taken."""
    from lightgbm import LGBMClassifier
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    forest = RandomForestClassifier(200, min_samples_leaf=2, random_state=seed, n_jobs=cores())
    boosting = LGBMClassifier(
        n_estimators=200, num_leaves=15, learning_rate=0.05, n_jobs=cores(), verbose=-1, random_state=seed
    )
    return {"logistic": LogisticRegression(max_iter=2000), "forest": forest, "boosting": boosting}


def folds(rows: Rows, seed: int, count: int = FOLDS) -> Iterator[tuple[Rows, Rows]]:
    """Parts to fit on and parts to judge by; in time order each part judges what was fitted on all before it."""
    import numpy as np
    from sklearn.model_selection import KFold, StratifiedKFold

    places = np.arange(len(rows.target))
    if rows.in_order:
        ends = np.linspace(len(places) * 0.6, len(places), count + 1).astype(int)
        for begin, end in itertools.pairwise(ends):
            yield rows.part(places[:begin]), rows.part(places[begin:end])
        return
    stratify = rows.target.dtype.kind != "f" and class_sizes(rows)[0] >= count
    kind = StratifiedKFold if stratify else KFold
    for learn, judge in kind(count, shuffle=True, random_state=seed).split(places, rows.target if stratify else None):
        yield rows.part(learn), rows.part(judge)


def main() -> None:
    """Judge, choose, fit and hand over."""
    with recipe("Train the best of three classifiers.") as (run, options):
        if is_regression(options.metric):
            raise BadData(
                f"{options.metric} is of numbers, and this recipe classifies: use the recipe search or automl"
            )
        learn, held_out = load(options, run.seed)
        candidates = estimators(run.seed)
        before = run.restored("scores.json")
        scores: dict[str, float] = json.loads(before.read_text()) if before else {}
        for name, estimator in candidates.items():
            if name in scores:
                continue
            values = [
                measure(options.metric, pipeline(part, estimator, run.seed, regression=False).fit(*part[:2]), judge)
                for part, judge in folds(learn, run.seed)
            ]
            scores[name] = sum(values) / len(values)
            with run.checkpoint("scores.json") as path:
                path.write_text(json.dumps(scores))
            run.progress(len(scores), len(candidates) + 1)
        best = max(candidates, key=lambda name: METRICS[options.metric].sign * scores[name])
        _log(scores, options.metric, best)
        model = pipeline(learn, candidates[best], run.seed, regression=False).fit(*learn[:2])
        hand_over(run, options, model, learn, held_out)
        run.progress(len(candidates) + 1, len(candidates) + 1)


def _log(scores: dict[str, float], metric: str, best: str) -> None:
    import mlflow

    mlflow.log_metrics({f"folds.{name}.{metric}": value for name, value in scores.items()})
    mlflow.log_params({"recipe": "classify", "estimator": best})


if __name__ == "__main__":
    main()
