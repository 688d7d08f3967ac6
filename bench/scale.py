"""1,000 ModelDeployments at once: how long, how many requests, how much memory; then the same after a restart.

    python -m bench.scale [--objects 1000]

Times and requests are those of the API server's audit log. Seconds on a clock depend on what else the machine does
(the rig's own processes alone keep two cores busy), so processor seconds stand beside them, and `python -m bench.floor`
tells how long the rig takes without any operator.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import audit, machine, objects, report
from bench.client import Client
from bench.replica import Replica
from bench.rig import Rig
from trimtab.core.metadata import SELECTOR
from trimtab.kinds import KINDS, MODELDEPLOYMENT
from trimtab.runtime.picture import NOT_OURS

CALM_SECONDS = 10.0
SILENT_SECONDS = 60.0
PATIENCE_SECONDS = 900.0
PASSES = "controller_runtime_reconcile_total"


@dataclass(frozen=True)
class Growth:
    """From nothing to all objects settled; times in seconds since the first was created, memory in MiB."""

    created: float
    children: float
    settled: float
    requests: list[audit.Request]
    changed: float
    passes: float
    spent: Mapping[str, float]
    peak: float
    resting: float


@dataclass(frozen=True)
class Restart:
    """From the start of a new process until it has nothing to do; seconds, MiB."""

    stop: float
    quiet: float
    calm: float
    cpu: float
    requests: list[audit.Request]
    peak: float
    resting: float


async def grow(rig: Rig, replica: Replica, count: int) -> Growth:
    """Create all objects and wait until each is Ready and nothing was written for a while."""
    await asyncio.to_thread(replica.wait, lambda: replica.quiet(objects.NAMESPACES), 60, 0.2, "the models are judged")
    passes = replica.metrics(PASSES)
    meter = machine.Meter(lambda: {"operator": machine.processor_seconds(replica.pid), **rig.processor_seconds()})
    started, created = await rig.in_parallel(count, _create)
    expected = count * len(objects.children(0))
    while not _complete(rig, started, expected) or await _ready(rig) < count:
        replica.check("all are Ready")
        if time.time() - started > PATIENCE_SECONDS:
            raise RuntimeError(f"{await _ready(rig)} of {count} are Ready after {PATIENCE_SECONDS:.0f} s, not all")
        await asyncio.sleep(1)
    spent = meter.spent()
    await verify(rig, count)
    requests = rig.audit.since(started)
    peak, resting = machine.memory(replica.pid)
    return Growth(
        created=created - started,
        children=max(r.at for r in requests if r.child and r.code == 201) - started,
        settled=max(r.at for r in audit.writes(requests)) - started,
        requests=requests,
        changed=replica.metrics("trimtab_children_applied_total", changed="true"),
        passes=replica.metrics(PASSES) - passes,
        spent=spent,
        peak=peak,
        resting=resting,
    )


async def verify(rig: Rig, count: int) -> None:
    """Look at the API server once more, as a stranger: is everything there that the figures claim?"""
    wanted = Counter({item["kind"]: 0 for item in objects.children(0)})
    for number in range(count):
        wanted.update(item["kind"] for item in objects.children(number))
    # Nobody has installed the definitions that are not the project's.
    for resource in {child for kind in KINDS.values() for child in kind.children} - NOT_OURS:
        found = len(await rig.list(resource, SELECTOR))
        if found != wanted[resource.kind]:
            raise RuntimeError(f"there are {found} {resource.plural}, and {wanted[resource.kind]} were expected")


def restart(rig: Rig, replica: Replica, count: int, stop: float, silent: float) -> Restart:
    """Wait until a new process has looked at everything; then see how silent it stays for so many seconds."""
    replica.wait(lambda: replica.quiet(count + objects.NAMESPACES), 300, 0.2, "each object was looked at again")
    quiet, cpu = time.time() - replica.started, machine.processor_seconds(replica.pid)
    calm = _calm(replica)
    time.sleep(silent)
    peak, resting = machine.memory(replica.pid)
    return Restart(stop, quiet, calm, cpu, rig.audit.since(replica.started), peak, resting)


async def _create(client: Client, number: int) -> None:
    await client.create(MODELDEPLOYMENT.resource, objects.deployment(number))


async def _ready(rig: Rig) -> int:
    return sum(map(objects.is_ready, await rig.list(MODELDEPLOYMENT.resource)))


def _complete(rig: Rig, started: float, expected: int) -> bool:
    """True when all children were created and nothing was written for a while."""
    found = audit.writes(rig.audit.since(started))
    made = sum(request.child and request.code == 201 for request in found)
    return made >= expected and time.time() - found[-1].at > CALM_SECONDS


def _calm(replica: Replica) -> float:
    """Seconds from the start until the process uses less than a tenth of a core."""
    while True:
        at, before = time.time(), machine.processor_seconds(replica.pid)
        time.sleep(1)
        if machine.processor_seconds(replica.pid) - before < 0.1:
            return at - replica.started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=1_000, help="how many ModelDeployments (default 1000)")
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="a file for the operator's log")
    chosen = parser.parse_args()
    with Rig.start() as rig:
        asyncio.run(rig.prepare())
        with Replica(rig.kubeconfig, chosen.log) as first:
            growth = asyncio.run(grow(rig, first, chosen.objects))
            stop = first.stop()
        with Replica(rig.kubeconfig, chosen.log) as second:
            again = restart(rig, second, chosen.objects, stop, SILENT_SECONDS)
    print(report.render(chosen.objects, growth, again))


if __name__ == "__main__":
    main()
