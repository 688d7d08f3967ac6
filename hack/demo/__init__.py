"""The whole of Trimtab in a few minutes: a real cluster, a real model, a new version under load, an autoscaler."""
