"""Trainings that need no script: `python -m trimtab_toolbox.recipes.classify`, `search` and `automl`.

Each is told by flags or variables where the rows are and which column is the target, keeps to the contract of
training Jobs, and registers one version with all that Trimtab needs to serve and to watch it. They are also meant to be
read: whoever wants more starts from a copy.
"""
