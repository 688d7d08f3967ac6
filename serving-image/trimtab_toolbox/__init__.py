"""Trimtab's toolbox: turns a trained model, wherever it was logged, into a bundle the model server can serve.

Trainers call `log_model`. It stands on `trimtab_serving` (bundles, stores, last words) and is never imported by it.
"""

from trimtab_toolbox.training import log_model

__all__ = ["log_model"]
