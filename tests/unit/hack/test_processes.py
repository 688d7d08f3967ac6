"""Processes are known by what they carry, never by a number alone."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hack.cluster import processes

Start = Callable[..., processes.Running]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    processes.stop(processes.running(tmp_path), grace=0, cluster=tmp_path)


def start(cluster: Path, script: str = "import time; print('ready', flush=True); time.sleep(60)") -> processes.Running:
    program = Path(sys.executable).resolve().name
    log = cluster / "log" / f"{program}.log"
    processes.start(program, [sys.executable, "-c", script], "fp1", log, cluster=cluster)
    deadline = time.monotonic() + 10
    while "ready" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    return processes.components(cluster)[program]


def test_a_component_is_found_with_its_fingerprint_and_ends_when_stopped(cluster: Path) -> None:
    process = start(cluster)
    assert process.fingerprint == "fp1"
    processes.stop([process], cluster=cluster)
    assert processes.running(cluster) == []


def test_one_that_ignores_the_polite_signal_is_killed_after_the_grace(cluster: Path) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    process = start(cluster, deaf)
    began = time.monotonic()
    processes.stop([process], grace=0.3, cluster=cluster)
    assert processes.running(cluster) == []
    assert 0.3 <= time.monotonic() - began < 5


def test_a_pid_that_now_belongs_to_someone_else_is_not_signalled(cluster: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        stale = processes.Running(stranger.pid, "etcd", "etcd", "fp1")
        processes.stop([stale], grace=0, cluster=cluster)
        assert stranger.poll() is None
        stranger.kill()


def test_a_component_restarted_meanwhile_with_other_settings_is_not_signalled(cluster: Path) -> None:
    process = start(cluster)
    processes.stop([replace(process, fingerprint="fp0")], grace=0, cluster=cluster)
    assert os.path.exists(f"/proc/{process.pid}")
    assert processes.running(cluster) == [process]


def test_another_clusters_processes_are_not_ours(cluster: Path) -> None:
    start(cluster)
    assert processes.running(cluster / "other") == []


def test_what_a_component_starts_is_ours_but_no_component(cluster: Path) -> None:
    start(cluster, "import subprocess; p = subprocess.Popen(['sleep', '60']); print('ready', flush=True); p.wait()")
    children = [process for process in processes.running(cluster) if not process.is_component]
    assert [child.program for child in children] == ["sleep"]


def test_the_previous_runs_output_is_kept(cluster: Path) -> None:
    for _ in range(2):
        processes.stop([start(cluster)], grace=0, cluster=cluster)
    now, before = sorted((cluster / "log").iterdir(), key=lambda file: "previous" in file.name)
    assert (now.read_text(), before.read_text()) == ("ready\n", "ready\n")
