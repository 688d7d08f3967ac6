"""gRPC messages, right and wrong: an array of the model's type, or a message that says what is wrong."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.test_v2_messages import signature, tensors
from tests.thorough import examples
from trimtab_serving.protocol import binary
from trimtab_serving.protocol.datatypes import DATATYPES, Array
from trimtab_serving.protocol.errors import RequestError
from trimtab_serving.protocol.signature import Signature
from trimtab_serving.rpc import codec
from trimtab_serving.rpc.messages import MESSAGES

LISTS = {
    "bool_contents": st.booleans(),
    "int_contents": st.integers(-(2**31), 2**31 - 1),
    "int64_contents": st.integers(-(2**63), 2**63 - 1),
    "uint_contents": st.integers(0, 2**32 - 1),
    "uint64_contents": st.integers(0, 2**64 - 1),
    "fp32_contents": st.floats(width=32),
    "fp64_contents": st.floats(),
    "bytes_contents": st.binary(max_size=5),
}
SHAPES = st.sampled_from([[1, 2], [2, 2], [2], [2, 1], [0, 2], [-1, 2], [2**62, 2], []])


def request(tensor: dict[str, Any], raw: list[bytes]) -> Any:
    return MESSAGES["ModelInferRequest"](model_name="m", inputs=[tensor], raw_input_contents=raw)


@given(tensors())
@settings(deadline=None, max_examples=examples(150))
def test_arrays_survive_both_ways(drawn: tuple[str, Array]) -> None:
    datatype, array = drawn
    model = signature(datatype, array)
    raw = [binary.encode(array, DATATYPES[datatype])]
    call = codec.decode(request({"name": "x", "datatype": datatype, "shape": array.shape}, raw), model)
    np.testing.assert_array_equal(call.arrays["x"], array, strict=True)
    answer = codec.encode(call, [array], model, "m", "1")
    assert list(answer.raw_output_contents) == raw
    if datatype == "FP16":
        return
    typed = codec.encode(codec.Call(call.arrays, call.outputs), [array], model, "m", "1").outputs[0]
    again = {"name": "x", "datatype": datatype, "shape": typed.shape, "contents": typed.contents}
    np.testing.assert_array_equal(codec.decode(request(again, []), model).arrays["x"], array, strict=True)


def outcome(model: Signature, sent: Any) -> Array | RequestError:
    try:
        return codec.decode(sent, model).arrays["x"]
    except RequestError as error:
        return error


@given(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["x", "y", ""]),
            "datatype": st.sampled_from([*DATATYPES, "", "FLOAT"]),
            "shape": SHAPES,
        },
        optional={
            "contents": st.fixed_dictionaries(
                {}, optional={name: st.lists(values, max_size=4) for name, values in LISTS.items()}
            )
        },
    ),
    st.lists(st.binary(max_size=16), max_size=2),
    st.sampled_from(["FP32", "FP64", "INT8", "BYTES", "BOOL"]),
)
@settings(deadline=None, max_examples=examples(500))
def test_any_message_is_read_or_refused(tensor: dict[str, Any], raw: list[bytes], datatype: str) -> None:
    model = signature(datatype, np.zeros((1, 2), np.float32))
    got = outcome(model, request(tensor, raw))
    if isinstance(got, RequestError):
        assert (got.status, bool(got.message.strip())) == (400, True)
        return
    assert got.dtype == DATATYPES[datatype].dtype
    assert list(got.shape) == tensor["shape"]
    assert got.dtype.kind != "f" or np.isfinite(got).all()
