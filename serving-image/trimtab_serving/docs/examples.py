"""Requests that have the right form for a model, made from nothing but its metadata."""

from __future__ import annotations

import math
from typing import Any

from msgspec import UNSET

from trimtab_serving.protocol.datatypes import DATATYPES
from trimtab_serving.protocol.v2 import ModelMetadata, TensorMetadata

_VALUES: dict[type, float | int | bool | str] = {float: 0.5, int: 1, bool: True, str: "text"}


def v2_request(metadata: ModelMetadata) -> dict[str, Any]:
    """A V2 request of one row."""
    tensors = []
    for tensor in metadata.inputs:
        shape = [max(length, 1) for length in tensor.shape]
        data = [value(tensor)] * min(math.prod(shape), 1024)
        tensors.append({"name": tensor.name, "shape": shape, "datatype": tensor.datatype, "data": data})
    return {"inputs": tensors}


def v1_request(metadata: ModelMetadata) -> dict[str, Any]:
    """A V1 request of one row, by the columns' names where they have names."""
    if len(metadata.inputs) > 1:
        return {"instances": [{tensor.name: value(tensor) for tensor in metadata.inputs}]}
    tensor = metadata.inputs[0]
    if tensor.parameters is not UNSET:
        return {"instances": [dict.fromkeys(tensor.parameters["columns"], value(tensor))]}
    row: Any = value(tensor)
    for length in reversed(tensor.shape[1:]):
        row = [row] * min(max(length, 1), 1024)
    return {"instances": [row]}


def value(tensor: TensorMetadata) -> float | int | bool | str:
    """Some value of the tensor's datatype."""
    return _VALUES[DATATYPES[tensor.datatype].element]
