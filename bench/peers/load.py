"""The load generator: `wrk`, which is several times quicker than the quickest server here, on a core of its own."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).parent / "wrk.lua"


class LoadError(RuntimeError):
    """The load generator did not bring what can be compared."""


class NothingAnsweredError(LoadError):
    """The run was too short for this server."""


@dataclass(frozen=True)
class Round:
    """One run against one server: seconds on the clock, latencies in milliseconds, processor seconds of each side."""

    requests: int
    seconds: float
    p50: float
    p99: float
    processor: float = 0.0
    load_processor: float = 0.0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def per_processor_second(self) -> float:
        """Requests for each second of processor time that the server took; what others do on the core is not in it."""
        return self.requests / self.processor if self.processor else float("nan")


def parsed(text: str) -> Round:
    """The figures in what `wrk.lua` printed; LoadError when there are none, or any request went wrong."""
    lines = [line for line in text.splitlines() if line.startswith("{")]
    if not lines:
        raise LoadError(f"wrk printed no figures: {text.strip()[-300:]!r}")
    told = json.loads(lines[-1])
    if told["refused"] or told["broken"]:
        raise LoadError(f"of {told['requests']} requests {told['refused']} were refused and {told['broken']} broke off")
    if not told["requests"] or not told["microseconds"]:
        raise NothingAnsweredError("no request was answered")
    return Round(told["requests"], told["microseconds"] / 1e6, told["p50"] / 1e3, told["p99"] / 1e3)


def drive(core: int, url: str, body: Path, bearer: str, connections: int, seconds: int) -> Round:
    """Send the body over so many connections for so long, from one thread on `core`."""
    command = ["taskset", "-c", str(core), "wrk", "--threads=1", f"--connections={connections}"]
    command += [f"--duration={seconds}s", "--timeout=30s", f"--script={SCRIPT}", url, "--", str(body)]
    before = children_seconds()
    done = subprocess.run([*command, *([bearer] if bearer else [])], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadError(f"wrk ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    told = parsed(done.stdout)
    return Round(told.requests, told.seconds, told.p50, told.p99, load_processor=children_seconds() - before)


def children_seconds() -> float:
    """Processor seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def require_wrk() -> None:
    """Install Debian's wrk where there is none; LoadError when that does not help."""
    if not shutil.which("wrk") and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "--yes", "--quiet", "wrk"], capture_output=True, check=False)
    if not shutil.which("wrk"):
        raise LoadError("there is no wrk on this machine, and apt-get could not install it: install the package wrk")
