"""Rows in their three shapes: a table (for people and sampling), tensors (for servers), features (for estimators).

The step from tensors to features is the one the Python runtime takes in a pod. Everything an import compares
goes through tensors first, so it sees the same rounding of numbers and the same text as a request would.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trimtab_serving.bundle import Tensor

Tensors = dict[str, NDArray[Any]]

NUMPY_TYPES: Mapping[str, Any] = {
    "BOOL": np.bool_,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}


def is_matrix(inputs: Sequence[Tensor]) -> bool:
    """Whether the model takes one tensor with all features, and not one tensor a column."""
    return len(inputs) == 1


def column_names(inputs: Sequence[Tensor]) -> list[str]:
    """The features' names; of an unnamed matrix, their positions."""
    if not is_matrix(inputs):
        return [tensor.name for tensor in inputs]
    columns = inputs[0].columns
    return list(columns) if columns is not None else [str(index) for index in range(inputs[0].shape[-1])]


def column_datatypes(inputs: Sequence[Tensor]) -> list[str]:
    """The datatype of each feature, in the order of `column_names`."""
    if not is_matrix(inputs):
        return [tensor.datatype for tensor in inputs]
    return [inputs[0].datatype] * inputs[0].shape[-1]


def to_tensors(table: pd.DataFrame, inputs: Sequence[Tensor]) -> Tensors:
    """The tensors a request with these rows has: shape [rows, features], or [rows, 1] a column."""
    if is_matrix(inputs):
        return {inputs[0].name: _array(table, inputs[0].datatype)}
    return {tensor.name: _array(table[[tensor.name]], tensor.datatype) for tensor in inputs}


def to_features(tensors: Tensors, inputs: Sequence[Tensor]) -> pd.DataFrame | NDArray[Any]:
    """What the estimator gets: a table when the columns have names, the bare matrix otherwise."""
    if not is_matrix(inputs):
        return pd.DataFrame({tensor.name: tensors[tensor.name][:, 0] for tensor in inputs})
    matrix = tensors[inputs[0].name]
    return matrix if inputs[0].columns is None else pd.DataFrame(matrix, columns=list(inputs[0].columns))


def to_request(tensors: Tensors, inputs: Sequence[Tensor]) -> bytes:
    """The V2 inference request with these tensors, always the same bytes for the same rows."""
    body = {
        "inputs": [
            {
                "name": tensor.name,
                "shape": list(tensors[tensor.name].shape),
                "datatype": tensor.datatype,
                "data": [None if value != value else value for value in tensors[tensor.name].ravel().tolist()],
            }
            for tensor in inputs
        ]
    }
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _array(table: pd.DataFrame, datatype: str) -> NDArray[Any]:
    if datatype == "BYTES":
        # A missing text is NaN, as it is to pandas and scikit-learn; None would be a value like others to them.
        texts = [[np.nan if pd.isna(value) else str(value) for value in row] for row in table.to_numpy(object)]
        return np.array(texts, dtype=object).reshape(table.shape)
    return np.ascontiguousarray(table.to_numpy(dtype=NUMPY_TYPES[datatype]))
