"""Programs that a test runs beside itself: started with a log, waited for, and ended by their own id."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

START_SECONDS = 60.0
STOP_SECONDS = 10.0


class Processes:
    """Children of this process, by name. The kernel ends them with the thread that started them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def spawn(self, name: str, command: Sequence[str | Path]) -> None:
        """Start a program in a session of its own; its output goes to a log in the folder."""
        leash = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [*leash, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, name: str, done: Callable[[], bool]) -> None:
        """Wait until `done`; RuntimeError with the program's last words when it ends or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while not done():
            ended = self._running[name].poll()
            if ended is not None or time.monotonic() > deadline:
                state = "did not get ready" if ended is None else f"ended with {ended}"
                raise RuntimeError(f"{name} {state}; its last words:\n{self.log(name)[-2_000:]}")
            time.sleep(0.05)

    def pid(self, name: str) -> int:
        """The process id of a running program."""
        return self._running[name].pid

    def log(self, name: str) -> str:
        """What a program has written so far."""
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def end(self, name: str, how: signal.Signals) -> None:
        """Send a signal and wait until the program is gone; nothing happens when it does not run."""
        process = self._running.pop(name, None)
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def end_all(self, at_once: Sequence[str] = ()) -> None:
        """End all programs, newest first; those named in `at_once` are not asked but killed."""
        for name in reversed(list(self._running)):
            self.end(name, signal.SIGKILL if name in at_once else signal.SIGTERM)


def program(name: str) -> Path:
    """Where a program lies: in KUBEBUILDER_ASSETS if that has it, else in the project's cache of binaries."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (Path(assets) / name).exists():
        return Path(assets) / name
    from hack.cluster import binaries  # builds what is missing, and so needs Go: only where it is wanted

    return binaries.ensure(name)[name]


PORTS = range(20_000, 30_000)
"""Below those that the kernel gives to connections: one that is free now must still be free when it is needed."""
GIVEN: set[int] = set()


def free_port() -> int:
    """A TCP port that nobody listens on, and that nobody else in this process was given."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("", port))
            except OSError:
                continue
        if port not in GIVEN:
            GIVEN.add(port)
            return port
