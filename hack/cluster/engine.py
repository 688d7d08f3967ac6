"""Which way the cluster runs: decided by trying when it is brought up, remembered until it is taken down."""

from __future__ import annotations

from typing import Literal

from hack.cluster import containerd, docker, kind, local, paths, processes, teardown
from hack.cluster.files import write_atomically
from hack.command import Failure
from hack.exclusive import exclusive

Engine = Literal["kind", "processes"]


def current() -> Engine | None:
    """Return how the present cluster runs; None when there is none."""
    if not paths.ENGINE.exists():
        return None
    return "kind" if paths.ENGINE.read_text() == "kind" else "processes"


def require() -> Engine:
    """Return how the present cluster runs; fails when there is none."""
    engine = current()
    if engine is None:
        raise Failure("there is no local cluster: bring one up with `make up`")
    return engine


def up() -> Engine:
    """Bring the cluster up, as kind if Docker can run it, otherwise as processes."""
    with exclusive(paths.LOCK, "the cluster"):
        engine = current() or ("kind" if docker.runs_privileged() else "processes")
        if engine == "processes":
            local.up()
        write_atomically(paths.ENGINE, engine)
        if engine == "kind":
            kind.up()
    return engine


def down(purge: bool = False) -> None:
    """Take the cluster down; with `purge` the cache as well. Repeatable, also when nothing runs."""
    with exclusive(paths.LOCK, "the cluster"):
        if current() == "kind":
            kind.down()
        elif paths.STATE.exists() or processes.running():
            local.down()
        if purge:
            teardown.remove_folder(paths.CACHE)


def images() -> list[str]:
    """Return the names of the images that Pods can use."""
    return kind.images() if require() == "kind" else containerd.images()
