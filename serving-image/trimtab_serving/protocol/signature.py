"""A model's signature at work: the inputs of a request become arrays, its outputs a selection of the model's.

Built once from `bundle.json`, so that answering a request looks nothing up twice. The features of a table may come
in two forms, as one matrix or as one tensor a column; whichever of them the model takes, clients may send the other
wherever the columns' types allow it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from trimtab_serving.bundle import BundleInfo, Tensor
from trimtab_serving.protocol.datatypes import DATATYPES, Array, Datatype
from trimtab_serving.protocol.errors import RequestError, quoted
from trimtab_serving.protocol.reader import InputReader
from trimtab_serving.protocol.v2 import TensorMetadata

MATRIX = "input"
"""What the one matrix is called for models that take a tensor a column."""

ALIASES = {
    "predict": ("label", "prediction", "output_label", "variable"),
    "predict_proba": ("probabilities", "output_probability"),
}
"""Names by which clients of other servers ask for outputs, and what bundles call those outputs."""


class Named(Protocol):
    """What every form of an input tensor has."""

    @property
    def name(self) -> str:
        """What the client calls it."""


Read = Callable[[InputReader, int], Array]
"""Decodes input number so-and-so of a request with this reader."""


class Selection(NamedTuple):
    """The outputs to compute: the names they have in the answer, and those the model knows them by."""

    asked: tuple[str, ...]
    names: tuple[str, ...]


class Signature:
    """All inputs and outputs of a model."""

    def __init__(self, info: BundleInfo) -> None:
        self.inputs = {tensor.name: InputReader(tensor) for tensor in info.inputs}
        self.outputs = {tensor.name: tensor for tensor in info.outputs}
        self.output_types: dict[str, Datatype] = {item.name: DATATYPES[item.datatype] for item in info.outputs}
        self.aliases = _aliases(self.outputs)
        self.columns = _column_readers(info.inputs)
        self.matrix = _matrix_reader(info.inputs)
        self._all = Selection(tuple(self.outputs), tuple(self.outputs))
        self._first = next(iter(self.inputs.values()))
        self.row_by_row = all(tensor.shape[:1] == (-1,) for tensor in (*info.inputs, *info.outputs))
        """Whether every row has its own answer, so that the rows of several requests may be joined."""

    def arrays(self, tensors: Sequence[Named], read: Read) -> dict[str, Array]:
        """The request's inputs by the model's names; RequestError when one is missing, unknown, doubled or wrong."""
        arrays: dict[str, Array] = {}
        for index, tensor in enumerate(tensors):
            reader = self.inputs.get(tensor.name)
            if reader is None:
                return self._other_form(tensors, read, index)
            if tensor.name in arrays:
                raise RequestError(f"inputs[{index}].name {tensor.name!r} is given twice")
            arrays[tensor.name] = blaming(tensor.name, read, reader, index)
        if len(arrays) != len(self.inputs):
            missing = [name for name in self.inputs if name not in arrays]
            raise RequestError(f"inputs: {quoted(missing)} is missing; the model takes {quoted(self.inputs)}")
        if len(arrays) > 1:
            _check_rows(arrays, self.inputs)
        return arrays

    def _other_form(self, tensors: Sequence[Named], read: Read, unknown: int) -> dict[str, Array]:
        name = tensors[unknown].name
        if name in self.columns:
            return {self._first.name: self._stacked(tensors, read)}
        if self.matrix and len(tensors) == 1 and name == MATRIX:
            return self._split(read)
        known = quoted([*self.inputs, *self.columns])
        raise RequestError(f"inputs[{unknown}].name {name[:128]!r} is unknown; the model takes {known}")

    def _stacked(self, tensors: Sequence[Named], read: Read) -> Array:
        arrays: dict[str, Array] = {}
        for index, tensor in enumerate(tensors):
            reader = self.columns.get(tensor.name)
            if reader is None:
                known = quoted(self.columns)
                raise RequestError(f"inputs[{index}].name {tensor.name[:128]!r} is unknown; the columns are {known}")
            if tensor.name in arrays:
                raise RequestError(f"inputs[{index}].name {tensor.name!r} is given twice")
            arrays[tensor.name] = blaming(self._first.name, read, reader, index)
        missing = [name for name in self.columns if name not in arrays]
        if missing:
            raise RequestError(f"inputs: {quoted(missing)} is missing; the columns are {quoted(self.columns)}")
        _check_rows(arrays, self.columns)
        return np.concatenate([arrays[name] for name in self.columns], axis=1)

    def _split(self, read: Read) -> dict[str, Array]:
        assert self.matrix is not None
        whole = read(self.matrix, 0)
        return {
            name: _column(whole[:, [index]], reader).reshape((-1, *reader.shape[1:]))
            for index, (name, reader) in enumerate(self.inputs.items())
        }

    def selected(self, wanted: Sequence[Named] | None) -> Selection:
        """The outputs to compute, in the order asked for; all of them when nothing was asked."""
        if not wanted:
            return self._all
        asked = tuple(output.name for output in wanted)
        for index, name in enumerate(asked):
            if name not in self.outputs and name not in self.aliases:
                raise RequestError(
                    f"outputs[{index}].name {name[:128]!r} is unknown; the model gives {quoted(self.outputs)}"
                )
            if name in asked[:index]:
                raise RequestError(f"outputs[{index}].name {name!r} is asked for twice")
        return Selection(asked, tuple(name if name in self.outputs else self.aliases[name] for name in asked))

    def metadata(self) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
        """Inputs and outputs as the protocol describes them."""
        inputs = [
            TensorMetadata(name, item.datatype.name, item.shape, {"columns": list(item.columns)})
            if item.columns
            else TensorMetadata(name, item.datatype.name, item.shape)
            for name, item in self.inputs.items()
        ]
        outputs = [TensorMetadata(item.name, item.datatype, item.shape) for item in self.outputs.values()]
        return inputs, outputs


def blaming(name: str, read: Read, reader: InputReader, index: int) -> Array:
    """What `read` gives; a RequestError of it names the model's input `name` as the one at fault."""
    try:
        return read(reader, index)
    except RequestError as error:
        error.tensor = name
        raise


