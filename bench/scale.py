"""1,000 ModelDeployments at once: how long, how many requests, how much memory; then the same after a restart.

    python -m bench.scale [--objects 1000]

Times and requests are those of the API server's audit log. Seconds on a clock depend on what else the machine does
(the rig's own processes alone keep two cores busy), so the operator's own processor seconds stand beside them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import audit, machine, report
from bench.replica import Replica
from bench.rig import NAMESPACES, Rig
from trimtab.core.metadata import SELECTOR
from trimtab.kinds import KINDS

CALM_SECONDS = 10.0
SILENT_SECONDS = 60.0
PATIENCE_SECONDS = 900.0
KINDS_OF_CHILDREN = 5  # a Deployment, two Services, a PodDisruptionBudget, a NetworkPolicy; no autoscaler was asked for


@dataclass(frozen=True)
class Growth:
    """From nothing to all objects settled; times in seconds since the first was created."""

    created: float
    children: float
    settled: float
    requests: list[audit.Request]
    changed: float
    cpu: float
    passes: float
    peak: float
    resting: float
    rig: Mapping[str, float]
    others: float


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


async def grow(rig: Rig, replica: Replica, objects: int) -> Growth:
    """Create all objects and wait until each is Ready and nothing was written for a while."""
    await asyncio.to_thread(replica.wait, lambda: replica.quiet(NAMESPACES), 60, 0.2, "the models are judged")
    passes = replica.metrics("controller_runtime_reconcile_total")
    cpu, rig_cpu, all_cpu = machine.processor_seconds(replica.pid), rig.processor_seconds(), machine.busy_seconds()
    started, created = await rig.load(objects)
    children = objects * KINDS_OF_CHILDREN

    def complete() -> bool:
        found = audit.writes(rig.audit.since(started))
        made = sum(request.child and request.code == 201 for request in found)
        return made >= children and time.time() - found[-1].at > CALM_SECONDS

    await asyncio.to_thread(replica.wait, complete, PATIENCE_SECONDS, 1, f"{children} children were made")
    while await rig.ready() < objects or not complete():
        if time.time() - started > PATIENCE_SECONDS:
            raise RuntimeError(f"only {await rig.ready()} of {objects} are Ready after {PATIENCE_SECONDS:.0f} s")
        await asyncio.sleep(1)
    cpu = machine.processor_seconds(replica.pid) - cpu
    spent = {name: now - rig_cpu[name] for name, now in rig.processor_seconds().items()}
    others = machine.busy_seconds() - all_cpu - cpu - sum(spent.values())
    await verify(rig, objects)
    requests = rig.audit.since(started)
    peak, resting = machine.memory(replica.pid)
    return Growth(
        created=created - started,
        children=max(r.at for r in requests if r.child and r.code == 201) - started,
        settled=max(r.at for r in audit.writes(requests)) - started,
        requests=requests,
        changed=replica.metrics("trimtab_children_applied_total", changed="true"),
        cpu=cpu,
        passes=replica.metrics("controller_runtime_reconcile_total") - passes,
        peak=peak,
        resting=resting,
        rig=spent,
        others=others,
    )


async def verify(rig: Rig, objects: int) -> None:
    """Look at the API server once more, as a stranger: is everything there that the figures claim?"""
    for kind in KINDS.values():
        for child in kind.children:
            root = f"/apis/{child.api_version}" if child.group else f"/api/{child.api_version}"
            found = await rig.count(f"{root}/{child.plural}", SELECTOR)
            wanted = {"Service": 2 * objects, "Job": 0, "HorizontalPodAutoscaler": 0}.get(child.kind, objects)
            if found != wanted:
                raise RuntimeError(f"there are {found} {child.plural} where {wanted} were expected")


def restart(rig: Rig, replica: Replica, objects: int, stop: float) -> Restart:
    """Wait until a new process has looked at everything; then see that it stays silent."""
    replica.wait(lambda: replica.quiet(objects + NAMESPACES), 300, 0.2, "each object was looked at again")
    quiet, cpu = time.time() - replica.started, machine.processor_seconds(replica.pid)
    calm = _calm(replica)
    time.sleep(SILENT_SECONDS)
    peak, resting = machine.memory(replica.pid)
    return Restart(stop, quiet, calm, cpu, rig.audit.since(replica.started), peak, resting)


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
            again = restart(rig, second, chosen.objects, stop)
    print(report.render(chosen.objects, growth, again))


if __name__ == "__main__":
    main()
