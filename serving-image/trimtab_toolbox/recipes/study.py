"""The study of a search: a journal on the volume, which attempts go on with and pods share."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.attempt import TrainingRun

if TYPE_CHECKING:
    import optuna

JOURNAL = "study.journal"


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


def ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that came to an end, by themselves or pruned; those of killed attempts never do."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def finished(study: optuna.Study, trials: int, patience: int) -> bool:
    """Whether all trials are done, or nothing better has come for so many that the search ends early."""
    done = ended(study)
    if len(done) >= trials:
        return True
    whole = [trial for trial in done if trial.state.name == "COMPLETE"]
    if not whole:
        return False
    best = study.best_trial.number
    return sum(trial.number > best for trial in done) >= patience


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
