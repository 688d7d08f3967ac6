"""Trimtab's toolbox: turns a trained model, wherever it was logged, into a bundle the model server can serve.

Trainers call `training_run` and `log_model`. It stands on `trimtab_serving` (bundles, stores, last words) and is never
imported by it.
"""

from trimtab_toolbox.attempt import TrainingRun
from trimtab_toolbox.job import BadData, SelfCheckFailed, Skip, TryAgain
from trimtab_toolbox.running import training_run
from trimtab_toolbox.training import log_model

__all__ = ["BadData", "SelfCheckFailed", "Skip", "TrainingRun", "TryAgain", "log_model", "training_run"]
