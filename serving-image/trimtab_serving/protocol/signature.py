"""A model's signature at work: request tensors become numpy arrays, or the request is refused with a reason.

Built once from `bundle.json`, so that answering a request looks nothing up twice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import msgspec
import numpy as np

from trimtab_serving.bundle import BundleInfo, Tensor
from trimtab_serving.protocol.datatypes import DATATYPES, Array, to_list
from trimtab_serving.protocol.errors import RequestError
from trimtab_serving.protocol.v2 import (
    InferRequest,
    RequestedOutput,
    RequestTensor,
    ResponseTensor,
    TensorMetadata,
    describe,
)

_BRACKETS = re.compile(rb"[\s\[]*")


class InputReader:
    """Checks and decodes one named input."""

    def __init__(self, tensor: Tensor) -> None:
        self.name = tensor.name
        self.shape = tensor.shape
        self.datatype = DATATYPES[tensor.datatype]
        self.rank = len(tensor.shape)
        self._free = [axis for axis, length in enumerate(tensor.shape) if length < 0]
        self._fixed = [(axis, length) for axis, length in enumerate(tensor.shape) if length >= 0]

    def read(self, tensor: RequestTensor, where: str) -> Array:
        """The tensor as an array of the model's type and a shape the model takes; `where` is for messages."""
        if tensor.datatype != self.datatype.name:
            raise RequestError(self._datatype_fault(tensor, where))
        if not self._fits(tensor.shape):
            raise RequestError(
                f"{where}.shape is {tensor.shape}; the model takes {list(self.shape)} for input {self.name!r}"
                f"{' (-1 is any length from 1)' if self._free else ''}"
            )
        raw = bytes(tensor.data)
        brackets = _BRACKETS.match(raw)
        depth = brackets[0].count(b"[") if brackets else 0
        if depth > 1 and depth != self.rank:
            raise RequestError(f"{where}.data is nested {depth} deep; it must be flat or nested like its shape")
        return self._array(raw, max(depth, 1), tensor.shape, where)

    def _fits(self, shape: Sequence[int]) -> bool:
        if len(shape) != self.rank:
            return False
        return all(shape[axis] == length for axis, length in self._fixed) and all(
            shape[axis] >= 1 for axis in self._free
        )

    def _array(self, raw: bytes, depth: int, shape: list[int], where: str) -> Array:
        try:
            values = self.datatype.decoder(depth)(raw)
        except msgspec.ValidationError as error:
            raise RequestError(describe(error, f"{where}.data")) from None
        except ValueError as error:
            raise RequestError(f"{where}.data is not valid JSON: {error}") from None
        if depth == 1 and len(values) != math.prod(shape):
            raise RequestError(f"{where}.data has {len(values)} values; shape {shape} needs {math.prod(shape)}")
        try:
            with np.errstate(over="raise"):
                array = np.array(values, self.datatype.dtype)
        except (OverflowError, FloatingPointError):
            raise RequestError(f"{where}.data holds a number out of range for {self.datatype.name}") from None
        except ValueError:
            raise RequestError(f"{where}.data is ragged; its rows must be of equal length") from None
        if depth > 1 and list(array.shape) != shape:
            raise RequestError(f"{where}.data is nested as {_dimensions(values)}; its shape says {shape}")
        return array.reshape(shape)

    def _datatype_fault(self, tensor: RequestTensor, where: str) -> str:
        if tensor.datatype not in DATATYPES:
            known = ", ".join(sorted(DATATYPES))
            return f"{where}.datatype {tensor.datatype[:32]!r} is unknown; use one of {known}"
        wanted = self.datatype.name
        return f"{where}.datatype is {tensor.datatype}; the model takes {wanted} for input {self.name!r}"


class Signature:
    """All inputs and outputs of a model."""

    def __init__(self, info: BundleInfo) -> None:
        self.inputs = {tensor.name: InputReader(tensor) for tensor in info.inputs}
        self.outputs = {tensor.name: tensor for tensor in info.outputs}
        self._all_outputs = tuple(self.outputs)

    def arrays(self, request: InferRequest) -> dict[str, Array]:
        """The request's inputs by name; RequestError when one is missing, unknown, doubled or wrong."""
        arrays: dict[str, Array] = {}
        for index, tensor in enumerate(request.inputs):
            reader = self.inputs.get(tensor.name)
            if reader is None:
                known = _names(self.inputs)
                raise RequestError(f"inputs[{index}].name {tensor.name[:128]!r} is unknown; the model takes {known}")
            if tensor.name in arrays:
                raise RequestError(f"inputs[{index}].name {tensor.name!r} is given twice")
            arrays[tensor.name] = reader.read(tensor, f"inputs[{index}]")
        if len(arrays) != len(self.inputs):
            missing = [name for name in self.inputs if name not in arrays]
            raise RequestError(f"inputs: {_names(missing)} is missing; the model takes {_names(self.inputs)}")
        if len(arrays) > 1:
            self._check_rows(arrays)
        return arrays

    def _check_rows(self, arrays: dict[str, Array]) -> None:
        rows = {
            name: array.shape[0]
            for name, array in arrays.items()
            if self.inputs[name].shape and self.inputs[name].shape[0] < 0
        }
        if len(set(rows.values())) > 1:
            told = ", ".join(f"{name!r} {count}" for name, count in list(rows.items())[:8])
            raise RequestError(f"inputs: all must have the same number of rows, but there are {told}")

    def selected(self, wanted: list[RequestedOutput] | None) -> tuple[str, ...]:
        """The names of the outputs to compute, in the order asked for; all of them when nothing was asked."""
        if not wanted:
            return self._all_outputs
        names = tuple(output.name for output in wanted)
        for index, name in enumerate(names):
            if name not in self.outputs:
                raise RequestError(
                    f"outputs[{index}].name {name[:128]!r} is unknown; the model gives {_names(self.outputs)}"
                )
            if name in names[:index]:
                raise RequestError(f"outputs[{index}].name {name!r} is asked for twice")
        return names

    def tensors(self, names: Sequence[str], arrays: Sequence[Array]) -> list[ResponseTensor]:
        """The model's arrays as response tensors."""
        tensors = []
        for name, array in zip(names, arrays, strict=True):
            datatype = DATATYPES[self.outputs[name].datatype]
            tensors.append(ResponseTensor(name, array.shape, datatype.name, to_list(array, datatype)))
        return tensors

    def metadata(self) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
        """Inputs and outputs as the protocol describes them."""
        inputs = [TensorMetadata(name, item.datatype.name, item.shape) for name, item in self.inputs.items()]
        outputs = [TensorMetadata(item.name, item.datatype, item.shape) for item in self.outputs.values()]
        return inputs, outputs


def _names(names: object) -> str:
    given = [repr(name) for name in names]  # type: ignore[attr-defined]
    more = f" and {len(given) - 8} more" if len(given) > 8 else ""
    return ", ".join(given[:8]) + more


def _dimensions(values: object) -> list[int]:
    lengths = []
    while isinstance(values, list):
        lengths.append(len(values))
        values = values[0] if values else None
    return lengths
