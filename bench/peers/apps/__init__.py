"""What the peers' own documentation has a user write. Each file runs in its peer's environment, not in ours."""
