"""The vocabulary every kind shares: objects, plans, conditions, metadata, schemas. Pure."""
