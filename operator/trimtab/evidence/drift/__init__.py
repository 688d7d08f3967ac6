"""Drift: is the traffic still what the model was trained on? Pure, over counts, in the cells of the drift profile."""
