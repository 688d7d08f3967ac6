"""What one request costs inside the process: the whole application, without a socket.

`python -m bench.hotpath` prints microseconds a request for the plain case and for each way around it, the best of
several rounds, because other work on the machine only ever adds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trimtab_serving import model as models
from trimtab_serving.app import Application
from trimtab_serving.bundle import BundleInfo, Tensor, pack, write_info
from trimtab_serving.lifecycle import Lifecycle, Phase
from trimtab_serving.metrics import Metrics
from trimtab_serving.settings import Settings

NAME = "iris"
COLUMNS = ("a", "b", "c", "d")
HEADERS = [(b"host", b"iris:8080"), (b"user-agent", b"bench/1"), (b"accept", b"*/*")]


def linear_bundle(directory: Path, columns: tuple[str, ...] | None = None) -> str:
    """A logistic regression on iris as an ONNX bundle in `directory`; returns its digest."""
    from skl2onnx import to_onnx
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    rows, labels = load_iris(return_X_y=True)
    rows = rows.astype(np.float32)
    model = LogisticRegression(max_iter=1000).fit(rows, labels)
    options = {id(model): {"zipmap": False, "output_class_labels": False}}
    (directory / "model.onnx").write_bytes(to_onnx(model, rows[:1], options=options).SerializeToString())
    info = BundleInfo(
        format="Sklearn",
        flavor="sklearn",
        runtime="onnx",
        inputs=(Tensor("X", "FP32", (-1, 4), columns),),
        outputs=(Tensor("label", "INT64", (-1,)), Tensor("probabilities", "FP32", (-1, 3))),
    )
    write_info(info, directory)
    (directory / "example.json").write_text(json.dumps(matrix_request(1)))
    with tempfile.TemporaryFile() as tar:
        return pack(directory, tar)


def matrix_request(rows: int) -> dict[str, Any]:
    """A V2 request with so many rows of iris."""
    data = [5.1, 3.5, 1.4, 0.2] * rows
    return {"inputs": [{"name": "X", "shape": [rows, 4], "datatype": "FP32", "data": data}]}


async def started(directory: Path, digest: str) -> Application:
    """The application with the bundle loaded."""
    settings = Settings(NAME, "1", digest, directory)
    metrics = Metrics(NAME, settings.revision)
    lifecycle = Lifecycle(settings, metrics)
    lifecycle.model = await asyncio.to_thread(models.load, settings)
    lifecycle.phase = Phase.READY
    return Application(lifecycle, metrics)


async def one(app: Application, path: str, body: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    """Send one request; its status."""
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(event: Any) -> None:
        nonlocal status
        status = event.get("status", status)

    scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
    await app(scope, receive, send)
    return status


async def microseconds(app: Application, path: str, body: bytes, headers: list[tuple[bytes, bytes]]) -> float:
    """The best of several rounds, a request."""
    assert await one(app, path, body, headers) == 200
    rounds = []
    for _ in range(15):
        start = time.process_time()
        for _ in range(400):
            await one(app, path, body, headers)
        rounds.append((time.process_time() - start) / 400 * 1e6)
    return min(rounds)


def cases() -> Iterator[tuple[str, str, bytes, list[tuple[bytes, bytes]]]]:
    """Name, path, body and headers of each way to ask."""
    infer = f"/v2/models/{NAME}/infer"
    yield "V2 JSON, 1 row", infer, json.dumps(matrix_request(1)).encode(), HEADERS
    yield "V2 JSON, 1,000 rows", infer, json.dumps(matrix_request(1000)).encode(), HEADERS
    for rows in (1, 1000):
        yield f"V2 binary both ways, {rows:,} rows", infer, *binary_request(rows)
    columns = [{"name": name, "shape": [1], "datatype": "FP32", "data": [1.5]} for name in COLUMNS]
    yield "V2 JSON, 1 row in columns", infer, json.dumps({"inputs": columns}).encode(), HEADERS
    predict = f"/v1/models/{NAME}:predict"
    yield "V1, 1 row", predict, json.dumps({"instances": [[5.1, 3.5, 1.4, 0.2]]}).encode(), HEADERS
    by_name = {"instances": [dict.fromkeys(COLUMNS, 1.5)]}
    yield "V1, 1 row by column", predict, json.dumps(by_name).encode(), HEADERS
    traced = [*HEADERS, (b"x-request-id", b"r-1"), (b"accept-encoding", b"gzip")]
    yield "V2 JSON, 1 row, request id", infer, json.dumps(matrix_request(1)).encode(), traced


def binary_request(rows: int) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Body and headers of a request with binary input and output."""
    tail = np.array([5.1, 3.5, 1.4, 0.2] * rows, "<f4").tobytes()
    tensor = {"name": "X", "shape": [rows, 4], "datatype": "FP32", "parameters": {"binary_data_size": len(tail)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return head + tail, [*HEADERS, (b"inference-header-content-length", str(len(head)).encode())]


async def run() -> None:
    with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as folder:
        app = await started(Path(folder), linear_bundle(Path(folder), COLUMNS))
        for name, path, body, headers in cases():
            print(f"{name:<32}{await microseconds(app, path, body, headers):9.1f} µs")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    asyncio.run(run())