def _aliases(outputs: Mapping[str, Tensor]) -> dict[str, str]:
    """The aliases this model understands; an output that has an alias for its name keeps it."""
    found = {}
    for alias, names in ALIASES.items():
        name = next((name for name in names if name in outputs), None)
        if name is not None and alias not in outputs:
            found[alias] = name
    return found


def _column_readers(inputs: Sequence[Tensor]) -> dict[str, InputReader]:
    """A reader for each column of the one matrix, if its columns have names."""
    tensor = inputs[0]
    if len(inputs) != 1 or tensor.columns is None or len(tensor.shape) != 2:
        return {}
    names = tensor.columns
    lacking = {name: tensor.missing if isinstance(tensor.missing, bool) else name in tensor.missing for name in names}
    return {
        name: InputReader(Tensor(name, tensor.datatype, (tensor.shape[0], 1), missing=lacking[name]))
        for name in names
        if name != tensor.name
    }


def _matrix_reader(inputs: Sequence[Tensor]) -> InputReader | None:
    """A reader for the matrix of all columns, if the model takes a tensor a column and the types go together."""
    if len(inputs) < 2 or any(tensor.shape not in ((-1, 1), (-1,)) or tensor.name == MATRIX for tensor in inputs):
        return None
    kinds = {tensor.datatype for tensor in inputs}
    text = kinds == {"BYTES"}
    if not text and kinds & {"BYTES", "BOOL"}:
        return None
    names = tuple(tensor.name for tensor in inputs)
    lacking = tuple(tensor.name for tensor in inputs if tensor.missing is not False)
    return InputReader(Tensor(MATRIX, "BYTES" if text else "FP64", (-1, len(inputs)), names, lacking or False))


def _column(values: Array, reader: InputReader) -> Array:
    """One column of the matrix as its own type; RequestError for a fraction where whole numbers belong."""
    if values.dtype == reader.datatype.dtype:
        return values
    with np.errstate(invalid="ignore", over="ignore"):
        array = values.astype(reader.datatype.dtype)
    if reader.datatype.element is int and not np.array_equal(array, values):
        raise RequestError(f"inputs[0].data: column {reader.name!r} takes whole numbers as {reader.datatype.name}")
    if reader.datatype.element is float and np.isinf(array).any():
        raise RequestError(f"inputs[0].data: column {reader.name!r} has a number out of range")
    return array


def _check_rows(arrays: Mapping[str, Array], readers: Mapping[str, InputReader]) -> None:
    rows = {
        name: array.shape[0] for name, array in arrays.items() if readers[name].shape and readers[name].shape[0] < 0
    }
    if len(set(rows.values())) > 1:
        told = ", ".join(f"{name!r} {count}" for name, count in list(rows.items())[:8])
        raise RequestError(f"inputs: all must have the same number of rows, but there are {told}")
