"""One input of a model at work: JSON, bytes or plain values become an array it can take, or are refused by name."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from trimtab_serving.bundle import Tensor
from trimtab_serving.protocol import binary
from trimtab_serving.protocol.datatypes import DATATYPES, Array, Datatype, inexact
from trimtab_serving.protocol.errors import RequestError
from trimtab_serving.protocol.v2 import RequestTensor, describe

MAX_LENGTH = (1 << 63) - 1
"""The protocol's lengths are 64-bit integers; JSON may hold larger ones."""

_MAX_TOLD = 128
_BRACKETS = re.compile(rb"[\s\[]*")
_OPENING = frozenset({b"[", b" ", b"\t", b"\r", b"\n"})


class InputReader:
    """Checks and decodes one named input. Built once; `where` in its methods is for messages."""

    def __init__(self, tensor: Tensor) -> None:
        self.name = tensor.name
        self.shape = tensor.shape
        self.columns = tensor.columns
        self.datatype = DATATYPES[tensor.datatype]
        self.rank = len(tensor.shape)
        self.takes_missing = tensor.missing is not False and self.datatype.element in (float, str)
        self._whole = _whole_columns(tensor)
        self._accepted = {kind.name: kind for kind in DATATYPES.values() if self.datatype.name in kind.widens_to}
        self._free = [axis for axis, length in enumerate(tensor.shape) if length < 0]
        self._row = list(tensor.shape[1:]) if self._free == [0] else None

    def read(self, tensor: RequestTensor, where: str) -> Array:
        """The tensor's JSON as an array of the model's type and a shape the model takes."""
        datatype, shape = self.check(tensor.datatype, tensor.shape, where)
        where += ".data"
        raw = bytes(tensor.data)
        if not raw:
            raise RequestError(f"{where} is missing")
        depth = _depth(raw)
        if depth > 1 and depth != len(tensor.shape):
            raise RequestError(f"{where} is nested {depth} deep; it must be flat or nested like its shape")
        values = self._decode(raw, datatype, max(depth, 1), where)
        if depth <= 1 and len(values) != math.prod(shape):
            raise RequestError(f"{where} has {len(values)} values; shape {shape} needs {math.prod(shape)}")
        array = self._array(values, datatype, where)
        if depth > 1 and list(array.shape) != tensor.shape:
            raise RequestError(f"{where} is nested as {_dimensions(values)}; its shape says {tensor.shape}")
        return self._whole_or_refused(array.reshape(shape), where) if self._whole else array.reshape(shape)

    def read_together(self, datatype: Datatype, shape: Sequence[int], parts: Sequence[bytes]) -> Array:
        """The flat values, without their brackets, of several tensors of a shape that `check` gave, joined by rows."""
        count = math.prod(shape)
        values = self._decode(b"[[%b]]" % b"],[".join(parts), datatype, 2, "data")
        if any(len(one) != count for one in values):
            raise RequestError(f"shape {list(shape)} needs {count} values")
        array = self._array(values, datatype, "data").reshape(-1, *shape[1:])
        return self._whole_or_refused(array, "data") if self._whole else array

    def read_raw(self, name: str, shape: list[int], raw: bytes | memoryview, where: str) -> Array:
        """Bytes of the datatype `name` as an array; NaN counts as missing, infinity is refused."""
        datatype, wanted = self.check(name, shape, where)
        return self.admit(binary.decode(raw, datatype, wanted, where), wanted, where)

    def read_values(self, values: Any, where: str) -> Array:
        """Plain JSON values nested like the model's shape; a row of one value may be the bare value."""
        depth = self.rank
        if depth > 1 and self.shape[1:] == (1,) * (depth - 1) and not (values and isinstance(values[0], list)):
            depth = 1
        try:
            values = msgspec.convert(values, self.datatype.nested(depth, self.takes_missing))
        except msgspec.ValidationError as error:
            raise RequestError(self._described(error, where)) from None
        if depth == 2 and self.shape[1] >= 0:
            self._check_widths(values, where)
        array = self._array(values, self.datatype, where)
        shape = list(array.shape) if depth == self.rank else [len(values), *self.shape[1:]]
        if not self._fits(shape):
            raise RequestError(f"{where} is nested as {shape}; the model takes {list(self.shape)}")
        array = array.reshape(shape)
        return self._whole_or_refused(array, where) if self._whole else array

    def admit(self, array: Array, shape: list[int], where: str) -> Array:
        """An array that came without JSON, as the model's type and shape; RequestError when not finite."""
        array = array.reshape(shape)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            if np.isinf(array).any():
                raise RequestError(f"{where} holds an infinite number; the model takes none")
            if not self.takes_missing:
                raise RequestError(f"{where} holds NaN; {self._none_missing()}")
            self._whole_or_refused(array, where)
        return self._widened(array, where)

    def check(self, name: str, shape: list[int], where: str) -> tuple[Datatype, list[int]]:
        """The datatype sent and the shape it will have; RequestError when the model takes another."""
        datatype = self._accepted.get(name)
        if datatype is None:
            raise RequestError(self._datatype_fault(name, where))
        if self._fits(shape):
            return datatype, shape
        for other in ([*shape, 1], shape[:-1]):
            # A column may be given as [n] where the model takes [n, 1], and the other way round.
            # What does not fit is not multiplied: a client may send a million lengths of a thousand digits.
            if self.shape[1:] in ((), (1,)) and self._fits(other) and math.prod(other) == math.prod(shape):
                return datatype, other
        raise RequestError(
            f"{where}.shape is {_cut(shape)}; the model takes {list(self.shape)} for input {self.name!r}"
            f"{' (-1 is any length from 1)' if self._free else ''}"
        )

    def _fits(self, shape: list[int]) -> bool:
        if self._row is not None:
            return len(shape) == self.rank and 1 <= shape[0] <= MAX_LENGTH and shape[1:] == self._row
        return len(shape) == self.rank and all(
            given == length if length >= 0 else 1 <= given <= MAX_LENGTH
            for given, length in zip(shape, self.shape, strict=True)
        )

    def _decode(self, raw: bytes, datatype: Datatype, depth: int, where: str) -> list[Any]:
        try:
            return datatype.decoder(depth, self.takes_missing and datatype.element is not int)(raw)
        except msgspec.ValidationError as error:
            raise RequestError(self._described(error, where)) from None
        except ValueError as error:
            raise RequestError(f"{where} is not valid JSON: {error}") from None

    def _array(self, values: list[Any], datatype: Datatype, where: str) -> Array:
        try:
            with np.errstate(over="raise"):
                array = np.array(values, datatype.dtype)
        except (OverflowError, FloatingPointError):
            raise RequestError(f"{where} holds a number out of range for {datatype.name}") from None
        except ValueError:
            raise RequestError(f"{where} is ragged; its rows must be of equal length") from None
        if self.takes_missing and datatype.element is str:
            array[array == np.array(None)] = np.nan
        return array if datatype is self.datatype else self._widened(array, where)

    def _widened(self, array: Array, where: str) -> Array:
        lost = inexact(array, self.datatype)
        if lost is not None:
            kind = self.datatype.name
            raise RequestError(f"{where} holds {lost}; as the {kind} of input {self.name!r} it would lose digits")
        return array.astype(self.datatype.dtype, copy=False)

    def _check_widths(self, values: list[list[Any]], where: str) -> None:
        for index, row in enumerate(values):
            if len(row) != self.shape[1]:
                raise RequestError(f"{where}[{index}] has {len(row)} values; the model takes {self.shape[1]}")

    def _whole_or_refused(self, array: Array, where: str) -> Array:
        for index, column in self._whole:
            if np.not_equal(array[..., index], array[..., index]).any():
                raise RequestError(f"{where} misses a value in column {column!r}; the model needs all of them")
        return array

    def _described(self, error: msgspec.ValidationError, where: str) -> str:
        told = describe(error, where)
        return f"{told}; {self._none_missing()}" if told.endswith("got null") else told

    def _none_missing(self) -> str:
        return f"the model takes no missing values in input {self.name!r}"

    def _datatype_fault(self, given: str, where: str) -> str:
        if given not in DATATYPES:
            return f"{where}.datatype {given[:32]!r} is unknown; use one of {', '.join(sorted(DATATYPES))}"
        return f"{where}.datatype is {given}; the model takes {self.datatype.name} for input {self.name!r}"


def _whole_columns(tensor: Tensor) -> list[tuple[int, str]]:
    if isinstance(tensor.missing, bool):
        return []
    columns = tensor.columns or (tensor.name,)
    return [(index, name) for index, name in enumerate(columns) if name not in tensor.missing]


def _cut(shape: list[int]) -> str:
    """A shape as messages tell it, however long it is."""
    told = str(shape[:_MAX_TOLD])
    return told if len(told) <= _MAX_TOLD else f"{told[:_MAX_TOLD]}…"


def _depth(raw: bytes) -> int:
    if raw[1:2] not in _OPENING:
        return 1 if raw[:1] == b"[" else 0
    brackets = _BRACKETS.match(raw)
    return brackets[0].count(b"[") if brackets else 0


def _dimensions(values: object) -> list[int]:
    lengths = []
    while isinstance(values, list):
        lengths.append(len(values))
        values = values[0] if values else None
    return lengths
