"""Figures: what the parts of this project cost and how fast they are, measured so that others can measure the same."""

import hack  # noqa: F401 - puts the sources on the path
