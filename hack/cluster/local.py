"""The cluster as plain processes: brings up what is missing, restarts what changed, takes everything away again.

`up` makes no difference between a first start, a start after a kill and a look at a healthy cluster: it compares what
should run with what does, and does the rest. A cluster whose machine has been restarted is ended first, since its
processes, mounts and addresses are gone and its etcd never waited for the disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from hack.cluster import (
    addons,
    binaries,
    containerd,
    firewall,
    network,
    packages,
    paths,
    pki,
    ports,
    probes,
    processes,
    teardown,
)
from hack.cluster.components import PROGRAMS, Blueprint, Component, all_components
from hack.cluster.files import write_atomically
from hack.command import Failure
from hack.progress import step

_READY_SECONDS = 120.0
_BEFORE_PODS = ("etcd", "containerd")
# metrics-server ends when it finds its rights missing, so these start after the addons have been applied.
_NEED_RIGHTS = ("coredns", "metrics-server")
_CLEAN_STAMP = paths.STATE / "containers-forgotten"
_KERNEL_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def up() -> None:
    """Bring the cluster to its full state and return when it is usable."""
    _require_possible()
    packages.install_missing()
    plan = _prepare()
    wanted = all_components(plan)
    changed = _stop_outdated(wanted)
    with step("start Kubernetes" if changed else "look at Kubernetes"):
        _start(wanted, _BEFORE_PODS)
        _await(wanted, ["etcd"])
        _start(wanted, ["kube-apiserver"])
        _await(wanted, ["containerd", "kube-apiserver"])
        _ready_for_pods()
        _start(wanted, [name for name in wanted if name not in _NEED_RIGHTS])
        addons.for_processes(plan.network)
        _start(wanted, _NEED_RIGHTS)
        _await(wanted, wanted)
        addons.wait_until_usable()


def down() -> None:
    """End the cluster and remove every trace of it but the cache; repeatable, whatever state it is in."""
    _require_root()
    alive = processes.components()
    with step("stop Kubernetes"):
        runtime = alive.pop("containerd", None)
        processes.stop(alive.values(), grace=0)
        teardown.end_pods()
        if runtime is not None:
            # Its images are kept, so it alone gets to end in order, after it has let go of the containers.
            containerd.forget_containers()
            processes.stop([runtime])
        teardown.end_pods()
    with step("remove mounts, addresses, routes and firewall rules"):
        teardown.unmount(paths.STATE)
        firewall.clear()
        network.detach(network.from_environment())
        teardown.forget_pods()
        paths.KUBECONFIG.unlink(missing_ok=True)
        teardown.remove_folder(paths.STATE)


def restart(name: str) -> None:
    """End one component as a crash would (SIGKILL) and start it again; returns when it is ready."""
    wanted = all_components(_prepare())
    if name not in wanted:
        raise Failure(f"no component {name!r}: there are {', '.join(wanted)}")
    processes.stop([process for process in processes.components().values() if process.component == name], grace=0)
    _start(wanted, [name])
    _await(wanted, [name])


def _require_root() -> None:
    if os.geteuid() != 0:
        raise Failure("without Docker the cluster runs as processes, which need root: use sudo, or start Docker")


def _require_possible() -> None:
    _require_root()
    if len(str(paths.CONTAINERD_SOCKET)) > paths.LONGEST_SOCKET_PATH:
        raise Failure(f"{paths.CONTAINERD_SOCKET} is too long for a socket: set TRIMTAB_CACHE to a shorter path")
    boot = _KERNEL_BOOT_ID.read_text()
    if paths.STATE.exists() and (not paths.BOOT_ID.exists() or paths.BOOT_ID.read_text() != boot):
        down()
    write_atomically(paths.BOOT_ID, boot)


def _prepare() -> Blueprint:
    addresses = network.from_environment()
    programs = binaries.ensure(*PROGRAMS)
    network.attach(addresses)
    firewall.let_pods_talk(addresses)
    return Blueprint(addresses, programs, pki.ensure(addresses), containerd.pause_reference())


def _stop_outdated(wanted: dict[str, Component]) -> bool:
    """Stop what runs with other settings than wanted; says whether anything has to be started."""
    alive = processes.components()
    right = {name: component.fingerprint() for name, component in wanted.items()}
    outdated = [process for name, process in alive.items() if process.fingerprint != right.get(name)]
    processes.stop(outdated)
    return bool(outdated) or alive.keys() != wanted.keys()


def _start(wanted: dict[str, Component], names: Iterable[str]) -> None:
    alive = processes.components()
    for name in names:
        if name in alive:
            continue
        component = wanted[name]
        ports.require_free(name, component.ports)
        for path, text in component.files.items():
            write_atomically(path, text)
        processes.start(name, component.argv, component.fingerprint(), component.log)


def _await(wanted: dict[str, Component], names: Iterable[str]) -> None:
    for name in names:
        probes.wait(name, wanted[name].ready, _READY_SECONDS, partial(_alive, name), wanted[name].log)


def _alive(name: str) -> bool:
    return name in processes.components()


def _ready_for_pods() -> None:
    """Give containerd the pause image, and take from it what an earlier cluster left, before kubelet sees that."""
    containerd.ensure_pause_image()
    if not _CLEAN_STAMP.exists():
        containerd.forget_containers()
        _CLEAN_STAMP.touch()
