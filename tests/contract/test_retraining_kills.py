"""Every write of a retraining, and every change it makes outside, is the last one of an operator once. Slow."""

from __future__ import annotations

import pytest

from tests.property.test_retrain_kill_laws import STORIES, killed


@pytest.mark.parametrize("outcome", STORIES)
def test_a_kill_after_any_change_changes_nothing_about_the_end(outcome: str) -> None:
    assert killed(outcome, points=10_000) > 12
