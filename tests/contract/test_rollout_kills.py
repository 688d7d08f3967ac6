"""Every write of a rollout is the last one of an operator once. Slow, and so not among the fast laws."""

from __future__ import annotations

import pytest

from tests.property.test_rollout_laws import ENDS, STRATEGIES, killed
from tests.unit.kinds.test_modeldeployment_gateway import promoted


@pytest.mark.parametrize("fate", ENDS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_kill_after_any_write_changes_nothing_about_the_end(strategy: str, fate: str) -> None:
    killed(strategy, fate, points=10_000)


@pytest.mark.parametrize("kill_in", range(1, 25))
def test_at_a_gateway_neither(kill_in: int) -> None:
    promoted(kill_in)
