"""V2 messages against numpy: whatever array goes in as JSON is the array the model sees, and back again."""

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.thorough import examples
from trimtab_serving.bundle import BundleInfo, Tensor
from trimtab_serving.protocol import binary
from trimtab_serving.protocol.datatypes import DATATYPES, Array
from trimtab_serving.protocol.errors import RequestError
from trimtab_serving.protocol.signature import Signature
from trimtab_serving.protocol.v2_codec import V2Codec

JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, Array]:
    datatype = draw(st.sampled_from(sorted(DATATYPES)))
    shape = draw(arrays.array_shapes(min_dims=1, max_dims=4, max_side=4))
    dtype = DATATYPES[datatype].dtype
    if datatype == "BYTES":
        size = int(np.prod(shape))
        texts = draw(st.lists(st.text(max_size=5), min_size=size, max_size=size))
        return datatype, np.array(texts, object).reshape(shape)
    elements = arrays.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    return datatype, draw(arrays.arrays(dtype, shape, elements=elements))


def signature(datatype: str, array: Array) -> Signature:
    tensor = Tensor("x", datatype, (-1, *array.shape[1:]))  # type: ignore[arg-type]
    info = BundleInfo(format="ONNX", flavor="onnx", runtime="onnx", inputs=(tensor,), outputs=(tensor,))
    return Signature(info)


def outcome(model: Signature, body: bytes) -> Array | RequestError:
    try:
        return V2Codec("m", "1", model).decode(body).arrays["x"]
    except RequestError as error:
        return error


@given(tensors(), st.booleans())
@settings(deadline=None, max_examples=examples(150))
def test_arrays_survive_both_ways(drawn: tuple[str, Array], nested: bool) -> None:
    datatype, array = drawn
    model = signature(datatype, array)
    data = array.tolist() if nested else array.ravel().tolist()
    body = {"inputs": [{"name": "x", "shape": array.shape, "datatype": datatype, "data": data}]}
    codec = V2Codec("m", "1", model)
    call = codec.decode(json.dumps(body).encode())
    np.testing.assert_array_equal(call.arrays["x"], array, strict=True)

    answer = json.loads(codec.encode(call, [call.arrays["x"]]).body)["outputs"][0]
    assert (answer["shape"], answer["datatype"]) == (list(array.shape), datatype)
    back = np.array(answer["data"], DATATYPES[datatype].dtype).reshape(array.shape)
    np.testing.assert_array_equal(back, array, strict=True)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "id": JSON_VALUES,
            "outputs": JSON_VALUES,
            "inputs": JSON_VALUES
            | st.lists(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "name": st.just("x") | JSON_VALUES,
                        "shape": st.just([1, 2]) | st.lists(st.integers()) | JSON_VALUES,
                        "datatype": st.just("FP32") | JSON_VALUES,
                        "data": st.lists(JSON_VALUES, max_size=3) | JSON_VALUES,
                    },
                ),
                max_size=2,
            ),
        },
    )
)
@settings(deadline=None, max_examples=examples(300))
def test_any_json_is_answered_or_refused_with_a_message(body: dict[str, Any]) -> None:
    model = signature("FP32", np.zeros((1, 2), np.float32))
    read = outcome(model, json.dumps(body).encode())
    if isinstance(read, RequestError):
        assert (read.status, bool(read.message.strip())) == (400, True)
        return
    assert read.dtype == np.float32
    assert list(read.shape) == body["inputs"][0]["shape"]


@given(tensors(), tensors())
@settings(deadline=None, max_examples=examples(150))
def test_arrays_survive_both_ways_as_bytes(drawn: tuple[str, Array], other: tuple[str, Array]) -> None:
    model = two_inputs(drawn, other)
    codec = V2Codec("m", "1", model)
    sent = [(name, datatype, array) for name, (datatype, array) in zip("xy", (drawn, other), strict=True)]
    tails = [binary.encode(array, DATATYPES[datatype]) for _, datatype, array in sent]
    inputs = [
        {"name": name, "shape": array.shape, "datatype": datatype, "parameters": {"binary_data_size": len(tail)}}
        for (name, datatype, array), tail in zip(sent, tails, strict=True)
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    call = codec.decode(head + b"".join(tails), len(head))
    for name, _, array in sent:
        np.testing.assert_array_equal(call.arrays[name], array, strict=True)

    answer, length = codec.encode(call, [array for _, _, array in sent])
    told = json.loads(answer[:length])["outputs"]
    assert [output["parameters"]["binary_data_size"] for output in told] == [len(tail) for tail in tails]
    assert answer[length:] == b"".join(tails)


def two_inputs(first: tuple[str, Array], second: tuple[str, Array]) -> Signature:
    tensors = tuple(
        Tensor(name, datatype, array.shape)  # type: ignore[arg-type]
        for name, (datatype, array) in zip("xy", (first, second), strict=True)
    )
    return Signature(BundleInfo(format="ONNX", flavor="onnx", runtime="onnx", inputs=tensors, outputs=tensors))


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=examples(150))
def test_any_bytes_are_refused_with_a_message(body: bytes) -> None:
    model = signature("FP32", np.zeros((1, 2), np.float32))
    refusal = outcome(model, body)
    assert isinstance(refusal, RequestError)
    assert (refusal.status, bool(refusal.message.strip())) == (400, True)
