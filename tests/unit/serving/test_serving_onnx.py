"""ONNX Runtime against models made here: right results, and bundles that do not describe their model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from trimtab_serving import model as models
from trimtab_serving.bundle import BundleInfo, Tensor, digest_of, write_info
from trimtab_serving.outcome import Failure
from trimtab_serving.runtimes import ModelRefused
from trimtab_serving.runtimes.onnx import OnnxRuntime
from trimtab_serving.settings import Settings

INPUTS = (Tensor("x", "FP32", (-1, 2)), Tensor("city", "BYTES", (-1,)))
OUTPUTS = (Tensor("sum", "FP32", (-1, 1)), Tensor("where", "BYTES", (-1,)))
EXAMPLE = {
    "inputs": [
        {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]},
        {"name": "city", "shape": [1], "datatype": "BYTES", "data": ["Ulm"]},
    ]
}


def info(**change: Any) -> BundleInfo:
    fields: dict[str, Any] = {"inputs": INPUTS, "outputs": OUTPUTS} | change
    return BundleInfo(format="ONNX", flavor="onnx", runtime="onnx", **fields)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["x", "axes"], ["sum"], keepdims=1),
            helper.make_node("Identity", ["city"], ["where"]),
        ],
        "adder",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2]),
            helper.make_tensor_value_info("city", TensorProto.STRING, [None]),
        ],
        [
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, [None, 1]),
            helper.make_tensor_value_info("where", TensorProto.STRING, [None]),
        ],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(tmp_path / "model.onnx"))
    write_info(info(), tmp_path)
    (tmp_path / "example.json").write_text(json.dumps(EXAMPLE))
    return tmp_path


def load(bundle: Path, digest: str | None = None) -> models.Model:
    return models.load(Settings("adder", "1", digest or digest_of(bundle), bundle))


def test_numbers_and_strings(bundle: Path) -> None:
    runtime = OnnxRuntime(info(), bundle)
    inputs = {"x": np.array([[1, 2], [3, 4]], np.float32), "city": np.array(["Ulm", "Köln"], object)}
    where, total = runtime.run(inputs, ["where", "sum"])
    assert (where.tolist(), total.tolist()) == (["Ulm", "Köln"], [[3.0], [7.0]])


def test_a_refused_argument_is_told_from_a_fault(bundle: Path) -> None:
    runtime = OnnxRuntime(info(), bundle)
    with pytest.raises(ModelRefused, match="Got invalid dimensions for input: x"):
        runtime.run({"x": np.zeros((1, 3), np.float32), "city": np.array(["Ulm"], object)}, ["sum"])


def test_an_unknown_category_is_the_clients_fault(tmp_path: Path) -> None:
    node = helper.make_node("OneHotEncoder", ["city"], ["hot"], domain="ai.onnx.ml", cats_strings=["Ulm"], zeros=0)
    city = helper.make_tensor_value_info("city", TensorProto.STRING, [None, 1])
    hot = helper.make_tensor_value_info("hot", TensorProto.FLOAT, [None, 1, 1])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    graph = helper.make_graph([node], "encoder", [city], [hot])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "model.onnx")
    known = (Tensor("city", "BYTES", (-1, 1)),), (Tensor("hot", "FP32", (-1, 1, 1)),)
    runtime = OnnxRuntime(BundleInfo("ONNX", "onnx", "onnx", *known), tmp_path)
    assert runtime.run({"city": np.array([["Ulm"]], object)}, ["hot"])[0].tolist() == [[[1.0]]]
    with pytest.raises(ModelRefused, match="a value is in no category that the model was fitted with"):
        runtime.run({"city": np.array([["Bonn"]], object)}, ["hot"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"inputs": (Tensor("x", "FP64", (-1, 2)), INPUTS[1])},
            "bundle.json declares the input 'x' as FP64, model.onnx has FP32; import the model again",
        ),
        (
            {"inputs": INPUTS[:1]},
            "bundle.json declares no input 'city', but model.onnx needs it; import the model again",
        ),
        (
            {"outputs": (Tensor("score", "FP32", (-1,)),)},
            "bundle.json declares the output 'score' as FP32, model.onnx has no such output",
        ),
    ],
)
def test_a_bundle_that_misdescribes_its_model(bundle: Path, change: dict[str, Any], message: str) -> None:
    write_info(info(**change), bundle)
    with pytest.raises(Failure) as failure:
        load(bundle)
    assert failure.value.reason == "BundleInvalid"
    assert failure.value.message.startswith(message)


async def test_load_warms_up_and_answers(bundle: Path) -> None:
    model = load(bundle)
    call = model.v2.decode(json.dumps(EXAMPLE | {"id": "1"}).encode())
    answer = json.loads(model.v2.encode(call, await model.predict(call)).body)
    assert answer["outputs"][0] == {"name": "sum", "shape": [1, 1], "datatype": "FP32", "data": [3.0]}


def test_a_changed_bundle_is_not_loaded(bundle: Path) -> None:
    digest = digest_of(bundle)
    (bundle / "extra").write_text("")
    with pytest.raises(Failure, match=rf"DigestMismatch: .* not {digest}; it was changed after it was fetched"):
        load(bundle, digest)


def test_a_model_file_that_is_none(bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(Failure, match="LoadFailed: the onnx model cannot be loaded: InvalidProtobuf"):
        load(bundle)


def test_an_example_that_does_not_fit(bundle: Path) -> None:
    (bundle / "example.json").write_text('{"inputs":[]}')
    with pytest.raises(Failure, match="BundleInvalid: the bundle's own example is refused: inputs: 'x', 'city'"):
        load(bundle)
