"""How many cores the container may use: the cgroup's quota, which the machine's own count says nothing about."""

from __future__ import annotations

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def cores(root: Path = CGROUPS) -> int:
    """Whole cores of the CPU limit, at least 1. Without a limit 1: a big node must not multiply a pod's memory."""
    quota = _version_two(root / "cpu.max") or _version_one(root / "cpu")
    return 1 if quota is None else max(1, min(len(os.sched_getaffinity(0)), int(quota)))


def _version_two(path: Path) -> float | None:
    try:
        quota, period = path.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # no such file, or "max"
        return None


def _version_one(directory: Path) -> float | None:
    try:
        quota = int((directory / "cpu.cfs_quota_us").read_text())
        period = int((directory / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
