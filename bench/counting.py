"""`python -m bench.counting`: what counting costs a server for each request, in its processor time.

Inside the process, what happens before the answer leaves is told apart from what happens after it: slots are written
on the request's path, and added up to counts, 256 rows at a time, when their answers are on their way. A model of 20
numbers, one row a request, with users and prediction tokens, and with drift alone.

Over HTTP, two servers of one model, one with counting off, take the same requests in turn from 32 clients, as JSON,
with a user's name. The one that counts keeps features, scores, moments, buckets and users, and signs a token for each
answer. Processor time says how many requests a core can serve, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.clients import HEAD, Caller
from bench.machine import processor_seconds
from tests.contract.served import environment, make_bundle, request
from tests.contract.test_server_process import Process, serving
from trimtab_serving.bundle import BundleInfo, Tensor, pack, write_info
from trimtab_serving.counting.fold import Folder
from trimtab_serving.counting.layout import Layout
from trimtab_serving.counting.profile import decode, digest_of_profile
from trimtab_serving.counting.recorder import FOLD_AT, Answered, Recorder
from trimtab_serving.counting.rows import Seen
from trimtab_serving.counting.state import State
from trimtab_serving.outcomes.token import Signer
from trimtab_toolbox.profiling.profile import build_profile
from trimtab_toolbox.profiling.scores import Verdicts

CLIENTS = 32
NUMBERS = 20
USER = "x-user-id"
NAMES = ("label", "probabilities")


class Wide(NamedTuple):
    """A model of 20 numbers and two classes."""

    info: BundleInfo
    profile: bytes
    rows: NDArray[np.float32]
    chances: NDArray[np.float32]
    model: Any

    @classmethod
    def fitted(cls) -> Wide:
        """A logistic regression, and its drift profile as the toolbox writes it."""
        from sklearn.linear_model import LogisticRegression

        dice = np.random.default_rng(1)
        rows = dice.normal(size=(5_000, NUMBERS)).astype(np.float32)
        truth = (rows.sum(axis=1) + dice.normal(size=len(rows)) > 0).astype(int)
        model = LogisticRegression().fit(rows, truth)
        chances = model.predict_proba(rows).astype(np.float32)
        tensor = Tensor("X", "FP32", (-1, NUMBERS))
        verdicts = Verdicts(chances.argmax(axis=1), chances, truth)
        profile = build_profile(model, {"X": rows}, [tensor], verdicts, None)
        outputs = (Tensor("label", "INT64", (-1,)), Tensor("probabilities", "FP32", (-1, 2)))
        digest = digest_of_profile(profile)
        info = BundleInfo("Sklearn", "sklearn", "onnx", (tensor,), outputs, classes=(0, 1), profile=digest)
        return cls(info, profile, rows, chances, model)

    def write(self, directory: Path) -> str:
        """The bundle, in `directory`; its digest."""
        from skl2onnx import to_onnx

        options = {id(self.model): {"zipmap": False}}
        made = to_onnx(self.model, self.rows[:1], options=options)
        made.graph.output[0].name = "label"
        for node in made.graph.node:
            node.output[:] = ["label" if name == "output_label" else name for name in node.output]
        (directory / "model.onnx").write_bytes(made.SerializeToString())
        (directory / "profile.json").write_bytes(self.profile)
        (directory / "example.json").write_text(json.dumps(self.request(1)))
        write_info(self.info, directory)
        with tempfile.TemporaryFile() as tar:
            return pack(directory, tar)

    def request(self, rows: int) -> dict[str, Any]:
        """A V2 request of so many rows."""
        data = np.round(self.rows[:rows], 3).ravel().tolist()
        return {"inputs": [{"name": "X", "shape": [rows, NUMBERS], "datatype": "FP32", "data": data}]}


def inside(wide: Wide, together: int, *, drift_alone: bool) -> float:
    """Microseconds on the path of each of so many requests of one row that are answered in one go."""
    signer = None if drift_alone else Signer(bytes(range(32)), "ab" * 8)
    state = State(Folder(Layout(wide.info, decode(wide.profile))), None)
    recorder = Recorder(state, wide.info, rows=True, signer=signer, user_header="" if drift_alone else USER)
    requests = [Answered(0.0004, {USER.encode(): b"user-%012d" % number}) for number in range(together)]
    chances = wide.chances[:together]
    seen = Seen({"X": wide.rows[:together]}, NAMES, [chances.argmax(axis=1), chances])

    def fill() -> None:
        for _ in range(FOLD_AT // together - 1):
            recorder.answered_together(requests, [1] * together, seen)

    return least(fill, state.slab.fold) / (FOLD_AT // together - 1) / together


def after(wide: Wide) -> float:
    """Microseconds for each row when the slots are added up."""
    folder = Folder(Layout(wide.info, decode(wide.profile)))
    block = np.ones((FOLD_AT, folder.layout.width))
    block[:, -NUMBERS:] = wide.rows[:FOLD_AT]
    return least(lambda: folder.fold(block)) / FOLD_AT


def least(work: Callable[[], object], between: Callable[[], object] = lambda: None, times: int = 400) -> float:
    """The lower quartile of what `work` takes, in microseconds of processor time: other work only ever adds."""
    found = []
    for _ in range(times):
        start = time.process_time_ns()
        work()
        found.append((time.process_time_ns() - start) / 1e3)
        between()
    return statistics.quantiles(found, n=4)[0]


def payload(rows: int, number: int) -> bytes:
    """A request of one client to the model of the tests."""
    return posted(request([(40 + number % 7, 2000, "Bonn")] * rows), number)


def posted(content: Any, number: int) -> bytes:
    """A request of one client, whose user is as long as such names are."""
    body = json.dumps(content).encode()
    return HEAD + b"%d\r\nx-user-id: user-%012d\r\n\r\n" % (len(body), number) + body


async def cost(server: Process, payloads: list[bytes], requests: int) -> float:
    """Microseconds of processor time for each of so many requests."""
    before = processor_seconds(server.process.pid)
    each = requests // CLIENTS
    await asyncio.gather(*(Caller(server.url, payload).run(each) for payload in payloads))
    return (processor_seconds(server.process.pid) - before) / (each * CLIENTS) * 1e6


async def over_http(name: str, make: Callable[[Path], str], bodies: list[list[bytes]], given: Any) -> None:
    """Print both costs and their ratio for each kind of request to one model."""
    with tempfile.TemporaryDirectory(prefix="trimtab-counting-") as folder, ExitStack() as stack:
        home = Path(folder)
        (home / "bundle").mkdir()
        digest = make(home / "bundle")
        servers = []
        for switch in ("off", "on"):
            told = environment(home / "bundle", digest, home / switch, TRIMTAB_WORKERS="1", TRIMTAB_COUNTING=switch)
            servers.append(stack.enter_context(serving(told)))
        for payloads in bodies:
            pairs = [[await cost(server, payloads, given.requests) for server in servers] for _ in range(given.rounds)]
            off, on = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(f"{name:<24}{off:>13.1f} µs{on:>13.1f} µs{on - off:>11.1f} µs{off / on:>11.2f}")
            name = "the same, 16 rows"


def main() -> None:
    """Print what counting costs."""
    parser = argparse.ArgumentParser(prog="python -m bench.counting", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--requests", type=int, default=8_000, help="for each server and round; default: 8,000")
    options = parser.parse_args()
    wide = Wide.fitted()
    print(f"{'answered together':<24}{'1':>8}{'2':>8}{'8':>8}{'32':>8}")
    for name, alone in (("before the answer: all", False), ("of this, drift alone", True)):
        print(f"{name:<24}" + "".join(f"{inside(wide, n, drift_alone=alone):>5.1f} µs" for n in (1, 2, 8, 32)))
    print(f"{'after the answer':<24}{after(wide):>5.1f} µs\n")
    print(f"{'over HTTP':<24}{'counting off':>16}{'counting on':>16}{'difference':>14}{'off / on':>11}")
    numbers = [posted(wide.request(1), number) for number in range(CLIENTS)]
    asyncio.run(over_http("20 numbers", wide.write, [numbers], options))
    bodies = [[payload(rows, number) for number in range(CLIENTS)] for rows in (1, 16)]
    asyncio.run(over_http("2 numbers and a text", make_bundle, bodies, options))


if __name__ == "__main__":
    main()
