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

POD_LOG_LINKS = Path("/var/log/containers")
CNI_RESULTS = Path("/var/lib/cni/results")
_CGROUPS = Path("/sys/fs/cgroup")
_MOUNT_ATTEMPTS = 5


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
    raise Failure(
        f"cannot unmount {', '.join(points)}: see which process holds them (`fuser -vm PATH`), end it, repeat"
    )


def end_pods() -> None:
    """Kill the processes of all containers and their shims, found by container id in their cgroups."""
    tasks = paths.CONTAINERD_STATE / "io.containerd.runtime.v2.task" / "k8s.io"
    identifiers = {entry.name for entry in tasks.iterdir()} if tasks.is_dir() else set()
    sockets = [task / "address" for task in tasks.glob("*")]
    addresses = {file.read_text().strip().removeprefix("unix://") for file in sockets if file.exists()}
    if identifiers:
        _kill_members(identifiers)
    processes.stop([process for process in processes.running() if not process.is_component], grace=0)
    for address in addresses:
        Path(address).unlink(missing_ok=True)


def forget_pods() -> None:
    """Remove what containers leave outside our folders: cgroups, links to logs, cached network results."""
    for controller in [_CGROUPS, *_CGROUPS.iterdir()]:
        _remove_groups(controller / "kubepods")
    for link in POD_LOG_LINKS.glob("*.log"):
        if link.is_symlink() and Path(os.readlink(link)).is_relative_to(paths.POD_LOGS):
            link.unlink()
    with contextlib.suppress(OSError):
        POD_LOG_LINKS.rmdir()
    for result in CNI_RESULTS.glob("trimtab-*"):
        result.unlink(missing_ok=True)


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


def _remove_groups(folder: Path) -> None:
    """Remove empty cgroups, the innermost first. A group that still has a process stays: the kernel refuses."""
    for path, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            Path(path).rmdir()


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
