"""What it costs one replica to run many experiments: 200 ABTests of three arms, each with two routers and six pods.

`python -m bench.experiments` first lets so many minutes go by on a clock of its own, with a pass every 15 s over each
of them while counts grow, and prints what passes and writes take. Then it runs the same by the real clock in a process
that also tells 400 routers what to do (those of `bench.orders`). Store, reconciler, plan, ledger and xDS server are
the operator's own; the API server and what pods answer are in memory, and the time of both is taken off. So sending
requests and reading answers are not in these figures.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import time
from multiprocessing.connection import Connection

import uvloop

from bench import machine, orders
from bench.world import ARMS, CADENCE, Spent, World
from trimtab.__main__ import COLLECT_AFTER


def look(count: int, minutes: float) -> None:
    """Passes and writes of so many minutes."""
    world = World(count)
    world.begin()
    gc.collect()
    before, found, rounds = machine.memory(os.getpid())[1], Spent(), round(minutes * 60 / CADENCE)
    for _ in range(rounds):
        world.traffic(CADENCE)
        spent = world.work(CADENCE)
        found.passes += spent.passes
        found.writes += spent.writes
    gc.collect()
    grown = machine.memory(os.getpid())[1] - before
    going = sum(status["verdict"]["decision"] == "Running" for status in world.statuses())
    sizes = [len(json.dumps(status, separators=(",", ":"))) for status in world.statuses()]
    used, passed = sum(found.passes), rounds * CADENCE
    span = f"{passed / 60:.0f} minutes"
    print(f"{count} ABTests of {len(ARMS)} arms, {going} of them running, {span} at {CADENCE:.0f} s:")
    print(f"  a pass: {1e3 * used / len(found.passes):.1f} ms (median {1e3 * statistics.median(found.passes):.1f})")
    print(f"  {len(found.passes) / passed:.1f} passes/s: {100 * used / passed:.1f} % of a core")
    print(f"  {found.writes / passed * 60:.0f} writes a minute; a status: {statistics.mean(sizes) / 1024:.1f} KiB")
    print(f"  memory: {grown:+.1f} MiB in {span}, {before + grown:.0f} MiB with all that is simulated")


async def serve(port: int, count: int, told: Connection, apart: orders.Apart) -> None:
    """One replica that runs the experiments and tells their routers; at a word it gives all of them other weights.

    `apart` is what it uses for all but telling.
    """
    world = World(count)
    world.begin()
    await orders.listen(world.operator.xds, port)
    told.send("ready")
    while True:
        due, started = time.monotonic() + CADENCE, time.process_time()
        world.traffic(CADENCE)
        apart.value += time.process_time() - started
        await _turn(world, CADENCE, told, apart)
        while time.monotonic() < due:
            await asyncio.sleep(0.01)
            await _turn(world, 0.0, told, apart)


async def _turn(world: World, seconds: float, told: Connection, apart: orders.Apart) -> None:
    """All passes that are due, with time for routers' questions after each; an edit waits for those before it."""
    passes = world.passes(seconds)
    while True:
        started = time.process_time()
        if told.poll():
            told.recv()
            world.split(60, 20, 20)
        done = next(passes, None) is None
        apart.value += time.process_time() - started
        if done:
            break
        await asyncio.sleep(0)
    world.forget()


def _replica(port: int, count: int, told: Connection, apart: orders.Apart) -> None:
    _collect_seldom()
    uvloop.run(serve(port, count, told, apart))


def _collect_seldom() -> None:
    """As the operator does."""
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=int, default=200, help="how many ABTests (200)")
    parser.add_argument("--minutes", type=float, default=4, help="how long to count, on the experiments' clock (4)")
    parser.add_argument("--seconds", type=float, default=60, help="how long to look at the routers (60)")
    chosen = parser.parse_args()
    _collect_seldom()
    meter = machine.Meter(lambda: {"": time.process_time()})
    look(chosen.tests, chosen.minutes)
    print(f"  others took meanwhile: {meter.spent()[machine.OTHERS]:.0f} processor seconds")
    print("telling their routers, beside the passes; the memory is with all that is simulated:")
    orders.watch(_replica, chosen.tests, chosen.seconds)


if __name__ == "__main__":
    main()
