"""Tensors as bytes: little-endian and row-major, text as a 32-bit length before each element.

This is the layout of the binary tensor extension and of gRPC's raw contents alike.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence

import numpy as np

from trimtab_serving.protocol.datatypes import Array, Datatype, to_list
from trimtab_serving.protocol.errors import RequestError

_LENGTH = struct.Struct("<I")


def decode(raw: bytes | memoryview, datatype: Datatype, shape: Sequence[int], where: str) -> Array:
    """The array in `raw`, flat and writable; RequestError when it does not hold just what `shape` needs."""
    count = math.prod(shape)
    if datatype.element is str:
        return _decode_texts(memoryview(raw), count, where)
    needed = count * datatype.dtype.itemsize
    if len(raw) != needed:
        raise RequestError(
            f"{where} has {len(raw)} bytes of binary data; shape {list(shape)} of {datatype.name} needs {needed}"
        )
    if datatype.element is bool and bytes(raw).translate(None, b"\0\1"):
        raise RequestError(f"{where} has bytes other than 0 and 1 as BOOL")
    # A copy: where the client's bytes begin is not where the processor wants an array to begin.
    return np.frombuffer(raw, datatype.dtype.newbyteorder("<")).astype(datatype.dtype)


def _decode_texts(raw: memoryview, count: int, where: str) -> Array:
    texts = list(_texts(raw, where, count))
    if len(texts) != count:
        raise RequestError(f"{where} has {len(texts)} elements as BYTES; its shape needs {count}")
    array = np.empty(count, object)
    array[:] = texts
    return array


def _texts(raw: memoryview, where: str, count: int) -> Iterator[str]:
    start, index = 0, 0
    while start < len(raw):
        if index == count:
            raise RequestError(f"{where} has more than {count} elements as BYTES; its shape needs {count}")
        end = start + _LENGTH.size
        if end <= len(raw):
            end += _LENGTH.unpack_from(raw, start)[0]
        if end > len(raw) or end < start + _LENGTH.size:
            raise RequestError(f"{where} ends within its element {index}; each is a 32-bit length and as many bytes")
        try:
            yield str(raw[start + _LENGTH.size : end], "utf-8")
        except UnicodeDecodeError:
            raise RequestError(f"{where} is not UTF-8 text in its element {index}") from None
        start, index = end, index + 1


def encode(array: Array, datatype: Datatype) -> bytes:
    """The bytes of `array`."""
    if datatype.element is not str:
        return np.ascontiguousarray(array, datatype.dtype.newbyteorder("<")).tobytes()
    texts = [text.encode() for text in to_list(array, datatype)]
    return b"".join(_LENGTH.pack(len(text)) + text for text in texts)
