"""The nest of operators itself: whatever dies at the same moment, each death is told of, and more can be born."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from tests.operators import Nest

PAIRS = 200


def test_operators_that_die_as_soon_as_they_are_born_are_all_told_of(tmp_path: Path) -> None:
    """Two at a time, so that one's end comes while the other's is being noted or while another is made."""
    with Nest(tmp_path) as nest:
        for number in range(PAIRS):
            logs = [tmp_path / f"{number}-{which}.log" for which in "ab"]
            ends = []
            for log in logs:
                pid = nest.fork({"KUBECONFIG": "/nowhere"}, log)
                ends.append(Path(f"{log}.{pid}"))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + 30
            while not all(end.exists() for end in ends):
                assert time.monotonic() < deadline, f"pair {number}: {ends} are not there"
                time.sleep(0.002)
            # Killed, unless it had ended for want of settings.
            assert {end.read_text() for end in ends} <= {"-9", "2"}
