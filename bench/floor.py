"""How long the rig takes without any operator: a lower bound for every operator on this machine.

    python -m bench.floor [--objects 1000]

A client that does nothing else creates the children that the operator would create, by plain requests, 16 at a time;
then it waits until all pods are there. Whatever an operator needs beyond this is its own.
"""

from __future__ import annotations

import argparse
import asyncio
import time

from bench import machine, objects, report
from bench.client import Client
from bench.rig import Rig
from trimtab.core.objects import DEPLOYMENT
from trimtab.kinds import MODELDEPLOYMENT

RESOURCES = {resource.kind: resource for resource in MODELDEPLOYMENT.children}


async def measure(rig: Rig, count: int) -> str:
    """Create and wait; a sentence with the figures."""
    await rig.prepare()
    meter = machine.Meter(rig.processor_seconds)
    started, created = await rig.in_parallel(count, _create)
    while sum(_available(item) for item in await rig.list(DEPLOYMENT)) < count:  # noqa: ASYNC110 - it happens elsewhere
        await asyncio.sleep(0.5)
    ready = time.time() - started
    figures = f"all children exist after {created - started:.1f} s, all pods are ready after {ready:.1f} s"
    return "\n".join([f"{count} objects without an operator: {figures}", "", *report.processors(meter.spent())])


async def _create(client: Client, number: int) -> None:
    for child in objects.children(number):
        await client.create(RESOURCES[child["kind"]], child)


def _available(deployment: dict[str, dict[str, int]]) -> bool:
    return deployment.get("status", {}).get("availableReplicas", 0) > 0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=1_000, help="how many objects' children (default 1000)")
    chosen = parser.parse_args()
    with Rig.start() as rig:
        print(asyncio.run(measure(rig, chosen.objects)))


if __name__ == "__main__":
    main()
