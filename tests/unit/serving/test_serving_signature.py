"""Requests against a signature: what is right becomes the right array, what is wrong is named by its field."""

import json
from typing import Any

import numpy as np
import pytest

from trimtab_serving.bundle import BundleInfo, Tensor
from trimtab_serving.protocol import reader
from trimtab_serving.protocol.datatypes import Array
from trimtab_serving.protocol.errors import RequestError
from trimtab_serving.protocol.signature import Signature
from trimtab_serving.protocol.v2 import encode
from trimtab_serving.protocol.v2_codec import Call, V2Codec


def signature(*inputs: Tensor) -> Signature:
    return Signature(
        BundleInfo(
            format="ONNX",
            flavor="onnx",
            runtime="onnx",
            inputs=inputs,
            outputs=(Tensor("label", "INT64", (-1,)), Tensor("probabilities", "FP32", (-1, 2))),
        )
    )


MATRIX = signature(Tensor("x", "FP32", (-1, 2)))
COLUMNS = signature(Tensor("age", "INT32", (-1, 1)), Tensor("city", "BYTES", (-1,)))


def one(**change: Any) -> bytes:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2.5]} | change
    return json.dumps({"inputs": [{key: value for key, value in tensor.items() if value is not ...}]}).encode()


def take(body: bytes, model: Signature) -> Call:
    return V2Codec("m", "1", model).decode(body)


def arrays_of(body: bytes, model: Signature) -> dict[str, Array]:
    return dict(take(body, model).arrays)


def outputs_of(body: bytes) -> tuple[str, ...]:
    return take(body, MATRIX).outputs.names


def fault(body: bytes, model: Signature = MATRIX) -> str:
    with pytest.raises(RequestError) as error:
        take(body, model)
    assert error.value.status == 400
    return error.value.message


@pytest.mark.parametrize(
    ("datatype", "values", "dtype"),
    [
        ("BOOL", [True, False], np.bool_),
        ("INT8", [-128, 127], np.int8),
        ("INT16", [-32768, 32767], np.int16),
        ("INT32", [-(2**31), 2**31 - 1], np.int32),
        ("INT64", [-(2**63), 2**63 - 1], np.int64),
        ("UINT8", [0, 255], np.uint8),
        ("UINT16", [0, 65535], np.uint16),
        ("UINT32", [0, 2**32 - 1], np.uint32),
        ("UINT64", [0, 2**64 - 1], np.uint64),
        ("FP32", [0.1, -3], np.float32),
        ("FP64", [0.1, 1e300], np.float64),
        ("BYTES", ["", "Zürich 🚀"], np.object_),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_every_datatype(datatype: str, values: list[Any], dtype: Any, nested: bool) -> None:
    model = signature(Tensor("x", datatype, (-1, 2)))  # type: ignore[arg-type]
    body = one(datatype=datatype, data=[values] if nested else values)
    array = arrays_of(body, model)["x"]
    assert array.dtype == dtype
    assert array.shape == (1, 2)
    assert array.tolist() == [np.array(values, dtype).tolist()]


@pytest.mark.parametrize(
    ("datatype", "value"),
    [("INT8", 128), ("UINT8", -1), ("INT64", 2**63), ("UINT64", 2**64), ("INT32", 10**30), ("FP32", 1e39)],
)
def test_numbers_out_of_range(datatype: str, value: float) -> None:
    model = signature(Tensor("x", datatype, (-1,)))  # type: ignore[arg-type]
    message = fault(one(datatype=datatype, shape=[1], data=[value]), model)
    assert message == f"inputs[0].data holds a number out of range for {datatype}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is empty; send the request as JSON"),
        (b"{", "the body is not valid JSON: Input data was truncated"),
        (b"null", "the body: expected an object, got null"),
        (b"[]", "the body: expected an object, got an array"),
        (b"{}", "inputs is missing"),
        (b'{"inputs":{}}', "inputs: expected an array, got an object"),
        (b'{"inputs":[]}', "inputs: 'x' is missing; the model takes 'x'"),
        (b'{"inputs":[7]}', "inputs[0]: expected an object, got a whole number"),
        (b'{"inputs":[],"id":7}', "id: expected a string, got a whole number"),
        (b'{"inputs":[],"outputs":[{}]}', "outputs[0].name is missing"),
        (b'{"inputs":[{"name":"\xff"}]}', "the body is not valid JSON: 'utf-8' codec can't decode"),
        (b"[" * 100_000, "the body"),
        (b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "inputs[0]: expected an object, got an array"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "the body is nested too deeply"),
    ],
)
def test_bodies_that_are_no_request(body: bytes, message: str) -> None:
    assert fault(body).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ...}, "inputs[0].name is missing"),
        ({"name": "y"}, "inputs[0].name 'y' is unknown; the model takes 'x'"),
        ({"shape": ...}, "inputs[0].shape is missing"),
        ({"shape": [1, "2"]}, "inputs[0].shape[1]: expected a whole number, got a string"),
        ({"shape": [1, 3]}, "inputs[0].shape is [1, 3]; the model takes [-1, 2] for input 'x' (-1 is any length"),
        ({"shape": [2]}, "inputs[0].shape is [2]; the model takes [-1, 2]"),
        ({"shape": [0, 2], "data": []}, "inputs[0].shape is [0, 2]; the model takes [-1, 2]"),
        ({"shape": [-1, 2]}, "inputs[0].shape is [-1, 2]; the model takes [-1, 2]"),
        ({"shape": [2, 2]}, "inputs[0].data has 2 values; shape [2, 2] needs 4"),
        ({"shape": [10**18, 2]}, f"inputs[0].data has 2 values; shape [{10**18}, 2] needs 2{'0' * 18}"),
        ({"datatype": "FP64"}, "inputs[0].datatype is FP64; the model takes FP32 for input 'x'"),
        ({"datatype": "float"}, "inputs[0].datatype 'float' is unknown; use one of BOOL, BYTES, FP16, FP32"),
        ({"data": ...}, "inputs[0].data is missing"),
        ({"data": 5}, "inputs[0].data: expected an array, got a whole number"),
        ({"data": {"b64": "AAAA"}}, "inputs[0].data: expected an array, got an object"),
        ({"data": ["NaN", 1]}, "inputs[0].data[0]: expected a number, got a string"),
        ({"data": [1, None]}, "inputs[0].data[1]: expected a number, got null"),
        ({"data": [1, True]}, "inputs[0].data[1]: expected a number, got a boolean"),
        ({"data": [1, [2]]}, "inputs[0].data[1]: expected a number, got an array"),
        ({"data": [[1, "a"]]}, "inputs[0].data[0][1]: expected a number, got a string"),
        ({"data": [[[1, 2]]]}, "inputs[0].data is nested 3 deep; it must be flat or nested like its shape"),
        ({"data": [[1, 2], [3]]}, "inputs[0].data is ragged; its rows must be of equal length"),
        ({"data": [[1], [2]]}, "inputs[0].data is nested as [2, 1]; its shape says [1, 2]"),
        ({"data": [1, float("nan")]}, "the body is not valid JSON: JSON is malformed: invalid character"),
        ({"parameters": []}, "inputs[0].parameters: expected an object, got an array"),
    ],
)
def test_faults_of_an_input_name_the_field(change: dict[str, Any], message: str) -> None:
    assert fault(one(**change)).startswith(message)


