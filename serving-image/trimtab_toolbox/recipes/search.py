"""A search for the settings of boosted trees with Optuna, in one pod or in as many as the Job has.

    python -m trimtab_toolbox.recipes.search --data loans.parquet --target defaulted --metric roc_auc --trials 50

The study is a journal in the checkpoint directory: an attempt goes on with the trials that are there, and the pods of
an Indexed Job, given a volume that all of them can write, share them. A trial that is behind after its first folds is
pruned; the search ends early when nothing better has come for a while. The pod with index 0 waits for trials that
others have begun, fits the best settings on all rows, and hands over.
"""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab_serving.cpu import cores
from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.attempt import TrainingRun
from trimtab_toolbox.evaluation.metrics import METRICS
from trimtab_toolbox.recipes.classify import folds
from trimtab_toolbox.recipes.data import Rows, is_regression, load
from trimtab_toolbox.recipes.model import hand_over, measure, pipeline
from trimtab_toolbox.recipes.options import Flag, Options, recipe

if TYPE_CHECKING:
    import optuna

TRIALS = Flag("trials", "RECIPE_TRIALS", 40, "how many settings to try, over all pods")
PATIENCE = Flag("patience", "RECIPE_PATIENCE", 20, "end when so many trials in a row were no better")
JOURNAL = "study.journal"


def main() -> None:
    """Search with the others; index 0, or the only pod, also fits and hands over."""
    with recipe("Search the settings of boosted trees.", TRIALS, PATIENCE) as (run, options):
        learn, held_out = load(options, run.seed)
        study = open_study(run, METRICS[options.metric].sign)
        began = datetime.now()  # noqa: DTZ005 - as Optuna notes its times
        while not finished(study, options):
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


def open_study(run: TrainingRun, sign: int) -> optuna.Study:
    """The study of all attempts and pods of this run."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    run.checkpoint_dir.mkdir(parents=True, exist_ok=True)
    path = run.checkpoint_dir / JOURNAL
    if run.index is None:
        _mend(path)
    elif not os.environ.get("TRIMTAB_CHECKPOINT_DIR"):
        message = "the pods of an Indexed Job need a volume to share a study: set job.checkpoints.claimName"
        raise Failure(Reason.SETTINGS_INVALID, message)
    backend = JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path)))
    study = optuna.create_study(
        study_name="search",
        storage=JournalStorage(backend),
        direction="maximize" if sign > 0 else "minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=0),
        load_if_exists=True,
    )
    # A sampler that began anew would propose again what it proposed at first.
    seed = run.seed + 1_000_003 * (run.index or 0) + len(study.trials)
    study.sampler = optuna.samplers.TPESampler(seed=seed % 2**32, constant_liar=run.index is not None)
    return study


def _mend(path: Path) -> None:
    """Cut off the line that an attempt was killed in: what follows it could not be read."""
    if path.exists() and not (content := path.read_bytes()).endswith(b"\n"):
        path.write_bytes(content[: content.rfind(b"\n") + 1])


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


def ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that came to an end, by themselves or pruned; those of killed attempts never do."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def finished(study: optuna.Study, options: Options) -> bool:
    """Whether all trials are done, or nothing better has come for so many that the search ends early."""
    done = ended(study)
    if len(done) >= options.numbers["trials"]:
        return True
    whole = [trial for trial in done if trial.state.name == "COMPLETE"]
    if not whole:
        return False
    best = study.best_trial.number
    return sum(trial.number > best for trial in done) >= options.numbers["patience"]


def wait_for_others(run: TrainingRun, study: optuna.Study, began: datetime) -> None:
    """Wait for the trials that other pods run now, at most as long as three times the longest that has ended."""
    lasted = [trial.duration.total_seconds() for trial in ended(study) if trial.duration is not None]
    until = time.monotonic() + 3 * max(lasted, default=0.0)
    while time.monotonic() < until and any(
        trial.state.name == "RUNNING" and trial.datetime_start is not None and trial.datetime_start > began
        for trial in study.get_trials(deepcopy=False)
    ):
        run.stop_if_asked()
        time.sleep(0.2)


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
