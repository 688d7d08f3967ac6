"""The Open Inference Protocol: what requests may say, what answers look like, and what is refused."""
