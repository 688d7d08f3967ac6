"""A bundle with a drift profile, fetched, and servers on it: what the tests of counts and operations stand on."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np

from tests.contract.test_server_process import ROOT, free_port
from trimtab_serving.bundle import BundleInfo, Tensor, pack, write_info
from trimtab_serving.counting.profile import (
    Category,
    Moments,
    Numeric,
    Predictions,
    Profile,
    Score,
    digest_of_profile,
    encode,
    rest_hash,
)

NAME = "credit"
INFER = f"/v2/models/{NAME}/infer"
AGE_EDGES = (18.0, 30.0, 45.0, 60.0, 90.0)
INCOME_EDGES = (0.0, 1000.0, 3000.0)
CITIES = ("Bonn", "Ulm")
RARE = "Rom"


def numeric(name: str, edges: tuple[float, ...]) -> Numeric:
    counts = tuple([10] * (len(edges) + 1))
    inside = (1, len(edges) - 1)
    return Numeric(name, name, edges, counts, (), inside, sum(counts), 0, mean=40.0, deviation=20.0)


def profile() -> Profile:
    cities = Category("city", "city", CITIES, (50, 30, 5, 0), 85, 0, rest=(rest_hash(RARE),))
    moments = Moments(("age", "income"), 60, (0.0, 0.0), ((1.0, 0.0), (0.0, 1.0)))
    score = Score("positive", (0.25, 0.5, 0.75), (1, 2, 3, 4), right=(0, 1, 2, 4))
    features = (numeric("age", AGE_EDGES), numeric("income", INCOME_EDGES), cities)
    return Profile(100, features, score=score, predictions=Predictions((60, 40)), moments=moments)


def make_bundle(directory: Path, given: Profile | None = None) -> str:
    """A logistic model of age and income, which also takes a city it does not use; returns the digest."""
    import onnx
    from onnx import TensorProto, helper

    content = encode(given or profile())
    (directory / "profile.json").write_bytes(content)
    columns = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in ("age", "income")]
    city = helper.make_tensor_value_info("city", TensorProto.STRING, [None, 1])
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
    ]
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [2, 2], [-0.05, 0.05, -0.0005, 0.0005])
    bias = helper.make_tensor("bias", TensorProto.FLOAT, [2], [1.5, -1.5])
    mean = helper.make_tensor("mean", TensorProto.FLOAT, [2], [40.0, 2000.0])
    nodes = [
        helper.make_node("Concat", ["age", "income"], ["row"], axis=1),
        helper.make_node("IsNaN", ["row"], ["absent"]),
        helper.make_node("Where", ["absent", "mean", "row"], ["whole"]),
        helper.make_node("Gemm", ["whole", "weights", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        helper.make_node("Identity", ["city"], ["unused"]),
    ]
    graph = helper.make_graph(nodes, "credit", [*columns, city], outputs, [weights, bias, mean])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    (directory / "model.onnx").write_bytes(model.SerializeToString())
    info = BundleInfo(
        format="ONNX",
        flavor="onnx",
        runtime="onnx",
        inputs=(
            Tensor("age", "FP32", (-1, 1), missing=True),
            Tensor("income", "FP32", (-1, 1), missing=True),
            Tensor("city", "BYTES", (-1, 1)),
        ),
        outputs=(Tensor("label", "INT64", (-1,)), Tensor("probabilities", "FP32", (-1, 2))),
        classes=(0, 1),
        profile=digest_of_profile(content),
    )
    write_info(info, directory)
    (directory / "example.json").write_text(json.dumps(request([(40, 2000, "Bonn"), (30, 500, "Ulm")])))
    with (directory.parent / "bundle.tar").open("wb") as tar:
        return pack(directory, tar)


def request(rows: list[tuple[float | None, float, str]]) -> dict[str, Any]:
    """A request for these ages, incomes and cities."""
    kinds = (("age", "FP32"), ("income", "FP32"), ("city", "BYTES"))
    columns = zip(*rows, strict=True)
    return {
        "inputs": [
            {"name": name, "datatype": kind, "shape": [len(rows), 1], "data": list(values)}
            for (name, kind), values in zip(kinds, columns, strict=True)
        ]
    }


def environment(bundle: Path, digest: str, home: Path, **change: str) -> dict[str, str]:
    """What a pod's server container is told."""
    home.mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "serving-image"),
        "HOME": str(home),
        "TRIMTAB_DIGEST": digest,
        "TRIMTAB_BUNDLE_DIR": str(bundle),
        "TRIMTAB_MODEL_NAME": NAME,
        "TRIMTAB_PORT": str(free_port()),
        "TRIMTAB_RESULT_PATH": str(home / "last-words"),
        "TRIMTAB_STATE_DIR": str(home / "state"),
        "TRIMTAB_USER_HEADER": "x-user-id",
    } | change


class Recount:
    """What the counts must be, counted row by row from what was sent and answered."""

    def __init__(self) -> None:
        self.requests = {"2xx": 0, "4xx": 0, "5xx": 0}
        self.rows: list[tuple[float | None, float, str]] = []
        self.chances: list[float] = []

    def answered(self, status: int, rows: list[tuple[float | None, float, str]], answer: Any) -> None:
        self.requests[f"{status // 100}xx"] += 1
        if status == 200:
            self.rows += rows
            self.chances += answer["outputs"][1]["data"][1::2]

    def equals(self, counts: Any) -> None:
        assert counts["requests"]["classes"] == self.requests
        latencies = counts["requests"]["latency"]
        assert {name: sum(latencies[name]) for name in self.requests} == self.requests
        assert counts["rows"] == len(self.rows)
        ages = np.array([np.nan if age is None else age for age, _, _ in self.rows], np.float32)
        incomes = np.array([income for _, income, _ in self.rows], np.float32)
        age, income, city = counts["features"]
        assert age["missing"] == int(np.isnan(ages).sum())
        assert age["counts"] == cells(ages, AGE_EDGES)
        assert age["outOfRange"] == int(((ages < 18) | (ages >= 90)).sum())
        assert income["counts"] == cells(incomes, INCOME_EDGES)
        names = [name for _, _, name in self.rows]
        known = [names.count(name) for name in (*CITIES, RARE)]
        empty = names.count("")
        assert city["counts"] == [*known, len(names) - sum(known) - empty]
        assert (city["missing"], city["unseen"]) == (empty, city["counts"][-1])
        chances = np.array(self.chances)
        assert counts["score"]["counts"] == cells(chances, (0.25, 0.5, 0.75))
        assert counts["predictions"]["counts"] == [int((chances <= 0.5).sum()), int((chances > 0.5).sum())]
        self._moments(counts["moments"], ages, incomes)

    def _moments(self, moments: Any, ages: Any, incomes: Any) -> None:
        pairs = np.stack([ages, incomes], axis=1).astype(float)
        standard = np.clip((pairs[~np.isnan(ages)] - 40) / 20, -8, 8)
        assert moments["n"] == len(standard)
        np.testing.assert_allclose(moments["sum"], standard.sum(axis=0), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(moments["products"], standard.T @ standard, rtol=1e-9, atol=1e-9)


def cells(values: Any, edges: tuple[float, ...]) -> list[int]:
    """The counts of a histogram, one value at a time."""
    counts = [0] * (len(edges) + 1)
    for value in values:
        if value == value:
            counts[sum(float(value) >= edge for edge in edges)] += 1
    return counts


def connect(port: int) -> socket.socket:
    """A raw connection."""
    return socket.create_connection(("127.0.0.1", port), timeout=10)
