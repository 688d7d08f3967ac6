"""How many workers a CPU limit makes, in both versions of cgroups."""

import os
from pathlib import Path

import pytest

from trimtab_serving.cpu import cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("max 100000\n", 1), ("250000 100000\n", 2), ("50000 100000\n", 1), ("1600000 100000\n", 8), ("nonsense", 1)],
)
def test_version_two(tmp_path: Path, text: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cores(tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 1), ("300000", 3), ("10000", 1)])
def test_version_one(tmp_path: Path, quota: str, expected: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cores(tmp_path) == expected


def test_without_cgroups(tmp_path: Path) -> None:
    assert cores(tmp_path) == 1
