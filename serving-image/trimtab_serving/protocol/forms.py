"""Requests that differ in their numbers alone: understood once, then only the numbers are read.

A client of a model sends the same JSON again and again with other values in `data`. What stands before and behind
the values is remembered together with what it means. When it comes again, the values of all such requests of one
batch are decoded in one go, and the answers are put together around values alike. JSON lets any value take the place
of any other without a change to what surrounds it, and a probe has shown that this place is the tensor's data.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence

from trimtab_serving.protocol import finite
from trimtab_serving.protocol.datatypes import Array, Datatype, to_list
from trimtab_serving.protocol.errors import RequestError
from trimtab_serving.protocol.reader import InputReader
from trimtab_serving.protocol.signature import Selection, Signature
from trimtab_serving.protocol.v2 import InferResponse, ResponseTensor, decode_request, encode

MAX_FORMS = 256
MAX_BYTES = 1024
"""Of what surrounds the values."""

_DATA = b'"data"'
_EMPTY = b'"data":[]'
_PROBE = b"[[3],0]"


class Form:
    """What the requests of one form share: `rows` each, the outputs they want, the frame of their answers."""

    def __init__(self, reader: InputReader, datatype: Datatype, shape: Sequence[int], outputs: Selection) -> None:
        self._reader, self._datatype, self._shape = reader, datatype, list(shape)
        self.rows = shape[0]
        self.outputs = outputs
        self._frame: list[bytes] = []
        self._shapes: list[tuple[int, ...]] = []

    def read(self, values: Sequence[bytes]) -> Mapping[str, Array]:
        """The rows of requests with these values, one request behind the other; RequestError when any is wrong."""
        return {self._reader.name: self._reader.read_together(self._datatype, self._shape, values)}

    def answers(self, frames: Frames, results: Sequence[Array], requests: int) -> list[bytes]:
        """The bodies for so many requests; RequestError when JSON cannot say one, ValueError for rows that lack."""
        if any(len(result) != self.rows * requests for result in results):
            raise ValueError("the model does not answer row by row")
        shapes = [(self.rows, *result.shape[1:]) for result in results]
        if shapes != self._shapes:
            self._frame, self._shapes = frames.frame(self.outputs, shapes), shapes
        columns = []
        for name, result, shape in zip(self.outputs.names, results, shapes, strict=True):
            values, each = to_list(result, frames.types[name]), math.prod(shape)
            told = [encode(values[start : start + each]) for start in range(0, len(values), each)]
            if any(finite.SUSPECT in one for one in told):
                raise RequestError("an answer may hold what JSON cannot say")
            columns.append(told)
        first, *between = self._frame
        return [
            first + b"".join([value + after for value, after in zip(row, between, strict=True)])
            for row in zip(*columns, strict=True)
        ]


class Frames:
    """All forms that were met, of one model."""

    def __init__(self, name: str, version: str, signature: Signature) -> None:
        self._name, self._version = name, version
        self._signature = signature
        self.types = signature.output_types
        self._forms: dict[tuple[bytes, bytes], Form] = {}

    def find(self, body: bytes) -> tuple[Form, bytes] | None:
        """The form of a request and its values; None when it is of none that is known."""
        start, end = _place(body)
        form = self._forms.get((body[:start], body[end:]))
        return None if form is None else (form, body[start:end])

    def learn(self, body: bytes) -> None:
        """Remember the form of a request that was answered, if it has one."""
        start, end = _place(body)
        head, tail = body[:start], body[end:]
        if body.count(_DATA) != 1 or end < 0 or len(head) + len(tail) > MAX_BYTES:
            return
        form = None
        with contextlib.suppress(RequestError):  # the probe does not fit where this is
            form = self._form(head[:-1] + _PROBE + tail[1:])
        if form is not None:
            if len(self._forms) >= MAX_FORMS:
                self._forms.clear()
            self._forms[head, tail] = form

    def _form(self, probe: bytes) -> Form | None:
        request = decode_request(probe)
        tensor, readers = request.inputs[0], self._signature.inputs
        wanted = request.outputs or []
        if len(request.inputs) != 1 or len(readers) != 1 or tensor.name not in readers:
            return None
        if bytes(tensor.data) != _PROBE or not self._signature.row_by_row or request.id is not None:
            return None
        if request.parameters or tensor.parameters or any(output.parameters for output in wanted):
            return None
        reader = readers[tensor.name]
        datatype, shape = reader.check(tensor.datatype, tensor.shape, "inputs[0]")
        return Form(reader, datatype, shape, self._signature.selected(request.outputs))

    def frame(self, outputs: Selection, shapes: Sequence[tuple[int, ...]]) -> list[bytes]:
        """What stands before, between and behind the values of an answer."""
        tensors = [
            ResponseTensor(asked, shape, self.types[name].name, [])
            for asked, name, shape in zip(*outputs, shapes, strict=True)
        ]
        parts = encode(InferResponse(self._name, self._version, tensors)).split(_EMPTY)
        return [part + b'"data":' for part in parts[:-1]] + parts[-1:]


def _place(body: bytes) -> tuple[int, int]:
    """From where to where the values are, if this is a request of one tensor with flat data."""
    start = body.find(b"[", body.find(_DATA)) + 1
    return start, body.find(b"]", start)
