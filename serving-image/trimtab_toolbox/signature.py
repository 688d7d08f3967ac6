"""The inputs of a model, from the signature logged with it or from what the estimator remembers.

Clients see these inputs, so they must not depend on whether the conversion to ONNX succeeded: numbers are
declared as they were logged (FP64 when nothing is known), and the graph narrows them itself. Columns that are all
numbers make one matrix; as soon as one is text, each column is an input of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from trimtab_serving.bundle import Datatype, Tensor
from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.opened import Schema

if TYPE_CHECKING:
    import pandas as pd

MATRIX = "input"
"""The name of the one input of models that take a matrix."""

_COLUMN_TYPES: Mapping[str, Datatype] = {
    "boolean": "BOOL",
    "integer": "INT32",
    "long": "INT64",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
}
_ARRAY_TYPES: Mapping[str, Datatype] = {
    "bool": "BOOL",
    "int32": "INT32",
    "int64": "INT64",
    "float32": "FP32",
    "float64": "FP64",
}


def schema_of_signature(signature: Any) -> Schema | None:
    """The schema that an MLflow signature describes; None without one. UnsupportedFormat for odd types."""
    inputs = getattr(signature, "inputs", None)
    if inputs is None or not inputs.inputs:
        return None
    if inputs.is_tensor_spec():
        return _matrix_schema(inputs.inputs)
    names = [str(name) for name in inputs.input_names()]
    types = [_column_type(column) for column in inputs.inputs]
    optional = frozenset(name for name, column in zip(names, inputs.inputs, strict=True) if not column.required)
    return Schema(column_inputs(names, types), optional)


def schema_of_estimator(model: Any, example: pd.DataFrame | None) -> Schema:
    """The schema that can be told without a signature: from a logged example, or from the fitted estimator."""
    if example is not None:
        from mlflow.models import infer_signature

        schema = schema_of_signature(infer_signature(example))
        if schema is not None:
            return schema
    count = getattr(model, "n_features_in_", None)
    if count is None:
        message = (
            f"{type(model).__name__} does not know how many features it takes (n_features_in_), and no signature was "
            "logged; log it to MLflow with a signature or an input example"
        )
        raise Failure(Reason.LOAD_FAILED, message)
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        return Schema((Tensor(MATRIX, "FP64", (-1, int(count))),))
    from trimtab_toolbox.evidence import observed_categories

    columns = [str(name) for name in names]
    known = observed_categories(model, columns)
    texts = [name for name, values in known.items() if any(isinstance(value, str) for value in values)]
    types: list[Datatype] = ["BYTES" if name in texts else "FP64" for name in columns]
    # An encoder that knows a missing value as a category was trained on some.
    return Schema(column_inputs(columns, types), frozenset(name for name in texts if _misses(known[name])))


def _misses(values: Sequence[Any]) -> bool:
    return any(value is None or value != value for value in values)


def column_inputs(names: Sequence[str], types: Sequence[Datatype]) -> tuple[Tensor, ...]:
    """One matrix for columns that are all numbers (or for a single one), otherwise one [-1, 1] input a column."""
    kinds = set(types)
    if "BYTES" in kinds and len(names) > 1:
        return tuple(Tensor(name, kind, (-1, 1)) for name, kind in zip(names, types, strict=True))
    kind: Datatype = next(iter(kinds)) if len(kinds) == 1 else "FP64"
    if kinds == {"INT32", "INT64"}:
        kind = "INT64"
    return (Tensor(MATRIX, kind, (-1, len(names)), tuple(names)),)


def with_missing(schema: Schema, *, everywhere: bool) -> Schema:
    """The schema whose tensors say where values may be missing: in optional columns, or `everywhere`.

    Whole numbers and booleans have no value that could stand for a missing one.
    """
    inputs = tuple(
        msgspec.structs.replace(tensor, missing=_missing(tensor, schema.optional, everywhere))
        for tensor in schema.inputs
    )
    names = [name for tensor in schema.inputs for name in _names(tensor)]
    return Schema(inputs, frozenset(names) if everywhere else schema.optional)


def _missing(tensor: Tensor, optional: frozenset[str], everywhere: bool) -> bool | tuple[str, ...]:
    if tensor.datatype not in ("FP32", "FP64", "BYTES"):
        return False
    names = _names(tensor)
    lacking = tuple(name for name in names if everywhere or name in optional)
    return lacking if 0 < len(lacking) < len(names) else bool(lacking)


def _names(tensor: Tensor) -> tuple[str, ...]:
    if tensor.shape == (-1, 1) and tensor.columns is None:
        return (tensor.name,)
    return tensor.columns or tuple(str(index) for index in range(tensor.shape[-1]))


def example_table(example: Any, schema: Schema | None) -> pd.DataFrame | None:
    """The logged example as a table with the schema's columns, or None if it cannot be one."""
    import numpy as np
    import pandas as pd

    if isinstance(example, pd.DataFrame):
        table = example
    elif isinstance(example, (np.ndarray, list)) and np.ndim(example) == 2:
        table = pd.DataFrame(np.asarray(example))
    else:
        return None
    if schema is not None and len(schema.inputs) == 1:
        columns = schema.inputs[0].columns
        if columns is not None and len(columns) == table.shape[1]:
            table = table.set_axis(list(columns), axis=1)
    return table


def _column_type(column: Any) -> Datatype:
    kind = getattr(column.type, "name", str(column.type))
    if kind not in _COLUMN_TYPES:
        message = (
            f"the signature's column {column.name!r} has the type {kind}, which the prediction protocol does not "
            f"know; log the model with columns of {', '.join(_COLUMN_TYPES)}"
        )
        raise Failure(Reason.UNSUPPORTED_FORMAT, message)
    return _COLUMN_TYPES[kind]


def _matrix_schema(specs: Sequence[Any]) -> Schema:
    shape = tuple(int(length) for length in specs[0].shape)
    kind = str(specs[0].type)
    if len(specs) != 1 or len(shape) != 2 or shape[1] < 1 or kind not in _ARRAY_TYPES:
        found = ", ".join(f"{spec.type}{list(spec.shape)}" for spec in specs)
        message = (
            f"the signature describes {found}; scikit-learn models take one matrix of numbers, [-1, features]: "
            "log it with a signature of one"
        )
        raise Failure(Reason.UNSUPPORTED_FORMAT, message)
    return Schema((Tensor(specs[0].name or MATRIX, _ARRAY_TYPES[kind], (-1, shape[1])),))
