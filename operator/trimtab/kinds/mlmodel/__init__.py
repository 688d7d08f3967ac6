"""MLModel: a line of revisions of one model, each an immutable bundle in the model store."""
