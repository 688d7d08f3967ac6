"""`python -m bench.fuzz`: mutated requests at the application itself, without a socket; no 5xx, no wait, no null.

Two models behind one table of requests: a linear model as ONNX that takes its matrix in both forms, and one with a
tensor a column, text and missing values. The requests come from hypothesis, so a failure is told as its smallest form.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings

from bench.hotpath import linear_bundle, started
from bench.mutations import Sent, requests
from trimtab_serving.app import Application
from trimtab_serving.bundle import BundleInfo, Tensor
from trimtab_serving.lifecycle import Lifecycle
from trimtab_serving.lifecycle import Phase as LifePhase
from trimtab_serving.metrics import Metrics
from trimtab_serving.model import Model
from trimtab_serving.protocol.datatypes import Array
from trimtab_serving.protocol.signature import Signature
from trimtab_serving.settings import Settings

SLOW_SECONDS = 2.0
"""Longer than any request here may take, however busy the machine."""

PEOPLE = BundleInfo(
    format="Sklearn",
    flavor="sklearn",
    runtime="python",
    inputs=(
        Tensor("age", "INT64", (-1, 1)),
        Tensor("income", "FP64", (-1, 1), missing=True),
        Tensor("city", "BYTES", (-1, 1), missing=True),
    ),
    outputs=(Tensor("label", "BYTES", (-1,)), Tensor("probabilities", "FP32", (-1, 2))),
)


class Rule:
    """A model by hand that fails, as a model would, for values that are not what the signature promises."""

    platform = "bench_rule"

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Predict."""
        assert inputs["age"].dtype == np.int64
        assert all(isinstance(text, str) or text != text for text in inputs["city"].ravel())
        income = np.nan_to_num(inputs["income"].reshape(-1))
        chance = 1 / (1 + np.exp(-np.clip(income, -50, 50)))
        both = np.stack([1 - chance, chance], axis=1).astype(np.float32)
        results = {"label": np.where(chance > 0.5, "yes", "no").astype(object), "probabilities": both}
        return [results[name] for name in outputs]


class Fuzzer:
    """Sends requests to the applications and judges the answers."""

    def __init__(self, directory: Path) -> None:
        self._loop = asyncio.new_event_loop()
        linear = self._loop.run_until_complete(started(directory, linear_bundle(directory, tuple("abcd"))))
        self._apps = {"people": people(), "iris": linear}
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0

    def send(self, sent: Sent) -> None:
        """Send one request; AssertionError when the answer is not one that a client may see."""
        app = self._apps["people" if "people" in sent.path else "iris"]
        start = time.perf_counter()
        status, headers, body = self._loop.run_until_complete(asyncio.wait_for(exchange(app, sent), 30))
        seconds = time.perf_counter() - start
        self.slowest = max(self.slowest, seconds)
        self.statuses[status] += 1
        assert status < 500, f"{status}: {body[:300]!r}"
        assert seconds < SLOW_SECONDS, f"{seconds:.1f} s"
        if status >= 400:
            assert json.loads(body)["error"].strip(), "an error without a message"
        elif headers[b"content-type"] == b"application/json" and b"content-encoding" not in headers:
            json.loads(body, parse_constant=refuse)

    def close(self) -> None:
        """End the loop."""
        self._loop.close()


def refuse(word: str) -> None:
    """JSON has no such constant."""
    raise AssertionError(f"the answer holds {word}")


def people() -> Application:
    """The application with the model by hand."""
    wanted = Settings("people", "1", "sha256:" + "ab" * 32, Path("/nowhere"))
    metrics = Metrics("people", wanted.revision)
    lifecycle = Lifecycle(wanted, metrics)
    lifecycle.model = Model(wanted, Signature(PEOPLE), Rule(), "python")
    lifecycle.phase = LifePhase.READY
    return Application(lifecycle, metrics)


async def exchange(app: Application, sent: Sent) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of the answer to one request."""
    told: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": sent.body, "more_body": False}

    async def send(event: Any) -> None:
        told.append(event)

    scope = {"type": "http", "method": sent.method, "path": sent.path, "headers": list(sent.headers)}
    await app(scope, receive, send)
    return told[0]["status"], dict(told[0]["headers"]), told[1]["body"]


def run(count: int, first: int) -> Fuzzer:
    """Try so many requests; raises at the first that is answered wrongly, with the request."""
    with tempfile.TemporaryDirectory(prefix="trimtab-fuzz-") as folder:
        fuzzer = Fuzzer(Path(folder))

        @seed(first)
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(requests())
        def attempt(sent: Sent) -> None:
            fuzzer.send(sent)

        try:
            attempt()
        finally:
            fuzzer.close()
    return fuzzer


def main() -> None:
    """Print how many requests ended how."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="default: 100,000")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other requests")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    start = time.perf_counter()
    fuzzer = run(options.requests, options.seed)
    seconds = time.perf_counter() - start
    number = sum(fuzzer.statuses.values())
    print(f"{number} mutated requests in {seconds:.0f} s, the slowest {fuzzer.slowest * 1e3:.0f} ms")
    for status, number in sorted(fuzzer.statuses.items()):
        print(f"{status}  {number}")


if __name__ == "__main__":
    main()
