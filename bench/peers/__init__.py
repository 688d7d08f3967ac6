"""The same models on Trimtab's server and on those of others, one core each, in one run."""
