"""ONNX graphs that others made, with everything their exporters like to add."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from trimtab_serving.bundle import Tensor
from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.graph import canonical_bytes, inputs_of, outputs_of
from trimtab_toolbox.session import open_session, run


def identity(kind: int, shape: list[Any], weights: bool = False) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    inputs = [value("x", kind, shape)]
    starts = []
    if weights:
        inputs.append(value("w", TensorProto.FLOAT, [1]))
        starts.append(helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0]))
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "g", inputs, [value("y", kind, shape)], starts)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_the_matrix_behind_a_list_of_dictionaries(importing: Callable[..., Any]) -> None:
    """What scikit-learn's converter makes by default, which no inference protocol can carry."""
    rows, species = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=1000).fit(rows, np.array(["setosa", "versicolor", "virginica"])[species])
    graph = to_onnx(model, rows[:1].astype(np.float32))
    assert "ZipMap" in [node.op_type for node in graph.graph.node]
    done = importing(graph.SerializeToString(), "iris.onnx")
    assert done.info.classes == ("setosa", "versicolor", "virginica")
    assert done.info.outputs == (
        Tensor("output_label", "BYTES", (-1,)),
        Tensor("output_probability", "FP32", (-1, 3)),
    )
    session = open_session(done.directory / "model.onnx")
    answer = run(session, {"X": rows.astype(np.float32)}, ["output_label", "output_probability"])
    assert (answer["output_label"] == model.predict(rows)).all()
    np.testing.assert_allclose(answer["output_probability"], model.predict_proba(rows), atol=1e-5)


def test_names_types_and_shapes_are_the_graph_s_own(importing: Callable[..., Any]) -> None:
    done = importing(identity(TensorProto.INT32, ["batch", 3, "any"]).SerializeToString(), "x.onnx", format="ONNX")
    assert done.info.inputs == (Tensor("x", "INT32", (-1, 3, -1)),)
    assert done.info.outputs == (Tensor("y", "INT32", (-1, 3, -1)),)
    assert (done.info.format, done.info.flavor, done.info.runtime) == ("ONNX", "onnx", "onnx")
    assert (done.info.parity, done.info.fallback) == (None, None)
    assert done.files == ["bundle.json", "example.json", "model.onnx"]


def test_weights_that_may_be_replaced_are_not_asked_of_clients() -> None:
    model = identity(TensorProto.FLOAT, [None, 2], weights=True)
    assert [tensor.name for tensor in inputs_of(model)] == ["x"]


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.COMPLEX64])
def test_number_types_the_protocol_does_not_know(kind: int) -> None:
    with pytest.raises(Failure) as caught:
        outputs_of(identity(kind, [None, 2]))
    assert caught.value.reason is Reason.UNSUPPORTED_FORMAT
    assert f"the graph's 'y' is of the type {TensorProto.DataType.Name(kind)}" in caught.value.message


def test_sequences_cannot_be_served() -> None:
    model = identity(TensorProto.FLOAT, [None, 2])
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [None]))
    model.graph.output[0].CopyFrom(helper.make_value_info("y", kind))
    with pytest.raises(Failure, match="the graph's 'y' is of the type sequence_type"):
        outputs_of(model)


def test_a_graph_that_does_not_run(importing: Callable[..., Any]) -> None:
    model = identity(TensorProto.FLOAT, [None, 2])
    model.graph.node[0].op_type = "Nonsense"
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(Failure) as caught:
        importing(model.SerializeToString(), "x.onnx")
    assert caught.value.reason is Reason.LOAD_FAILED
    assert caught.value.message.startswith("ONNX Runtime cannot run the graph: ")


def test_the_order_of_opsets_does_not_matter() -> None:
    one, two = (identity(TensorProto.FLOAT, [None, 2]) for _ in range(2))
    extra = helper.make_opsetid("ai.onnx.ml", 3)
    one.opset_import.append(extra)
    two.opset_import.insert(0, extra)
    two.graph.name, two.graph.doc_string = "another", "made on a Tuesday"
    assert one.SerializeToString() != two.SerializeToString()
    assert canonical_bytes(one) == canonical_bytes(two)
