"""Each peer in an environment of its own, pinned; what cannot be installed is said, never left out."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hack.cluster.paths import CACHE

HOME = CACHE / "peers"


class PeerError(RuntimeError):
    """A peer cannot be part of the run; the message says why."""


def environment(name: str, requirements: Sequence[str]) -> Path:
    """The directory of an environment with these requirements, made when there is none; PeerError otherwise."""
    digest = hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:12]
    directory = HOME / f"{name.lower().replace(' ', '-')}-{digest}"
    done = directory / ".installed"
    if done.exists():
        return directory
    print(f"installing {name} into {directory}", file=sys.stderr)
    _run(name, [sys.executable, "-m", "venv", "--clear", str(directory)])
    python = str(directory / "bin" / "python")
    _run(name, [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])
    done.touch()
    return directory


def _run(name: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerError(f"{name} could not be installed: {last_words(done.stderr)}")


def last_words(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
