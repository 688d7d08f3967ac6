"""The supervisor with real processes: who dies is replaced, who cannot live ends the pod."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from trimtab_serving import supervisor
from trimtab_serving.supervisor import Supervisor


class Pod:
    """A supervisor in a process of its own; its workers leave a line each time they start."""

    def __init__(self, home: Path, work: Callable[[int, bool], int]) -> None:
        self.log = home / "log"
        self.log.touch()

        def noted(number: int, replaces: bool) -> int:
            with self.log.open("a") as log:
                log.write(f"{number} {replaces}\n")
            return work(number, replaces)

        # fork: the work is a closure, and nothing else runs here.
        self.process = multiprocessing.get_context("fork").Process(target=lambda: os._exit(Supervisor(2, noted).run()))
        self.process.start()

    def until_lines(self, count: int) -> list[str]:
        deadline = time.monotonic() + 20
        while len(lines := self.log.read_text().splitlines()) < count:
            assert time.monotonic() < deadline, lines
            time.sleep(0.02)
        return lines

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def end(self) -> int | None:
        self.process.join(20)
        return self.process.exitcode


def wait_for_sigterm(code: int) -> int:
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    while not stopped:
        time.sleep(0.02)
    return code


def test_a_killed_worker_is_replaced_under_its_number(tmp_path: Path) -> None:
    pod = Pod(tmp_path, lambda number, replaces: wait_for_sigterm(0))
    assert sorted(pod.until_lines(2)) == ["0 False", "1 False"]
    time.sleep(0.1)
    os.kill(pod.workers()[0].pid, signal.SIGKILL)
    assert pod.until_lines(3)[2].endswith("True")
    time.sleep(0.2)
    assert len(pod.workers()) == 2
    os.kill(pod.process.pid or 0, signal.SIGTERM)
    assert pod.end() == 0


def test_a_worker_that_can_never_serve_ends_all(tmp_path: Path) -> None:
    pod = Pod(tmp_path, lambda number, replaces: 10 if number else wait_for_sigterm(0))
    assert pod.end() == 10
    assert sorted(pod.until_lines(2)) == ["0 False", "1 False"]


def test_a_worker_that_dies_at_every_start_ends_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "LAST_PAUSE_SECONDS", 0.1)
    pod = Pod(tmp_path, lambda number, replaces: 3 if number else wait_for_sigterm(0))
    assert pod.end() == 1
    starts = [line for line in pod.log.read_text().splitlines() if line.startswith("1")]
    assert len(starts) == 5


def test_workers_do_not_outlive_their_supervisor(tmp_path: Path) -> None:
    pod = Pod(tmp_path, lambda number, replaces: wait_for_sigterm(0))
    pod.until_lines(2)
    time.sleep(0.2)
    workers = pod.workers()
    os.kill(pod.process.pid or 0, signal.SIGKILL)
    assert pod.end() == -signal.SIGKILL
    assert psutil.wait_procs(workers, 10)[1] == []
