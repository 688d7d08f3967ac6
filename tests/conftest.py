"""What was imported is no garbage: the collector is told so, and that it need not look for some after each test."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """A tenth of the time of simulated lives went into walking over modules that stay as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
