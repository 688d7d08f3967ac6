"""Figures: what the operator costs and how fast it is, measured so that others can measure the same."""
