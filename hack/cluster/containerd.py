"""What the cluster asks of its containerd: list its images, take one more, forget an earlier cluster's Pods."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from hack.cluster import paths, pause
from hack.cluster.packages import locate
from hack.command import Failure, run

_IMPORT_SECONDS = 600
_FORGET_SECONDS = 20.0


def ctr(*arguments: str, timeout: float = 60, check: bool = True) -> str:
    """Run containerd's client in the namespace that the kubelet uses."""
    argv = ["ctr", "--address", str(paths.CONTAINERD_SOCKET), "--namespace", "k8s.io", *arguments]
    return run(argv, timeout=timeout, check=check)


def images() -> list[str]:
    """Return the names of the images that Pods can use, without the digests under which containerd lists them again."""
    return sorted(name for name in ctr("images", "ls", "-q").split() if ":" in name and "@" not in name and "/" in name)


def import_archive(archive: Path) -> None:
    """Load a `docker save` archive."""
    ctr("images", "import", str(archive), timeout=_IMPORT_SECONDS)


def ensure_pause_image() -> None:
    """Load the pause image unless it is there."""
    program = _catatonit()
    if pause.reference(program) not in images():
        with tempfile.TemporaryDirectory(dir=paths.CACHE) as folder:
            archive = Path(folder) / "pause.tar"
            pause.archive(program, archive)
            import_archive(archive)


def pause_reference() -> str:
    """Return the name of the pause image for this machine."""
    return pause.reference(_catatonit())


def forget_containers() -> None:
    """Remove every container record and its writable layer; the processes must be dead already."""
    deadline = time.monotonic() + _FORGET_SECONDS
    while left := ctr("containers", "ls", "-q").split():
        # containerd learns of a dead shim a moment later than we do, and refuses to remove until it has.
        ctr("containers", "rm", *left, check=False)
        if time.monotonic() > deadline:
            raise Failure(f"containerd does not let go of {len(left)} containers; see {paths.LOG / 'containerd.log'}")


def _catatonit() -> Path:
    found = locate("catatonit")
    if found is None:
        raise Failure("catatonit is not installed: apt-get install catatonit")
    return found
