"""gRPC's messages as calls of a model, through the same readers as JSON: what is wrong is told in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trimtab_serving.protocol import binary
from trimtab_serving.protocol.datatypes import DATATYPES, Array, Datatype, to_list
from trimtab_serving.protocol.errors import RequestError
from trimtab_serving.protocol.reader import InputReader
from trimtab_serving.protocol.signature import Signature
from trimtab_serving.protocol.v2_codec import Call
from trimtab_serving.rpc.messages import MESSAGES

_LISTS = {
    "BOOL": "bool_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
    **{f"INT{bits}": "int_contents" for bits in (8, 16, 32)},
    **{f"UINT{bits}": "uint_contents" for bits in (8, 16, 32)},
}


def decode(request: Any, signature: Signature) -> Call:
    """The call that a ModelInferRequest asks for; RequestError names the field at fault."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise RequestError(f"raw_input_contents has {len(raw)} entries for {len(request.inputs)} inputs")
    tensors = request.inputs

    def read(reader: InputReader, index: int) -> Array:
        tensor, where = tensors[index], f"inputs[{index}]"
        shape = list(tensor.shape)
        if not raw:
            return _typed(reader, tensor, shape, where)
        if tensor.HasField("contents"):
            raise RequestError(f"{where} has both contents and raw_input_contents; send one of them")
        return reader.read_raw(tensor.datatype, shape, raw[index], where)

    outputs = signature.selected(list(request.outputs))
    return Call(signature.arrays(tensors, read), outputs, request.id or None, (True,) if raw else ())


def _typed(reader: InputReader, tensor: Any, shape: list[int], where: str) -> Array:
    datatype, wanted = reader.check(tensor.datatype, shape, where)
    if datatype.name not in _LISTS:
        raise RequestError(f"{where}.datatype is {datatype.name}, which has no contents; send raw_input_contents")
    used = [field.name for field, _ in tensor.contents.ListFields()]
    name = _LISTS[datatype.name]
    if used != [name]:
        raise RequestError(f"{where}.contents has {', '.join(used) or 'nothing'}; {datatype.name} needs {name}")
    values = getattr(tensor.contents, name)
    count = int(np.prod(wanted, dtype=object))
    if len(values) != count:
        raise RequestError(f"{where}.contents has {len(values)} values; shape {shape} needs {count}")
    return reader.admit(_array(values, datatype, where), wanted, where)


def _array(values: Sequence[Any], datatype: Datatype, where: str) -> Array:
    try:
        if datatype.element is str:
            return np.array([value.decode() for value in values], object)
        return np.array(list(values), datatype.dtype)
    except UnicodeDecodeError:
        raise RequestError(f"{where}.contents holds bytes that are no UTF-8 text") from None
    except OverflowError:
        raise RequestError(f"{where}.contents holds a number out of range for {datatype.name}") from None


def encode(call: Call, results: Sequence[Array], signature: Signature, name: str, version: str) -> Any:
    """The answer to `call`, raw when the request was."""
    answer = MESSAGES["ModelInferResponse"](model_name=name, model_version=version, id=call.id or "")
    for asked, known, array in zip(call.outputs.asked, call.outputs.names, results, strict=True):
        datatype = signature.output_types[known]
        tensor = answer.outputs.add(name=asked, datatype=datatype.name, shape=array.shape)
        if call.binary:
            answer.raw_output_contents.append(binary.encode(array, datatype))
            continue
        values = to_list(array, datatype)
        texts = [text.encode() for text in values] if datatype is DATATYPES["BYTES"] else values
        getattr(tensor.contents, _LISTS[datatype.name]).extend(texts)
    return answer
