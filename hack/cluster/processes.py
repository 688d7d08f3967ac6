"""Starts, finds and ends the cluster's processes, without pid files.

A pid file can outlive its process and then names a stranger. Here each component carries its cluster, its name and a
fingerprint of its configuration in its own environment, and `/proc` is read to see what runs. So a killed `up` cannot
leave a record that is wrong: there is no record but the process. Signals go through a pidfd that is taken first and
checked after, so that a pid that changes hands in between is never hit.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import paths

CLUSTER = "TRIMTAB_CLUSTER"
COMPONENT = "TRIMTAB_COMPONENT"
FINGERPRINT = "TRIMTAB_FINGERPRINT"
GRACE_SECONDS = 15.0

_started: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Running:
    """A process of this cluster. `program` is the file it executes, `component` the one it or its ancestor is."""

    pid: int
    program: str
    component: str
    fingerprint: str

    @property
    def is_component(self) -> bool:
        """False for what a component started, such as containerd's shims: they inherit the marks."""
        return self.program == self.component


def running(cluster: Path = paths.STATE) -> list[Running]:
    """Return every live process that carries this cluster's mark."""
    found = (_inspect(int(entry), cluster) for entry in os.listdir("/proc") if entry.isdigit())
    return [process for process in found if process is not None]


def components(cluster: Path = paths.STATE) -> dict[str, Running]:
    """Return the running components by name."""
    return {process.component: process for process in running(cluster) if process.is_component}


def start(
    name: str, argv: Sequence[str], fingerprint: str, log: Path, cluster: Path = paths.STATE, cwd: Path | None = None
) -> None:
    """Start a component in a session of its own; its output goes to `log`, the previous run's to `log`.previous."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".previous.log"))
    marks = {CLUSTER: str(cluster), COMPONENT: name, FINGERPRINT: fingerprint}
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv,
            env={**_inherited(os.environ), **marks},
            cwd=cwd or log.parent,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # Referenced for as long as we live: a collected Popen complains about a child that still runs.
    _started.append(process)


def stop(processes: Iterable[Running], grace: float = GRACE_SECONDS, cluster: Path = paths.STATE) -> None:
    """End processes and return when they are gone: SIGTERM, and SIGKILL after `grace` seconds (0: at once)."""
    with contextlib.ExitStack() as stack:
        handles = [handle for process in processes if (handle := _hold(process, cluster)) is not None]
        for handle in handles:
            stack.callback(os.close, handle)
        if grace > 0:
            _signal(handles, signal.SIGTERM)
            handles = _wait(handles, grace)
        _signal(handles, signal.SIGKILL)
        _wait(handles, GRACE_SECONDS)


def _inspect(pid: int, cluster: Path) -> Running | None:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        if f"{CLUSTER}={cluster}\0".encode() not in environment:
            return None
        program = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    except OSError:
        return None
    values = dict(part.split("=", 1) for part in environment.decode(errors="replace").split("\0") if "=" in part)
    return Running(pid, Path(program).name, values.get(COMPONENT, ""), values.get(FINGERPRINT, ""))


def _hold(process: Running, cluster: Path) -> int | None:
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    if _inspect(process.pid, cluster) != process:
        os.close(handle)
        return None
    return handle


def _signal(handles: Iterable[int], number: signal.Signals) -> None:
    for handle in handles:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)


def _wait(handles: Iterable[int], seconds: float) -> list[int]:
    """Wait until the processes are gone; returns the handles of those that are not."""
    alive = set(handles)
    poll = select.poll()
    for handle in alive:
        poll.register(handle, select.POLLIN)
    deadline = time.monotonic() + seconds
    while alive and (left := deadline - time.monotonic()) > 0:
        for handle, _ in poll.poll(left * 1000):
            poll.unregister(handle)
            alive.discard(handle)
    return list(alive)


def _inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """Keep what programs need to run; a proxy meant for downloads must not catch the cluster's own requests."""
    kept = {name: environment[name] for name in ("HOME", "LANG", "TZ") if name in environment}
    return {**kept, "PATH": f"{environment.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"}
