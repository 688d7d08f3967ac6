"""Operators as processes: started, killed, stopped and listened to by tests, each behind a fault proxy."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.faultproxy import FaultProxy
from tests.processes import free_port

ROOT = Path(__file__).parents[1]
PLATFORM = {
    "TRIMTAB_SERVER_IMAGE": "registry.example.com/trimtab-server:1",
    "TRIMTAB_TOOLBOX_IMAGE": "registry.example.com/trimtab-toolbox:1",
    "TRIMTAB_STORE_URI": "http://mlflow.example.com:5000/api/2.0/mlflow-artifacts/artifacts/bundles",
}
START_SECONDS = 60.0


class Operator:
    """One replica. It sees and leads one namespace only, unless told otherwise, so that many can work side by side.

    `caller` is the name the proxy knows it by; a new one for each life, so that what a dead operator still had on
    its way is not taken for the doing of the living.
    """

    def __init__(self, nest: Nest, caller: str, environment: Mapping[str, str]) -> None:
        self.caller = caller
        self.port = int(environment["TRIMTAB_PORT"])
        self._log = nest.folder / f"{caller}.log"
        self.pid = nest.fork(environment, self._log)
        self._stopped = False

    @property
    def exit_code(self) -> int | None:
        """How it ended: the code, or the negative of the signal; None while it lives."""
        ended = Path(f"{self._log}.{self.pid}")
        return int(ended.read_text()) if ended.exists() else None

    @property
    def log(self) -> str:
        """All that it has said."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def send(self, what: signal.Signals) -> None:
        """Send a signal; it must be alive."""
        os.kill(self.pid, what)
        self._stopped = what == signal.SIGSTOP or (self._stopped and what != signal.SIGCONT)

    def kill(self) -> None:
        """End it as the kernel would, at once, if it still lives; it may be called from any thread."""
        if self.exit_code is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:  # it ended between the question and the deed
                return

    async def ended(self, seconds: float = 30) -> int:
        """Wait for its end; the exit code."""
        deadline = time.monotonic() + seconds
        while (code := self.exit_code) is None:
            assert time.monotonic() < deadline, f"{self.caller} lives on; its last words:\n{self.log[-2_000:]}"
            await asyncio.sleep(0.02)
        return code

    async def said(self, words: str, seconds: float = START_SECONDS) -> None:
        """Wait until a line of its log holds these words."""
        deadline = time.monotonic() + seconds
        while words not in self.log:
            state = f"{self.caller} (exit code {self.exit_code}) has not said {words!r} but:\n{self.log[-2_000:]}"
            assert self.exit_code is None, state
            assert time.monotonic() < deadline, state
            await asyncio.sleep(0.05)

    async def metric(self, name: str, **labels: str) -> float:
        """What it counts itself; the sum over all series with these labels."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            families = list(text_string_to_metric_families(await response.text()))
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    async def stop(self) -> int:
        """Ask it to end, as the kubelet does, and wait; the exit code."""
        self.send(signal.SIGTERM)
        return await self.ended()


class Nest:
    """Where operators come from: a zygote, and a folder for their logs. Use as a context manager; it kills them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.operators: list[Operator] = []
        self._numbers = itertools.count(1)

    def __enter__(self) -> Nest:
        path = os.pathsep.join([str(ROOT / "operator"), str(ROOT)])
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.folder / "zygote.log").open("wb"),
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear(self.operators)
        self._zygote.kill()
        self._zygote.communicate()

    def caller(self, name: str = "operator") -> str:
        """A name that no operator has had yet."""
        return f"{name}-{next(self._numbers)}"

    def start(
        self,
        proxy: FaultProxy,
        namespace: str,
        *,
        caller: str = "",
        user: str = "",
        settings: Mapping[str, str] | None = None,
    ) -> Operator:
        """Start an operator for one namespace; `settings` are further environment variables, or other values.

        `user` is who the API server takes it for; the administrator when not given.
        """
        caller = caller or self.caller()
        environment = {
            "KUBECONFIG": str(proxy.kubeconfig(caller, user)),
            "POD_NAME": caller,
            "POD_NAMESPACE": namespace,
            "TRIMTAB_WATCH_NAMESPACES": namespace,
            "TRIMTAB_PORT": str(free_port()),
            "TRIMTAB_XDS_PORT": str(free_port()),
            **PLATFORM,
            **(settings or {}),
        }
        operator = Operator(self, caller, environment)
        self.operators.append(operator)
        return operator

    def fork(self, environment: Mapping[str, str], log: Path) -> int:
        """Have an operator forked; its process id."""
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.write(json.dumps({"environment": dict(environment), "log": str(log)}) + "\n")
        self._zygote.stdin.flush()
        answer = self._zygote.stdout.readline()
        assert answer, f"the zygote ended: {(self.folder / 'zygote.log').read_text()}"
        return int(answer)

    def clear(self, operators: Iterable[Operator]) -> None:
        """Kill those of these operators that still live, and forget them all."""
        for operator in list(operators):
            operator.kill()
            self.operators.remove(operator)
