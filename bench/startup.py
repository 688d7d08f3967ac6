"""`python -m bench.startup`: from the start of a server process to its first ready answer, and the memory it has then.

Three kinds of model, each as 100 kB and as 100 MB of ONNX, written as an import writes them: dense layers as wide as
they are deep, which are blocks of numbers to load; one flat layer of few inputs, which ONNX Runtime's packing for small
batches suits worst; and a forest, which is millions of nodes. Starts are repeated and the median is told, with the
processor seconds of the process beside the seconds on the clock, which other work on the machine makes longer.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.machine import memory, processor_seconds
from tests.contract.served import environment
from tests.contract.test_server_process import Process
from trimtab_serving.bundle import BundleInfo, Tensor, pack, write_info
from trimtab_toolbox.large_nodes import let_go_of_large_nodes

MIB = 1 << 20
FEATURES = 16
SIZES = {"100 kB": 100_000, "100 MB": 100_000_000}


class Start(NamedTuple):
    """One start: seconds to the first answer and to readiness, processor seconds, resident MiB then and at most."""

    live: float
    ready: float
    processor: float
    resident: float
    peak: float


def layers(size: int) -> onnx.ModelProto:
    """Six square dense layers of so many bytes, with biases."""
    generator, count = np.random.default_rng(1), 6
    width = math.isqrt(size // 4 // count)
    weights = [generator.normal(size=(FEATURES, width)), *generator.normal(size=(count, width, width)) / width**0.5]
    nodes, constants, value = [], [], "X"
    for number, values in enumerate([*weights, np.ones((width, 1))]):
        names = f"w{number}", f"b{number}"
        constants += [
            numpy_helper.from_array(part.astype(np.float32), name)
            for part, name in zip((values, np.zeros(values.shape[1])), names, strict=True)
        ]
        nodes.append(helper.make_node("Gemm", [value, *names], [f"h{number}"]))
        value = f"a{number}" if number <= count else "y"
        nodes.append(helper.make_node("Relu", [f"h{number}"], [value]))
    return _model(nodes, constants)


def flat(size: int) -> onnx.ModelProto:
    """A dense layer of so many bytes for a few inputs."""
    width = size // 4 // (FEATURES + 1)
    weights = np.random.default_rng(1).normal(size=(FEATURES, width)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["X", "first"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "second"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(weights, "first"),
        numpy_helper.from_array(np.full((width, 1), 1 / width, np.float32), "second"),
    ]
    return _model(nodes, constants)


def forest(size: int) -> onnx.ModelProto:
    """A forest of complete trees of depth 10 that takes so many bytes."""
    inner, trees = 2**10 - 1, max(1, round(size / 71_000))
    nodes = 2 * inner + 1
    number = np.arange(nodes)
    branch = number < inner
    generator = np.random.default_rng(1)
    attributes: dict[str, Any] = {
        "nodes_treeids": np.repeat(np.arange(trees), nodes),
        "nodes_nodeids": np.tile(number, trees),
        "nodes_featureids": generator.integers(0, FEATURES, nodes * trees),
        "nodes_values": generator.normal(size=nodes * trees).astype(np.float32),
        "nodes_modes": [b"BRANCH_LEQ" if one else b"LEAF" for one in branch] * trees,
        "nodes_truenodeids": np.tile(np.where(branch, 2 * number + 1, 0), trees),
        "nodes_falsenodeids": np.tile(np.where(branch, 2 * number + 2, 0), trees),
        "target_treeids": np.repeat(np.arange(trees), inner + 1),
        "target_nodeids": np.tile(number[~branch], trees),
        "target_ids": np.zeros((inner + 1) * trees, np.int64),
        "target_weights": generator.normal(size=(inner + 1) * trees).astype(np.float32),
    }
    given = {name: values if isinstance(values, list) else values.tolist() for name, values in attributes.items()}
    node = helper.make_node("TreeEnsembleRegressor", ["X"], ["y"], domain="ai.onnx.ml", n_targets=1, **given)
    return _model([node], [])


def _model(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, FEATURES])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])]
    graph = helper.make_graph(nodes, "startup", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def bundle(directory: Path, model: onnx.ModelProto) -> str:
    """The model as a bundle in `directory`; returns the digest."""
    directory.mkdir()
    let_go_of_large_nodes(model)
    (directory / "model.onnx").write_bytes(model.SerializeToString())
    info = BundleInfo(
        format="ONNX",
        flavor="onnx",
        runtime="onnx",
        inputs=(Tensor("X", "FP32", (-1, FEATURES)),),
        outputs=(Tensor("y", "FP32", (-1, 1)),),
    )
    write_info(info, directory)
    row = {"name": "X", "shape": [1, FEATURES], "datatype": "FP32", "data": [0.5] * FEATURES}
    (directory / "example.json").write_text(json.dumps({"inputs": [row]}))
    with tempfile.TemporaryFile() as tar:
        return pack(directory, tar)


def start(directory: Path, digest: str, home: Path) -> Start:
    """Start a server and wait for it to be ready."""
    given = environment(directory, digest, home, TRIMTAB_WORKERS="1")
    began = monotonic()
    server = Process(given)
    try:
        live = _first(lambda: server.call("/v2/health/live")[0] == 200) - began
        ready = _first(lambda: server.call("/v2/health/ready")[0] == 200) - began
        peak, resident = memory(server.process.pid)
        return Start(live, ready, processor_seconds(server.process.pid), resident, peak)
    finally:
        server.process.kill()
        server.process.wait()


def _first(answered: Callable[[], bool]) -> float:
    """When something was first true, to 10 ms: asking more often would take the server's time."""
    deadline = monotonic() + 120
    while True:
        try:
            if answered():
                return monotonic()
        except OSError:
            pass
        if monotonic() > deadline:
            raise TimeoutError("the server was not ready within 120 s")
        sleep(0.01)


def main() -> None:
    """Print a line for each model."""
    parser = argparse.ArgumentParser(prog="python -m bench.startup", description=__doc__)
    parser.add_argument("--starts", type=int, default=7, help="how often each is started (default: 7)")
    options = parser.parse_args()
    columns = ("resident", "less model", "peak")
    print(
        f"{'model':<18}{'on disk':>10}{'live':>9}{'ready':>9}{'processor':>11}" + "".join(f"{c:>12}" for c in columns)
    )
    with tempfile.TemporaryDirectory(prefix="trimtab-startup-") as folder:
        for kind in (layers, flat, forest):
            for name, size in SIZES.items():
                directory = Path(folder, f"{kind.__name__}-{size}")
                digest = bundle(directory, kind(size))
                starts = [start(directory, digest, Path(folder, "pod")) for _ in range(options.starts)]
                live, ready, processor, resident, peak = map(statistics.median, zip(*starts, strict=True))
                disk = (directory / "model.onnx").stat().st_size / MIB
                print(
                    f"{kind.__name__ + ' ' + name:<18}{disk:>6.1f} MiB{live:>7.2f} s{ready:>7.2f} s{processor:>9.2f} s"
                    f"{resident:>8.0f} MiB{resident - disk:>8.0f} MiB{peak:>8.0f} MiB"
                )


if __name__ == "__main__":
    main()
