"""What the process cluster takes from Debian: the container runtime, and tools for networks and images.

Looked up by the program each package is wanted for, so a machine that has them (from wherever) is left alone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from hack.cluster import paths
from hack.command import Failure, run, run_logged
from hack.progress import step

PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "iproute2": "ip",
    "conntrack": "conntrack",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "catatonit": "catatonit",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "kmod": "modprobe",
}
_APT = ("apt-get", "-y", "-q", "-o", "DPkg::Lock::Timeout=300")
_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive"}
_TIMEOUT_SECONDS = 900


def missing(programs: Mapping[str, str] = PROGRAMS) -> list[str]:
    """Return the Debian packages whose program this machine lacks."""
    return [package for package, program in programs.items() if locate(program) is None]


def locate(program: str) -> Path | None:
    """Find a program in PATH or where the system's administration programs lie; an absolute path stands for itself."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")
    return Path(found) if found else None


def install_missing(programs: Mapping[str, str] = PROGRAMS) -> None:
    """Install with apt what is missing; does nothing, quickly, when nothing is."""
    wanted = missing(programs)
    if not wanted:
        return
    if shutil.which("apt-get") is None:
        raise Failure(f"this machine lacks {', '.join(wanted)} and apt-get: install them, or start Docker for kind")
    log = paths.LOGS / "apt.log"
    with step(f"install {', '.join(wanted)}"):
        # An apt that was killed leaves half-configured packages, and apt refuses everything until they are finished.
        run(["dpkg", "--configure", "-a"], env=_ENVIRONMENT, timeout=_TIMEOUT_SECONDS)
        run_logged([*_APT, "update"], log, env=_ENVIRONMENT, timeout=_TIMEOUT_SECONDS)
        install = [*_APT, "install", "--no-install-recommends", *wanted]
        run_logged(install, log, env=_ENVIRONMENT, timeout=_TIMEOUT_SECONDS)
