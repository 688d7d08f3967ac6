"""Drift profiles: what the training data and the model's scores looked like, in the format of docs/contract.md."""
