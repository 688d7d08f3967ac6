"""Inputs of a narrower datatype than the model's are taken when nothing can be lost, and refused by name otherwise."""

import json
from typing import Any

import numpy as np
import pytest

from trimtab_serving.bundle import BundleInfo, Tensor
from trimtab_serving.protocol.datatypes import DATATYPES, Array
from trimtab_serving.protocol.errors import RequestError
from trimtab_serving.protocol.signature import Signature
from trimtab_serving.protocol.v2_codec import V2Codec

NUMBERS = [name for name in DATATYPES if name not in ("BOOL", "BYTES")]
SIGNIFICANT = {"FP16": 11, "FP32": 24, "FP64": 53}
PAIRS = [(given, wanted) for given in DATATYPES for wanted in DATATYPES]


def bounds(name: str) -> tuple[int, int]:
    """The least and the largest whole number of an integer datatype."""
    bits = int(name.removeprefix("U").removeprefix("INT"))
    return (0, (1 << bits) - 1) if name.startswith("U") else (-(1 << bits - 1), (1 << bits - 1) - 1)


def holds(wanted: str, given: str) -> bool:
    """Whether a request may send `given` where the model declares `wanted`, by the sizes of the types alone."""
    if given == wanted:
        return True
    if given not in NUMBERS or wanted not in NUMBERS or (given in SIGNIFICANT and wanted not in SIGNIFICANT):
        return False
    if given in SIGNIFICANT:
        return SIGNIFICANT[given] < SIGNIFICANT[wanted]
    least, most = bounds(given)
    if wanted in SIGNIFICANT:
        return wanted == "FP64" or most.bit_length() <= SIGNIFICANT[wanted]
    return bounds(wanted)[0] <= least and most <= bounds(wanted)[1]


def codec(declared: str) -> V2Codec:
    info = BundleInfo(
        format="ONNX",
        flavor="onnx",
        runtime="onnx",
        inputs=(Tensor("x", declared, (-1, 2)),),
        outputs=(Tensor("y", "FP32", (-1,)),),
    )
    return V2Codec("m", "1", Signature(info))


def as_json(declared: str, given: str, values: list[Any]) -> Array:
    tensor = {"name": "x", "shape": [len(values) // 2, 2], "datatype": given, "data": values}
    return codec(declared).decode(json.dumps({"inputs": [tensor]}).encode()).arrays["x"]


def as_binary(declared: str, given: str, values: list[Any]) -> Array:
    if given == "BYTES":
        tail = b"".join(len(value).to_bytes(4, "little") + value.encode() for value in values)
    else:
        tail = np.array(values, DATATYPES[given].dtype).tobytes()
    tensor = {"name": "x", "shape": [len(values) // 2, 2], "datatype": given}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(tail)}}]}).encode()
    return codec(declared).decode(head + tail, len(head)).arrays["x"]


def extremes(given: str, wanted: str) -> list[Any]:
    """The values of `given` that a too narrow type would lose."""
    if given == "BOOL":
        return [True, False]
    if given == "BYTES":
        return ["a", ""]
    if given in SIGNIFICANT:
        limits = np.finfo(DATATYPES[given].dtype)
        return [float(limits.max), float(limits.min), float(limits.smallest_subnormal), 1 + float(limits.eps)]
    least, most = bounds(given)
    if wanted in SIGNIFICANT and most > 1 << 53:
        return [max(least, -(1 << 53)), 1 << 53, 0, (1 << 53) - 1]
    return [least, most, most - 1, 1]


@pytest.mark.parametrize("send", [as_json, as_binary])
@pytest.mark.parametrize(("given", "wanted"), PAIRS)
def test_a_datatype_is_taken_just_when_the_models_holds_it(given: str, wanted: str, send: Any) -> None:
    values = extremes(given, wanted)
    if not holds(wanted, given):
        message = rf"inputs\[0\].datatype is {given}; the model takes {wanted} for input 'x'$"
        with pytest.raises(RequestError, match=message) as error:
            send(wanted, given, values)
        assert (error.value.status, error.value.tensor) == (400, "x")
        return
    array = send(wanted, given, values)
    assert array.dtype == DATATYPES[wanted].dtype
    assert array.ravel().tolist() == values


@pytest.mark.parametrize("send", [as_json, as_binary])
@pytest.mark.parametrize(
    ("given", "lost"), [("INT64", (1 << 53) + 1), ("INT64", -(1 << 63)), ("UINT64", (1 << 64) - 1)]
)
def test_a_whole_number_that_fp64_cannot_be_trusted_with_is_refused(given: str, lost: int, send: Any) -> None:
    with pytest.raises(RequestError, match=f"holds {lost}; as the FP64 of input 'x' it would lose digits") as error:
        send("FP64", given, [1, lost])
    assert (error.value.status, error.value.tensor) == (400, "x")
    assert send(given, given, [1, lost]).tolist() == [[1, lost]]


def test_a_fault_in_a_column_of_the_matrix_is_the_matrix_fault() -> None:
    info = BundleInfo(
        format="ONNX",
        flavor="onnx",
        runtime="onnx",
        inputs=(Tensor("x", "FP32", (-1, 2), ("age", "income")),),
        outputs=(Tensor("y", "FP32", (-1,)),),
    )
    tensors = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1]} for name in ("age", "income")]
    with pytest.raises(RequestError, match="the model takes FP32 for input 'age'") as error:
        V2Codec("m", "1", Signature(info)).decode(json.dumps({"inputs": tensors}).encode())
    assert error.value.tensor == "x"
