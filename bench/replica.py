"""The operator as a process of its own, watched from outside: /proc for what it costs, /metrics for what it does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from bench import objects
from hack import ROOT
from tests.processes import free_port

SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class Replica:
    """One replica, started now; use as a context manager, which kills what is left of it."""

    def __init__(self, kubeconfig: Path, log: Path) -> None:
        self.port = free_port()
        self.started = time.time()
        environment = os.environ | {
            "KUBECONFIG": str(kubeconfig),
            "PYTHONPATH": str(ROOT / "operator"),
            "TRIMTAB_SERVER_IMAGE": objects.SERVER_IMAGE,
            "TRIMTAB_TOOLBOX_IMAGE": objects.TOOLBOX_IMAGE,
            "TRIMTAB_STORE_URI": objects.STORE,
            "TRIMTAB_PORT": str(self.port),
            "TRIMTAB_XDS_PORT": str(free_port()),
        }
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "trimtab"], env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> Replica:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> float:
        """Ask it to stop, as the kubelet would; the seconds it took. RuntimeError if it did not end well."""
        started = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(60)
        if code != 0:
            raise RuntimeError(f"the operator ended with exit code {code} after SIGTERM; its log tells why")
        return time.monotonic() - started

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def metrics(self, name: str, **labels: str) -> float:
        """The sum of a metric over all series that carry these labels; 0 while there is nothing to scrape."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        found = (m for m in SAMPLE.finditer(self._scrape()) if m[1] == name)
        return sum(float(m[3]) for m in found if all(item in (m[2] or "") for item in wanted))

    def quiet(self, objects: int) -> bool:
        """True when it leads, each object was looked at, and nothing waits or is under way."""
        text = self._scrape()
        values: dict[str, float] = {}
        for match in SAMPLE.finditer(text):
            values[match[1]] = values.get(match[1], 0.0) + float(match[3])
        busy = values.get("workqueue_depth", 1) + values.get("controller_runtime_active_workers", 1)
        looked = values.get("controller_runtime_reconcile_total", 0)
        return values.get("leader_election_master_status") == 1 and busy == 0 and looked >= objects

    def _scrape(self) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as response:
                return str(response.read().decode())
        except OSError:  # not listening yet
            return ""

    def wait(self, done: Callable[[], bool], seconds: float, every: float, what: str) -> None:
        """Wait for something while the operator lives; RuntimeError if it dies or the time (seconds) is up."""
        deadline = time.monotonic() + seconds
        while not done():
            self.check(what)
            if time.monotonic() > deadline:
                raise RuntimeError(f"after {seconds:.0f} s it was still not so that {what}")
            time.sleep(every)

    def check(self, what: str) -> None:
        """RuntimeError if the operator ended while something was waited for."""
        if (code := self._process.poll()) is not None:
            raise RuntimeError(f"the operator ended with exit code {code} while waiting until {what}; see --log")
