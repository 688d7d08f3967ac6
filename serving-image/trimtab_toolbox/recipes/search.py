"""A search for the settings of boosted trees with Optuna, in one pod or in as many as the Job has.

    python -m trimtab_toolbox.recipes.search --data loans.parquet --target defaulted --metric roc_auc --trials 50

The study is a journal in the checkpoint directory: an attempt goes on with the trials that are there, and the pods of
an Indexed Job, given a volume that all of them can write, share them. A trial that is behind after its first folds is
pruned; the search ends early when nothing better has come for a while. The pod with index 0 waits for trials that
others have begun, fits the best settings on all rows, and hands over.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from trimtab_serving.cpu import cores
from trimtab_toolbox.attempt import TrainingRun
from trimtab_toolbox.evaluation.metrics import METRICS
from trimtab_toolbox.recipes.classify import folds
from trimtab_toolbox.recipes.data import Rows, is_regression, load
from trimtab_toolbox.recipes.model import hand_over, measure, pipeline
from trimtab_toolbox.recipes.options import Flag, Options, recipe
from trimtab_toolbox.recipes.study import ended, finished, open_study, wait_for_others

if TYPE_CHECKING:
    import optuna

TRIALS = Flag("trials", "RECIPE_TRIALS", 40, "how many settings to try, over all pods")
PATIENCE = Flag("patience", "RECIPE_PATIENCE", 20, "end when so many trials in a row were no better")


def main() -> None:
    """Search with the others; index 0, or the only pod, also fits and hands over."""
    with recipe("Search the settings of boosted trees.", TRIALS, PATIENCE) as (run, options):
        learn, held_out = load(options, run.seed)
        study = open_study(run, METRICS[options.metric].sign)
        began = datetime.now()  # noqa: DTZ005 - as Optuna notes its times
        while not finished(study, options.numbers["trials"], options.numbers["patience"]):
            study.optimize(lambda trial: objective(trial, learn, options, run), n_trials=1)
            run.progress(len(ended(study)), options.numbers["trials"])
        if run.index:
            return
        wait_for_others(run, study, began)
        _log(study)
        settings = study.best_trial.params
        regression = is_regression(options.metric)
        model = pipeline(learn, _estimator(settings, run.seed, regression), run.seed, regression=regression)
        hand_over(run, options, model.fit(*learn[:2]), learn, held_out)


def objective(trial: optuna.Trial, rows: Rows, options: Options, run: TrainingRun) -> float:
    """The mean of the metric over the folds; given up after a fold that is worse than most were there."""
    import optuna

    regression = is_regression(options.metric)
    settings = {
        "n_estimators": trial.suggest_int("n_estimators", 50, 500, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 4, 64, log=True),
        "min_child_samples": trial.suggest_int("min_child_samples", 5, 100, log=True),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.4, 1.0),
        "reg_lambda": trial.suggest_float("reg_lambda", 1e-3, 30.0, log=True),
    }
    values: list[float] = []
    for step, (part, judge) in enumerate(folds(rows, run.seed)):
        model = pipeline(part, _estimator(settings, run.seed, regression), run.seed, regression=regression)
        values.append(measure(options.metric, model.fit(*part[:2]), judge))
        trial.report(sum(values) / len(values), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return sum(values) / len(values)


def _estimator(settings: dict[str, Any], seed: int, regression: bool) -> Any:
    from lightgbm import LGBMClassifier, LGBMRegressor

    kind = LGBMRegressor if regression else LGBMClassifier
    return kind(**settings, n_jobs=cores(), verbose=-1, random_state=seed)


def _log(study: optuna.Study) -> None:
    import mlflow

    mlflow.log_params({"recipe": "search", "trials": len(ended(study)), **study.best_trial.params})
    mlflow.log_metric("search.best", float(study.best_value))


if __name__ == "__main__":
    main()