def columns(**change: Any) -> dict[str, Any]:
    age = {"name": "age", "shape": [2, 1], "datatype": "INT32", "data": [41, 42]}
    city = {"name": "city", "shape": [2], "datatype": "BYTES", "data": ["Bonn", "Ulm"]}
    return {"inputs": [age, city | change]}


def test_one_tensor_a_feature() -> None:
    arrays = arrays_of(encode(columns()), COLUMNS)
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "age": [[41], [42]],
        "city": ["Bonn", "Ulm"],
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"inputs": columns()["inputs"][:1]}, "inputs: 'city' is missing; the model takes 'age', 'city'"),
        ({"inputs": columns()["inputs"][:1] * 2}, "inputs[1].name 'age' is given twice"),
        (
            columns(shape=[1], data=["Bonn"]),
            "inputs: all must have the same number of rows, but there are 'age' 2, 'city' 1",
        ),
        (columns(data=["Bonn", 3]), "inputs[1].data[1]: expected a string, got a whole number"),
    ],
)
def test_faults_over_several_inputs(body: dict[str, Any], message: str) -> None:
    assert fault(encode(body), COLUMNS) == message


def test_long_lists_of_names_are_cut() -> None:
    wide = signature(*(Tensor(f"f{index}", "FP32", (-1,)) for index in range(200)))
    assert fault(b'{"inputs":[]}', wide).count("and 192 more") == 2


def outputs(*names: str) -> bytes:
    return encode(json.loads(one()) | {"outputs": [{"name": name} for name in names]})


def test_outputs_are_given_as_asked_for() -> None:
    assert outputs_of(one()) == ("label", "probabilities")
    assert outputs_of(outputs("probabilities")) == ("probabilities",)
    assert outputs_of(outputs("probabilities", "label")) == ("probabilities", "label")


def test_outputs_that_are_not_there() -> None:
    assert fault(outputs("label", "margin")) == (
        "outputs[1].name 'margin' is unknown; the model gives 'label', 'probabilities'"
    )
    assert fault(outputs("label", "label")) == "outputs[1].name 'label' is asked for twice"


def test_null_stands_for_absent() -> None:
    body = json.loads(one(parameters=None)) | {"id": None, "outputs": None, "parameters": None}
    call = take(encode(body), MATRIX)
    assert (call.id, call.outputs.names) == (None, ("label", "probabilities"))


def test_a_shape_that_does_not_fit_is_neither_multiplied_nor_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def prod(shape: list[int]) -> int:
        raise AssertionError(f"{len(shape)} lengths were multiplied; with a million that takes hours")

    monkeypatch.setattr(reader.math, "prod", prod)
    for model in (MATRIX, signature(Tensor("x", "FP32", (-1, 1)))):
        message = fault(one(shape=[10**18] * 1000), model)
        assert message.startswith("inputs[0].shape is [1000000000000000000, 1000")
        assert "…; the model takes [-1, " in message
        assert len(message) < 300


@pytest.mark.parametrize("length", [1 << 63, 9 * 10**4299], ids=["65 bits", "4300 digits"])
def test_a_length_beyond_64_bits_is_a_wrong_shape(length: int) -> None:
    assert fault(one(shape=[length, 2])).startswith(f"inputs[0].shape is [{str(length)[:19]}")
    model = signature(Tensor("x", "FP32", (-1, -1)))
    assert "the model takes [-1, -1]" in fault(one(shape=[1, length]), model)
