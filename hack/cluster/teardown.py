"""Removes what Pods leave in the machine: processes, mounts, cgroups, links, folders.

It works from what the machine shows, not from what some record says was done, so it can be repeated after any
interruption and clears the remains of a cluster whose processes are long gone.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from hack.cluster import paths, processes
from hack.command import Failure, run

# Places that programs insist on, whatever their settings.
_POD_LOG_LINKS = Path("/var/log/containers")
_CNI_RESULTS = Path("/var/lib/cni/results")
_DEVICE_SOCKET = Path("/var/lib/kubelet/device-plugins/kubelet.sock")
_SHIM_SOCKETS = Path("/run/containerd/s")
_RUNC = Path("/run/containerd/runc/k8s.io")
_CGROUPS = Path("/sys/fs/cgroup")
_MOUNT_ATTEMPTS = 5
_GROUPS_SECONDS = 5.0
_PAUSE_SECONDS = 0.05
# `/`, then `/run`, then `/run/containerd`: what has fewer parts than that is not ours to remove.
_TOP_LEVELS = 2


def mounts_below(folder: Path, mountinfo: str) -> list[str]:
    """Return the mount points at or below a folder, the last mounted first, from the text of `/proc/self/mountinfo`."""
    points = [_unescaped(line.split()[4]) for line in mountinfo.splitlines() if line.strip()]
    return [point for point in reversed(points) if Path(point).is_relative_to(folder)]


def unmount(folder: Path) -> None:
    """Unmount everything below a folder; fails rather than leave a mount that a later removal would reach through."""
    for _ in range(_MOUNT_ATTEMPTS):
        points = mounts_below(folder, Path("/proc/self/mountinfo").read_text())
        if not points:
            return
        run(["umount", "--lazy", *points], check=False)
    raise Failure(f"cannot unmount {', '.join(points)}: see what holds them (`fuser -vm PATH`), end it and repeat")


def end_pods() -> None:
    """Kill the processes of all containers, found by container id in their cgroups, and their shims."""
    tasks = paths.CONTAINERD_STATE / "io.containerd.runtime.v2.task" / "k8s.io"
    identifiers = [entry.name for entry in tasks.iterdir()] if tasks.is_dir() else []
    if identifiers:
        _kill_members(identifiers)
    processes.stop([process for process in processes.running() if not process.is_component], grace=0)
    for identifier in identifiers:
        shutil.rmtree(_RUNC / identifier, ignore_errors=True)


def forget_pods() -> None:
    """Remove what Pods and kubelet leave outside our folders: cgroups, links to logs, dead sockets, cached results."""
    _remove_groups()
    for link in _POD_LOG_LINKS.glob("*.log"):
        if link.is_symlink() and Path(os.readlink(link)).is_relative_to(paths.POD_LOGS):
            link.unlink()
    for result in _CNI_RESULTS.glob("trimtab-*-eth0"):
        identifier = result.name.removeprefix("trimtab-").removesuffix("-eth0")
        (_CNI_RESULTS / f"cni-loopback-{identifier}-lo").unlink(missing_ok=True)
        result.unlink()
    listening = Path("/proc/net/unix").read_text()
    for socket in [*_SHIM_SOCKETS.glob("*"), _DEVICE_SOCKET]:
        if str(socket) not in listening:
            socket.unlink(missing_ok=True)
    for folder in (_POD_LOG_LINKS, _CNI_RESULTS, _DEVICE_SOCKET.parent, _SHIM_SOCKETS, _RUNC):
        _remove_empty(folder)


def remove_folder(folder: Path) -> None:
    """Unmount and delete a folder. It is renamed first: a removal that is cut short leaves no half of a cluster."""
    if folder.exists():
        unmount(folder)
        folder.rename(folder.with_name(f"{folder.name}.trash-{time.time_ns()}"))
    for trash in folder.parent.glob(f"{folder.name}.trash-*"):
        unmount(trash)
        shutil.rmtree(trash)


def _kill_members(identifiers: Iterable[str]) -> None:
    wanted = re.compile("|".join(map(re.escape, identifiers)))
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and wanted.search(Path(f"/proc/{entry}/cgroup").read_text()):
                os.kill(int(entry), signal.SIGKILL)


def _remove_groups() -> None:
    """Remove our cgroups once the processes killed in them are gone, the innermost first; a group in use stays."""
    deadline = time.monotonic() + _GROUPS_SECONDS
    while folders := [*_CGROUPS.glob("kubepods"), *_CGROUPS.glob("*/kubepods")]:
        for folder in folders:
            for path, _, _ in os.walk(folder, topdown=False):
                with contextlib.suppress(OSError):
                    Path(path).rmdir()
        if time.monotonic() > deadline:
            return
        time.sleep(_PAUSE_SECONDS)


def _remove_empty(folder: Path) -> None:
    """Remove an empty folder, and those above it that are empty then, as far as the top levels of the system."""
    while len(folder.parts) > _TOP_LEVELS:
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return
        folder = folder.parent


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
