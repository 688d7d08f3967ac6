"""The evaluator Job: grades a challenger against the champion on the same rows, by evidence.

Whoever trained a model does not grade it. This package is asked by its environment, loads both models as an import
would, asks both for the same digest-pinned holdout and says Passed or Rejected with every number behind it.
docs/gate.md has the formulas, what they stand on, and how often they are wrong.
"""
