"""V2 requests and answers, as JSON alone or as JSON with the tensors' bytes behind it.

In the binary form a header says how long the JSON is. Each input with `binary_data_size` takes so many of the bytes
that follow, in the order of the inputs; outputs are given back in the same way to clients that ask for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from trimtab_serving.protocol import binary, finite
from trimtab_serving.protocol.datatypes import Array, to_list
from trimtab_serving.protocol.errors import RequestError
from trimtab_serving.protocol.reader import InputReader
from trimtab_serving.protocol.signature import Selection, Signature, blaming
from trimtab_serving.protocol.v2 import (
    InferRequest,
    InferResponse,
    RequestTensor,
    ResponseTensor,
    decode_request,
    encode,
)


class Call(msgspec.Struct, frozen=True):
    """A request that is understood: what to compute, and what the answer must repeat.

    `binary` has one truth an output; empty means that none is binary. `id` is the client's, not ours.
    """

    arrays: Mapping[str, Array]
    outputs: Selection
    id: str | None = None
    binary: tuple[bool, ...] = ()


class Encoded(NamedTuple):
    """An answer's bytes; `json_length` is how many of them are JSON, None when all are."""

    body: bytes
    json_length: int | None = None


class V2Codec:
    """Between V2 messages and calls of one model."""

    def __init__(self, name: str, version: str, signature: Signature) -> None:
        self._name = name
        self._version = version
        self._signature = signature
        readers = list(signature.inputs.values())
        # Most models take one tensor and most requests bring it: no need to look for it among many.
        self._only = readers[0] if len(readers) == 1 else None

    def decode(self, body: bytes, json_length: int | None = None) -> Call:
        """The call that `body` asks for; RequestError names the field at fault."""
        if json_length is None:
            request, tail = decode_request(body), b""
        elif json_length > len(body):
            message = f"Inference-Header-Content-Length is {json_length}, but the body has {len(body)} bytes"
            raise RequestError(message)
        else:
            request, tail = decode_request(body[:json_length]), body[json_length:]
        outputs = self._signature.selected(request.outputs)
        tensors = request.inputs
        if json_length is not None:
            arrays = self._with_tail(tensors, tail)
        else:

            def read(reader: InputReader, index: int) -> Array:
                return reader.read(tensors[index], f"inputs[{index}]")

            if self._only is not None and len(tensors) == 1 and tensors[0].name == self._only.name:
                arrays = {self._only.name: blaming(self._only.name, read, self._only, 0)}
            else:
                arrays = self._signature.arrays(tensors, read)
        return Call(arrays, outputs, request.id, _binary_outputs(request, len(outputs.names)))

    def _with_tail(self, tensors: Sequence[RequestTensor], tail: bytes) -> dict[str, Array]:
        parts = _parts(tensors, tail)

        def read(reader: InputReader, index: int) -> Array:
            tensor, part = tensors[index], parts[index]
            if part is None:
                return reader.read(tensor, f"inputs[{index}]")
            return reader.read_raw(tensor.datatype, tensor.shape, part, f"inputs[{index}]")

        return self._signature.arrays(tensors, read)

    def encode(self, call: Call, results: Sequence[Array]) -> Encoded:
        """The answer to `call`; RequestError when JSON cannot say it."""
        asked, names = call.outputs
        tails: list[bytes] = []
        tensors = []
        for index, array in enumerate(results):
            datatype = self._signature.output_types[names[index]]
            if call.binary and call.binary[index]:
                tails.append(binary.encode(array, datatype))
                tensor = ResponseTensor(asked[index], array.shape, datatype.name, UNSET, _size(tails[-1]))
            else:
                tensor = ResponseTensor(asked[index], array.shape, datatype.name, to_list(array, datatype))
            tensors.append(tensor)
        head = encode(InferResponse(self._name, self._version, tensors, UNSET if call.id is None else call.id))
        if finite.SUSPECT in head:
            told = [index for index in range(len(results)) if not (call.binary and call.binary[index])]
            finite.check([asked[index] for index in told], [results[index] for index in told], call.arrays)
        return Encoded(b"".join((head, *tails)), len(head)) if tails else Encoded(head)


def _size(tail: bytes) -> dict[str, int]:
    return {"binary_data_size": len(tail)}


def _parts(tensors: Sequence[RequestTensor], tail: bytes) -> list[memoryview | None]:
    """Each input's piece of the bytes behind the JSON; None for those that come as JSON."""
    parts: list[memoryview | None] = []
    start = 0
    for index, tensor in enumerate(tensors):
        where = f"inputs[{index}]"
        size = (tensor.parameters or {}).get("binary_data_size")
        if size is None:
            parts.append(None)
            continue
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise RequestError(f"{where}.parameters.binary_data_size: expected a whole number of bytes")
        if bytes(tensor.data):
            raise RequestError(f"{where} has both data and parameters.binary_data_size; send one of them")
        if start + size > len(tail):
            raise RequestError(f"{where} has {len(tail) - start} bytes left of its {size} of binary data")
        parts.append(memoryview(tail)[start : start + size])
        start += size
    if start != len(tail):
        raise RequestError(f"the body has {len(tail) - start} bytes more than binary_data_size of all inputs say")
    return parts


def _binary_outputs(request: InferRequest, count: int) -> tuple[bool, ...]:
    if not request.parameters and not request.outputs:
        return ()
    default = _truth(request.parameters, "binary_data_output", "parameters", False)
    if not request.outputs:
        return (default,) * count if default else ()
    wanted = tuple(
        _truth(output.parameters, "binary_data", f"outputs[{index}].parameters", default)
        for index, output in enumerate(request.outputs)
    )
    return wanted if any(wanted) else ()


def _truth(parameters: dict[str, Any] | None, name: str, where: str, default: bool) -> bool:
    value = (parameters or {}).get(name, default)
    if not isinstance(value, bool):
        raise RequestError(f"{where}.{name}: expected true or false")
    return value
