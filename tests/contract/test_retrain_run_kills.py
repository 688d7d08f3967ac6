"""Every write of a run is the last one of an operator once. Slow, and so not among the fast laws."""

from __future__ import annotations

import pytest

from tests.property.test_retrain_run_laws import STORIES, killed


@pytest.mark.parametrize("name", STORIES)
def test_a_kill_after_any_write_changes_nothing_about_the_end(name: str) -> None:
    assert killed(name, points=10_000) > 5
