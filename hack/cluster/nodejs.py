"""Installs programs that exist as npm packages alone into the cache, beside those built from Go modules.

Node.js and npm are taken as they are found, or from Debian. No package runs a script of its own while it is installed,
and none of the dependencies is younger than the day in the catalog, so that two machines get the same.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hack.cluster import packages, paths
from hack.cluster.catalog import NodePackage
from hack.command import run_logged
from hack.exclusive import exclusive
from hack.progress import step

INTERPRETER = {"nodejs": "node", "npm": "npm"}
_TIMEOUT_SECONDS = 900
_FLAGS = ("--no-save", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error")


def ensure(package: NodePackage, program: str) -> Path:
    """Return where a program of the package lies, installing the package (a minute) when the cache lacks it."""
    packages.install_missing(INTERPRETER)
    home = paths.BIN / f"{package.name}-{package.version}"
    with exclusive(paths.BIN / f".{package.name}.lock", f"the npm package {package.name}"):
        if not home.exists():
            with step(f"install {package.name} {package.version} with npm"):
                _install(package, home)
    return home / "node_modules" / ".bin" / program


def _install(package: NodePackage, home: Path) -> None:
    for left in paths.BIN.glob(f".npm-{package.name}-*"):
        shutil.rmtree(left)
    scratch = Path(tempfile.mkdtemp(dir=paths.BIN, prefix=f".npm-{package.name}-"))
    try:
        where = ("--prefix", scratch, f"--before={package.before}")
        command: list[str | Path] = ["npm", "install", f"{package.name}@{package.version}", *_FLAGS, *where]
        run_logged(command, paths.LOGS / f"npm-{package.name}.log", timeout=_TIMEOUT_SECONDS, cwd=scratch)
        scratch.chmod(0o755)
        scratch.rename(home)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
