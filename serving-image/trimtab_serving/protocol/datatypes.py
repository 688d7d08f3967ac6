"""The protocol's datatypes and what each means in numpy and in JSON.

JSON is decoded straight into the one type a tensor declares: a string where a number belongs, `true` for 1 or
`null` for a missing value are refused with their place, where numpy's own conversion would let them through.
Only where a model takes missing values is `null` one of them: NaN to the model, for text as for numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Datatype:
    """One row of the table: the protocol's name, numpy's type, the JSON type of an element."""

    name: str
    dtype: np.dtype[Any]
    element: type

    def nested(self, depth: int, missing: bool = False) -> Any:
        """The type of JSON arrays nested `depth` deep, with null among the elements or without."""
        kind: Any = self.element | None if missing else self.element
        for _ in range(depth):
            kind = list[kind]
        return kind

    @functools.lru_cache(maxsize=128)  # noqa: B019 - the table below holds every instance there is
    def decoder(self, depth: int, missing: bool = False) -> Callable[[bytes], list[Any]]:
        """A decoder for arrays nested `depth` deep that takes no element of another JSON type."""
        decode: Callable[[bytes], list[Any]] = msgspec.json.Decoder(self.nested(depth, missing)).decode
        return decode

    @functools.cached_property
    def widens_to(self) -> frozenset[str]:
        """The datatypes that hold every value of this one; FP64 for 64-bit integers too, see `inexact`."""
        if self.element is str or self.element is bool:
            return frozenset({self.name})
        wider = (other for other in DATATYPES.values() if other.element in (int, float))
        return frozenset(other.name for other in wider if np.can_cast(self.dtype, other.dtype, "safe"))


def _table() -> dict[str, Datatype]:
    rows: list[tuple[str, DTypeLike, type]] = [("BOOL", np.bool_, bool), ("BYTES", np.object_, str)]
    rows += [("FP16", np.float16, float), ("FP32", np.float32, float), ("FP64", np.float64, float)]
    for bits in (8, 16, 32, 64):
        rows += [(f"INT{bits}", f"int{bits}", int), (f"UINT{bits}", f"uint{bits}", int)]
    return {name: Datatype(name, np.dtype(dtype), element) for name, dtype, element in rows}


DATATYPES = _table()

_WHOLE_IN_FP64 = 1 << 53
"""Up to here every whole number is one of FP64."""


def inexact(array: Array, wider: Datatype) -> int | None:
    """The first whole number that `wider` need not hold, or None: only 64-bit integers have such, in FP64."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 8 or wider.element is not float:
        return None
    beyond = (array > _WHOLE_IN_FP64) | (array < -_WHOLE_IN_FP64)
    return int(array[beyond][0]) if beyond.any() else None


def to_list(array: Array, datatype: Datatype) -> list[Any]:
    """The flat, row-major JSON values of `array`."""
    if datatype.element is not str:
        return (array if array.dtype == datatype.dtype else array.astype(datatype.dtype)).ravel().tolist()
    return [item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel().tolist()]
