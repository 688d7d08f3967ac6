"""The base image where there is no registry: Debian with Python, made by debootstrap from Debian's own archive.

It takes the place of the official Python image, through the `BASE` argument of the Containerfiles.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from hack.cluster import packages, paths, teardown
from hack.command import run, run_logged
from hack.images import buildah
from hack.progress import step

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3-minimal", "python3-venv")
# What only a person at a prompt, or apt, would read.
UNREAD = (
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
)
_EMPTIED = ("var/cache/apt/archives/partial", "var/lib/apt/lists/partial", "var/log")
_TIMEOUT_SECONDS = 1800


def reference() -> str:
    """Return the base image's name; its tag is the digest of the recipe."""
    recipe = repr((SUITE, PACKAGES, UNREAD))
    return f"localhost/trimtab-base:{SUITE}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def ensure() -> str:
    """Make the base image unless the builder has it; returns its name."""
    wanted = reference()
    packages.install_missing()
    if not buildah.has(wanted):
        with step(f"make a base image from Debian {SUITE}"):
            _make(wanted)
    return wanted


def _make(wanted: str) -> None:
    for left in paths.CACHE.glob("debootstrap-*"):
        # Of a run that was killed: debootstrap mounts /proc inside, and nothing may be deleted through a mount.
        teardown.remove_folder(left)
    folder = Path(tempfile.mkdtemp(dir=paths.CACHE, prefix="debootstrap-"))
    root = folder / "root"
    try:
        argv: list[str | Path] = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, root]
        run_logged(argv, paths.LOGS / "debootstrap.log", timeout=_TIMEOUT_SECONDS)
        teardown.unmount(root)
        for unread in UNREAD:
            shutil.rmtree(root / unread, ignore_errors=True)
        for emptied in _EMPTIED:
            (root / emptied).mkdir(parents=True)
        run(
            ["tar", "--numeric-owner", "--create", "--file", folder / "root.tar", "--directory", root, "."], timeout=300
        )
        (folder / "Containerfile").write_text('FROM scratch\nADD root.tar /\nCMD ["python3"]\n')
        buildah.build(folder / "Containerfile", folder, wanted, log="image-base")
    finally:
        teardown.remove_folder(folder)
