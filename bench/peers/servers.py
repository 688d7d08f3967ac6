"""Servers as processes on one core: started, asked whether they are right, and ended."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.peers.catalogue import Peer, Place
from bench.peers.dialects import LABELS_ALONE, NAME, Dialect
from bench.peers.install import PeerError, last_words
from bench.peers.subjects import BATCH, CHECKED, Files, Subject

ROOT = Path(__file__).parents[2]
START_SECONDS = 90
BEARER = "a-token-of-the-bench-0123456789abcdef"
TRIMTAB, UNCOUNTED, PROBABILITIES = "Trimtab", "Trimtab, counting off", "Trimtab, probabilities too"
OURS = (TRIMTAB, UNCOUNTED, PROBABILITIES)
THREADS = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
"""One core: more threads would only fight over it."""


@dataclass(frozen=True)
class Server:
    """A running server and how to ask it."""

    name: str
    process: psutil.Popen
    port: int
    dialect: Dialect
    bearer: str = ""

    @property
    def url(self) -> str:
        """Where rows go."""
        return f"http://127.0.0.1:{self.port}{self.dialect.path}"

    def processor_seconds(self) -> float:
        """Processor time of the server and its children so far."""
        total = 0.0
        for process in (self.process, *self.process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                used = process.cpu_times()
                total += used.user + used.system
        return total

    def ask(self, body: bytes) -> object:
        """The answer to one body; PeerError when it is not 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"content-type": "application/json"}
        headers |= {"authorization": f"Bearer {self.bearer}"} if self.bearer else {}
        try:
            connection.request("POST", self.dialect.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise PeerError(f"{self.name} answers {answer.status}: {content[:200]!r}")
        return json.loads(content)

    def check(self, subject: Subject) -> None:
        """PeerError unless its labels are scikit-learn's, row by row and in one batch."""
        right = subject.labels(BATCH)
        asked = [(row, 1) for row in range(CHECKED)] + [(0, BATCH)]
        for first, count in asked:
            answer = self.ask(self.dialect.encoded(subject, first, count))
            got = self.dialect.labels(answer)
            if got != right[first : first + count]:
                message = f"predicts {got[:5]} for {count} rows from {first} on, not {right[first : first + count][:5]}"
                raise PeerError(f"{self.name} {message}")


@contextmanager
def peer(peer: Peer, home: Path, files: Files, subject: Subject, core: int, folder: Path) -> Iterator[Server]:
    """A peer's server with this model, on this core."""
    place = Place(home / "bin", files, free_port(), folder)
    told = {"BENCH_MODEL": str(files.joblib), "BENCH_FORM": subject.form, "VIRTUAL_ENV": str(home)}
    path = {"PATH": f"{home / 'bin'}:{os.environ['PATH']}"}
    with _running(peer.name, peer.command(place), told | path | dict(peer.environ), core, folder) as process:
        wait(peer.name, process, place.port, peer.ready, folder)
        yield Server(peer.name, process, place.port, peer.dialect)


def imported(files: Files, folder: Path) -> str:
    """Import the model into a store in `folder` as the Job does; the bundle's digest."""
    command = [sys.executable, "-m", "trimtab_toolbox", "--uri", files.uri, "--store", str(folder / "store")]
    environ = _environ({"MLFLOW_TRACKING_URI": files.registry})
    done = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerError(f"Trimtab could not import the model: {last_words(done.stdout)}")
    told = json.loads(done.stdout.splitlines()[-1])
    if told["runtime"] != "onnx":
        raise PeerError(f"Trimtab serves the model by {told['runtime']}: {told}")
    return str(told["digest"])


@contextmanager
def trimtab(folder: Path, digest: str, core: int, *, counting: bool = True, bearer: bool = True) -> Iterator[Server]:
    """Our server with a bundle of the store in `folder`, as a pod starts it: fetched, then told by variables."""
    name = TRIMTAB if counting else UNCOUNTED
    own = folder / ("counted" if counting else "uncounted")
    (own / "tokens").mkdir(parents=True)
    (own / "tokens" / "first").write_text(BEARER)
    port = free_port()
    told = {
        "TRIMTAB_STORE": (folder / "store").as_uri(),
        "TRIMTAB_DIGEST": digest,
        "TRIMTAB_BUNDLE_DIR": str(own / "bundle"),
        "TRIMTAB_MODEL_NAME": NAME,
        "TRIMTAB_PORT": str(port),
        "TRIMTAB_RESULT_PATH": str(own / "last-words"),
        "TRIMTAB_STATE_DIR": str(own / "state"),
        "TRIMTAB_WORKERS": "1",
        "TRIMTAB_COUNTING": "on" if counting else "off",
        "TRIMTAB_TOKEN_KEY": BEARER,
    } | ({"TRIMTAB_TOKENS_DIR": str(own / "tokens")} if bearer else {})
    fetch = [sys.executable, "-m", "trimtab_serving.fetch"]
    subprocess.run(fetch, env=_environ(told), cwd=own, capture_output=True, check=True)
    with _running(name, [sys.executable, "-m", "trimtab_serving"], _environ(told), core, own) as process:
        wait(name, process, port, "/v2/health/ready", own)
        yield Server(name, process, port, LABELS_ALONE, BEARER if bearer else "")


@contextmanager
def _running(name: str, command: list[str], told: Mapping[str, str], core: int, folder: Path) -> Iterator[psutil.Popen]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), **THREADS, **told}
    with (folder / "log").open("wb") as log:
        process = psutil.Popen(
            ["taskset", "-c", str(core), *command],
            env=environ,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: psutil.Popen) -> None:
    """End the whole session that the process leads; some peers have supervisors that start workers anew."""
    for number, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(patience)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def wait(name: str, process: psutil.Popen, port: int, path: str, folder: Path) -> None:
    """Return when the server says that it is ready; PeerError when it ends before or does not."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise PeerError(f"{name} ended: {last_words((folder / 'log').read_text(errors='replace'))}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        connection.close()
        time.sleep(0.1)
    raise PeerError(f"{name} was not ready after {START_SECONDS} s")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _environ(told: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "serving-image"), **told}
