"""Writes of a retraining, and changes it makes outside, are the last one of an operator: twenty of each story, evenly
spread. With TRIMTAB_THOROUGH=1 each of them once; without, what only a kill between two of the twenty shows is missed.
"""

from __future__ import annotations

import pytest

from tests.property.test_retrain_kill_laws import STORIES, killed
from tests.thorough import THOROUGH


@pytest.mark.parametrize("outcome", STORIES)
def test_a_kill_after_any_change_changes_nothing_about_the_end(outcome: str) -> None:
    assert killed(outcome, points=10_000 if THOROUGH else 20) > 12
