"""Where all is as asked nothing is written, however often the operator looks."""

from __future__ import annotations

import asyncio
import time

from tests.faults import WRITES
from tests.quiet import QUIET_SECONDS, Quiet


async def test_a_settled_cluster_is_not_written_to(quiet: Quiet) -> None:
    """The minute began with the tests of leadership, which mostly wait, and went on during those that came between."""
    await asyncio.sleep(max(0.0, quiet.since + QUIET_SECONDS - time.monotonic()))
    calls = [record.call for record in quiet.proxy.calls()[quiet.calls_before :]]
    assert [call for call in calls if call.verb in WRITES and call.resource != "leases"] == []
    assert quiet.operator.exit_code is None
    renewals = [call for call in calls if call.verb == "update" and call.resource == "leases"]
    assert len(renewals) > QUIET_SECONDS / 4, "it was awake"
    relists = [call for call in calls if call.verb == "list" and call.resource == "modeldeployments"]
    assert len(relists) >= 4, "it looked at everything again"
    assert len([at for at in quiet.registry.asked if at > quiet.since]) >= QUIET_SECONDS / 10, "it asked the registry"
