"""Builds images with Docker, where the cluster is kind's."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from hack.cluster import paths
from hack.command import Failure, run, run_logged

PYTHON_BASE = "docker.io/library/python:3.11-slim-bookworm"
_BUILD_SECONDS = 3600
_ANSWER_SECONDS = 10


def answers() -> bool:
    """Say whether a Docker engine answers."""
    if shutil.which("docker") is None:
        return False
    try:
        run(["docker", "version", "--format", "{{.Server.Version}}"], timeout=_ANSWER_SECONDS)
    except Failure:
        return False
    return True


def has(reference: str) -> bool:
    """Say whether an image has been built."""
    return bool(run(["docker", "images", "--quiet", reference]).strip())


def build(
    containerfile: Path, context: Path, reference: str, *, log: str, target: str, arguments: Mapping[str, str]
) -> None:
    """Build an image; unchanged layers are reused. The output goes to the log of that name."""
    argv = ["docker", "build"]
    for name, value in arguments.items():
        argv += ["--build-arg", f"{name}={value}"]
    argv += ["--target", target] if target else []
    argv += ["--file", str(containerfile), "--tag", reference, str(context)]
    run_logged(argv, paths.LOGS / f"{log}.log", timeout=_BUILD_SECONDS)
