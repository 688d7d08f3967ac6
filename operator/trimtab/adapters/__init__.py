"""The outside world behind the protocols that kinds declare."""
