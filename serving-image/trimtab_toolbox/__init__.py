"""Trimtab's toolbox: turns a trained model, wherever it was logged, into a bundle the model server can serve.

It stands on `trimtab_serving` (bundles, stores, last words) and is never imported by it.
"""
