"""Requests that are nearly right: right ones of every kind, changed in their JSON, their bytes and their headers.

What is random altogether ends in the parser. What was right but for one change reaches the code behind it.
"""

from __future__ import annotations

import copy
import gzip
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

INFER = "/v2/models/{}/infer"
PREDICT = "/v1/models/{}:predict"

ODD_VALUES: Sequence[Any] = [
    *(None, True, False, 0, -1, 1, 4, 7, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 0.5, -0.0, 1e38, 1e39, 1e308),
    *("", "a", "FP32", "FP64", "FP16", "INT8", "INT64", "UINT64", "BYTES", "BOOL", "X", "input", "age", "city", "NaN"),
    *("\0", "\ud800", "é" * 300, "predict", "predict_proba", "label"),
    *([], {}, [[]], [[[]]], [{}], [None], [1, [2]], {"": None}, {"binary_data_size": 8}, {"binary_data": True}),
    *([5.1, 3.5, 1.4, 0.2], [[5.1, 3.5, 1.4, 0.2]], [1, 4], [2, 4], [1, 1], [0, 4], [-1, 4], [2**40, 4], [4, 1]),
]
ODD_HEADERS = [
    *((b"inference-header-content-length", value) for value in (b"0", b"1", b"-1", b"10", b"999999", b"x", b"")),
    *((b"content-encoding", value) for value in (b"gzip", b"br", b"GZIP", b"gzip, gzip", b"\xff", b"")),
    *(
        (b"content-type", value)
        for value in (b"application/json", b"text/plain", b"", b";", b"a/b; charset=x", b"\xff")
    ),
    *((b"accept-encoding", value) for value in (b"gzip", b"gzip;q=0", b"*", b";;q", b"\xff,", b"gzip;q=x")),
    *((b"x-request-id", value) for value in (b"1", b"\xff", b"a" * 500, b"")),
    (b"traceparent", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-00"),
    (b"ce-id", b"1"),
    (b"ce-specversion", b"9"),
    (b"content-length", b"5"),
    (b"expect", b"100-continue"),
]
SPLICES = [b"null", b"NaN", b"[", b"]", b"{", b"}", b",", b'"', b"\\u", b"\xff", b"\0", b"1e999", b"-", b"\xed\xa0\x80"]


@dataclass(frozen=True)
class Sent:
    """One request as the application gets it."""

    method: str
    path: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]


def right_bodies() -> list[tuple[str, Any, bytes]]:
    """Path, JSON and binary tail of right requests of every kind, for the models of `bench.fuzz`."""
    row = [5.1, 3.5, 1.4, 0.2]
    matrix = {"name": "X", "shape": [1, 4], "datatype": "FP32", "data": row}
    columns = [{"name": name, "shape": [1, 1], "datatype": "FP32", "data": [1.5]} for name in "abcd"]
    person = [
        {"name": "age", "shape": [2, 1], "datatype": "INT64", "data": [41, 42]},
        {"name": "income", "shape": [2, 1], "datatype": "FP64", "data": [1.5, None]},
        {"name": "city", "shape": [2, 1], "datatype": "BYTES", "data": ["Bonn", None]},
    ]
    tail = struct.pack("<4f", *row)
    texts = b"".join(struct.pack("<I", len(text)) + text for text in (b"Bonn", b"Ulm"))
    binary = {"name": "X", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": len(tail)}}
    city = {"name": "city", "shape": [2, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(texts)}}
    wanted = {"parameters": {"binary_data_output": True}, "id": "7"}
    iris, people = INFER.format("iris"), INFER.format("people")
    return [
        (iris, {"inputs": [matrix], "id": "1", "parameters": {}, "outputs": [{"name": "label"}]}, b""),
        (iris, {"inputs": columns, "outputs": [{"name": "predict_proba", "parameters": {"binary_data": True}}]}, b""),
        (iris, {"inputs": [binary], **wanted}, tail),
        (people, {"inputs": person}, b""),
        (people, {"inputs": [*person[:2], city], **wanted}, texts),
        (PREDICT.format("iris"), {"instances": [row, row]}, b""),
        (PREDICT.format("iris"), {"instances": [{"a": 1, "b": 2, "c": 3, "d": 4}], "outputs": ["predict"]}, b""),
        (PREDICT.format("people"), {"instances": [[41, 1.5, "Bonn"], [42, None, None]]}, b""),
        (PREDICT.format("people"), {"instances": [{"age": 41, "income": None, "city": "Ulm"}]}, b""),
        ("/v2/repository/index", {"ready": True}, b""),
    ]


RIGHT = right_bodies()


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    """A right request with a few changes."""
    path, body, tail = copy.deepcopy(RIGHT[draw(st.integers(0, len(RIGHT) - 1))])
    for _ in range(draw(st.integers(0, 3))):
        body = changed_json(body, draw(st.integers(0, 2**32)), draw(st.sampled_from(range(len(ODD_VALUES)))))
    head = json.dumps(body).encode()
    headers = [(b"host", b"fuzz")]
    if tail:
        headers.append((b"inference-header-content-length", str(len(head)).encode()))
    content = head + tail
    for _ in range(draw(st.integers(0, 2))):
        content = changed_bytes(content, draw(st.integers(0, 2**32)), draw(st.integers(0, 5)))
    if draw(st.integers(0, 7)) == 0:
        content = gzip.compress(content, 1)
        headers.append((b"content-encoding", b"gzip"))
        content = changed_bytes(content, draw(st.integers(0, 2**32)), draw(st.integers(0, 7)))
    if draw(st.booleans()):
        headers.append(draw(st.sampled_from(ODD_HEADERS)))
    method = "POST" if draw(st.integers(0, 30)) else draw(st.sampled_from(["GET", "PUT", "HEAD", "OPTIONS"]))
    return Sent(method, path, content, tuple(headers))


def changed_json(value: Any, place: int, odd: int) -> Any:
    """`value` with one of its nodes replaced, removed, doubled or wrapped; `place` chooses which and how."""
    holders = list(_nodes(value))
    if not holders:
        return copy.deepcopy(ODD_VALUES[odd])
    holder, key = holders[place % len(holders)]
    how = place // len(holders) % 6
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif how == 2:
        holder[key] = [holder[key]]
    elif how == 3 and isinstance(holder, dict):
        holder[str(ODD_VALUES[odd])[:20]] = holder.pop(key)
    else:
        holder[key] = copy.deepcopy(ODD_VALUES[odd])
    return value


def _nodes(value: Any) -> list[tuple[Any, Any]]:
    keys: list[Any] = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    return [(value, key) for key in keys] + [node for key in keys for node in _nodes(value[key])]


def changed_bytes(content: bytes, place: int, how: int) -> bytes:
    """`content` with a bit turned, a piece cut, doubled or put in; unchanged for a high `how`."""
    at = place % (len(content) + 1)
    far = min(len(content), at + place // 7919 % 16)
    if how == 0 and at < len(content):
        return content[:at] + bytes([content[at] ^ 1 << place % 8]) + content[at + 1 :]
    if how == 1:
        return content[:at]
    if how == 2:
        return content[:at] + content[far:]
    if how == 3:
        return content[:far] + content[at:]
    if how == 4:
        return content[:at] + SPLICES[place % len(SPLICES)] + content[at:]
    return content
