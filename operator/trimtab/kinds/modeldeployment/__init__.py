"""ModelDeployment: where and how a model runs, and how it moves from one revision to the next."""
