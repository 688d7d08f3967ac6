"""What it costs one operator to watch the traffic of many deployments: processor time, and memory after a week.

    python -m bench.monitor [--deployments 200] [--features 20] [--pods 2] [--periods 12] [--week 2016]

Pods answer at once and from memory, with counts that grow by random rows; everything behind the socket is real: the
checks of each document, the differences, the histories and the judgement. First all deployments for some periods, each
pod read five times in one; then one of them for a week, which tells what a full history takes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import psutil

from trimtab.adapters.monitor.watcher import Watcher
from trimtab.evidence.drift.judge import Policy
from trimtab.evidence.drift.pace import reading_seconds
from trimtab.kinds.modeldeployment.observe import Watch
from trimtab_serving.bundle import Tensor
from trimtab_serving.counting.profile import Profile, Score, encode
from trimtab_toolbox.profiling.features import profile_features
from trimtab_toolbox.profiling.profile import moments_of

PERIOD = 300
ROWS = 60
"""A pod's rows between two readings."""
DIGEST = "sha256:" + "ab" * 32
EDGES = tuple(i / 50 for i in range(1, 50))


class Pods:
    """A session whose pods have counted more each time they are asked."""

    def __init__(self, features: int, dice: np.random.Generator) -> None:
        names = [f"f{i}" for i in range(features)]
        inputs = (Tensor("table", "FP64", (-1, features), columns=tuple(names)),)
        tensors = {"table": dice.normal(size=(20_000, features))}
        found = profile_features(tensors, inputs)
        cells = tuple(dice.multinomial(20_000, np.full(50, 0.02)).tolist())
        score = Score("positive", EDGES, cells, tuple(count // 2 for count in cells))
        moments = moments_of(found, tensors, inputs)
        self.profile = encode(Profile(20_000, found, score=score, moments=moments))
        self.digest = "sha256:" + hashlib.sha256(self.profile).hexdigest()
        self._shares = [np.array(feature.counts) / sum(feature.counts) for feature in found]
        self._names = names
        self._dice = dice
        self._counts: dict[str, list[np.ndarray]] = {}
        self._products: dict[str, np.ndarray] = {}
        self.answered = 0

    def request(self, method: str, url: str, **_: Any) -> Reply:
        """The profile, or the counts of the pod at this address."""
        if url.endswith("/profile"):
            return Reply(self.profile)
        self.answered += 1
        return Reply(self._document(url.removeprefix("http://").partition(":")[0]))

    def _document(self, pod: str) -> bytes:
        held = self._counts.setdefault(pod, [np.zeros(len(s), np.int64) for s in (*self._shares, range(50))])
        for cells, share in zip(held, [*self._shares, np.full(50, 0.02)], strict=True):
            cells += self._dice.multinomial(ROWS, share)
        size = len(self._names)
        z = self._dice.normal(size=(ROWS, size)).clip(-8, 8)
        products = self._products.setdefault(pod, np.zeros((size + 1, size)))
        products[:-1] += z.T @ z
        products[-1] += z.sum(axis=0)
        rows = int(held[0].sum())
        features = [
            {"name": name, "counts": cells.tolist(), "missing": 0}
            for name, cells in zip(self._names, held, strict=False)
        ]
        return msgspec.json.encode(
            {
                "schema": 1,
                "epoch": "00ff",
                "digest": DIGEST,
                "profile": self.digest,
                "rows": rows,
                "score": {"counts": held[-1].tolist()},
                "features": features,
                "moments": {
                    "features": self._names,
                    "n": rows,
                    "sum": products[-1].tolist(),
                    "products": products[:-1].tolist(),
                },
            }
        )


class Reply:
    """A response whose body is there at once."""

    status = 200

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.content = self

    async def __aenter__(self) -> Reply:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def iter_any(self) -> Any:
        yield self._body


class Load:
    """Deployments under one watcher, and a clock that moves when told."""

    def __init__(self, deployments: int, features: int, pods: int) -> None:
        self.time = 1_800_000_000.0
        self.pods = Pods(features, np.random.default_rng(1))
        session: Any = self.pods
        self.watcher = Watcher(session, lambda: self.time, lambda: self.time, lambda *_: None)
        self.watches = [self._watch(number, pods) for number in range(deployments)]

    def _watch(self, number: int, pods: int) -> Watch:
        found = []
        for place in range(pods):
            uid = f"{number}-{place}"
            meta = {"name": uid, "namespace": "ml", "uid": uid, "creationTimestamp": "2020-01-01T00:00:00Z"}
            address = f"10.{number // 250}.{number % 250}.{place + 1}"
            found.append({"kind": "Pod", "metadata": meta, "status": {"phase": "Running", "podIP": address}})
        return Watch(f"deployment-{number}", DIGEST, found, PERIOD, Policy())

    async def run(self, periods: int, watches: list[Watch]) -> float:
        """Processor seconds, without those that the simulated pods take."""
        taken = 0.0
        for _ in range(periods * int(PERIOD / reading_seconds(PERIOD))):
            self.time += reading_seconds(PERIOD)
            for watch in watches:
                began = time.process_time()
                await self.watcher.finding(watch)
                taken += time.process_time() - began
        return taken - await self._simulation(watches, periods)

    async def _simulation(self, watches: list[Watch], periods: int) -> float:
        """What the pods themselves took, measured again on some of their documents."""
        began, some = time.process_time(), 50
        for place in range(some):
            self.pods.request("GET", f"http://192.168.0.{place % 4}:8080/counts")
        each = (time.process_time() - began) / some
        asked = periods * int(PERIOD / reading_seconds(PERIOD)) * sum(len(watch.pods) for watch in watches)
        return each * asked


def memory() -> float:
    """Resident megabytes."""
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1e6


async def measure(given: argparse.Namespace) -> None:
    load = Load(given.deployments, given.features, given.pods)
    before = memory()
    await load.run(1, load.watches)
    seconds = await load.run(given.periods, load.watches)
    each = 1_000 * seconds / given.periods / given.deployments
    print("| what | measured |\n|---|---|")
    print(f"| deployments, features, pods of each | {given.deployments}, {given.features}, {given.pods} |")
    print(f"| processor time for one deployment and period of {PERIOD} s, 5 readings | {each:.1f} ms |")
    print(f"| share of a core for all of them | {100 * seconds / given.periods / PERIOD:.1f} % |")
    print(f"| memory of all after {given.periods + 1} periods | {memory() - before:.0f} MB |")
    for line in week(load, given):
        print(await line, flush=True)


def week(load: Load, given: argparse.Namespace) -> Iterator[Any]:
    """What a full history takes, judged by one deployment."""

    async def full() -> str:
        small = load.watcher.size()
        before = memory()
        alone = Load(1, given.features, 1)
        await alone.run(given.week, alone.watches)
        size = alone.watcher.size()
        told = f"| history of one deployment after {given.week} periods | {size / 1e3:.0f} kB packed"
        told = f"{told}; {memory() - before:.1f} MB resident; all {given.deployments} now: {small / 1e6:.1f} MB |"
        return f"{told}\n{await kept(alone, given.deployments)}"

    yield full()


async def kept(alone: Load, deployments: int) -> str:
    """What outlives the process: the document of one deployment after a week, made once, again, and gone on from."""
    watch = alone.watches[0]
    first, content = await taken(alone, watch)
    again, _ = await taken(alone, watch)

    async def recall(deployment: str) -> bytes | None:
        return content

    session: Any = alone.pods
    other = Watcher(session, lambda: alone.time, lambda: alone.time, lambda *_: None, recall=recall)
    began = time.process_time()
    await other.finding(watch)
    resumed = 1e3 * (time.process_time() - began)
    size = len(content or b"")
    return (
        f"| its document, written once an hour | {size / 1e3:.0f} kB; {first:.0f} ms to make, {again:.0f} ms an hour "
        f"later, {resumed:.0f} ms to go on from |\n| documents of {deployments} | {deployments} writes and "
        f"{deployments * size / 1e6:.0f} MB an hour, {deployments * again / 3.6e4:.2f} % of a core |"
    )


async def taken(alone: Load, watch: Watch) -> tuple[float, bytes | None]:
    """The milliseconds that a document took, and the document; the clock is an hour later afterwards."""
    began = time.process_time()
    content, _ = alone.watcher.document(watch.deployment)
    seconds = time.process_time() - began
    await alone.run(12, alone.watches)
    return 1e3 * seconds, content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deployments", type=int, default=200)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--pods", type=int, default=2)
    parser.add_argument("--periods", type=int, default=12)
    parser.add_argument("--week", type=int, default=2016)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
