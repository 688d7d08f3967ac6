"""What live deployments count, over time: kept by bucket, judged at the end of each. Behind `observe.Monitor`."""
