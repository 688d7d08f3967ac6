"""The binary tensor extension, both ways."""

from __future__ import annotations

import json
import struct
from typing import Any

from bench.conformance.case import Check, Pieces, Table, Target
from bench.conformance.checks import answered, fault
from bench.conformance.wire import Answer, request

table = Table("binary")
FORMATS = {"FP32": "f", "FP64": "d", "INT32": "i", "INT64": "q"}
SIZES = {"FP32": 4, "FP64": 8, "INT64": 8, "INT32": 4, "BOOL": 1}


def tail(target: Target, rows: int = 1) -> bytes:
    """The bytes of so many rows."""
    values = list(target.row) * rows
    if target.datatype.startswith("INT"):
        return struct.pack(f"<{len(values)}{FORMATS[target.datatype]}", *map(int, values))
    return struct.pack(f"<{len(values)}{FORMATS[target.datatype]}", *values)


def binary_tensor(target: Target, size: Any, rows: int = 1) -> dict[str, Any]:
    tensor = target.tensor(rows, parameters={"binary_data_size": size})
    del tensor["data"]
    return tensor


def sent(
    target: Target, rows: int = 1, size: Any = None, rest: bytes | None = None, length: str | None = None, **more: Any
) -> list[bytes]:
    """A request with binary input; what is given replaces what would be right."""
    content = tail(target, rows) if rest is None else rest
    tensor = binary_tensor(target, len(content) if size is None else size, rows)
    return [framed(target, {"inputs": [tensor], **more}, content, length)]


def framed(target: Target, body: dict[str, Any], content: bytes, length: str | None = None) -> bytes:
    head = json.dumps(body).encode()
    told = str(len(head)) if length is None else length
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": told}
    return request("POST", target.infer, head + content, headers)


def binary(rows: int, *names: str) -> Check:
    """A right answer whose outputs (those named, or all) are binary."""

    def check(target: Target, answer: Answer) -> None:
        assert answer.status == 200, f"status {answer.status}: {answer.body[:200]!r}"
        length = int(answer.headers["inference-header-content-length"])
        start = length
        for output in json.loads(answer.body[:length])["outputs"]:
            if names and output["name"] not in names:
                assert "data" in output, f"output {output['name']!r} has no data"
                continue
            assert "data" not in output, f"output {output['name']!r} has data as well"
            size, count = output["parameters"]["binary_data_size"], 1
            for extent in output["shape"]:
                count *= extent
            wanted = count * SIZES.get(output["datatype"], 0)
            assert not wanted or size == wanted, f"output {output['name']!r} has {size} bytes, not {wanted}"
            assert output["shape"][0] == rows, f"output {output['name']!r} has the shape {output['shape']}"
            start += size
        assert start == len(answer.body), f"{len(answer.body)} bytes came, the outputs have {start}"

    return check


def rows(count: int) -> Pieces:
    return lambda target: sent(target, count)


def with_change(change: dict[str, Any]) -> Pieces:
    return lambda target: sent(target, **change)


for _rows in (1, 3, 500):
    table.raw(f"{_rows} binary rows in", rows(_rows), answered(_rows))
ALL: dict[str, Any] = {"parameters": {"binary_data_output": True}}
table.raw("binary in and out", lambda t: sent(t, 2, **ALL), binary(2))
table.post("JSON in, binary out", "/v2/models/{model}/infer", lambda t: t.body(2, **ALL), binary(2))
table.post(
    "one output binary, the others JSON",
    "/v2/models/{model}/infer",
    lambda t: t.body(outputs=[*({"name": n} for n in t.outputs[:-1]), _wanted(t.outputs[-1], True)]),
    lambda t, a: binary(1, t.outputs[-1])(t, a),
)
table.post(
    "all binary but one output",
    "/v2/models/{model}/infer",
    lambda t: t.body(outputs=[_wanted(t.outputs[0], True), *(_wanted(n, False) for n in t.outputs[1:])], **ALL),
    lambda t, a: binary(1, t.outputs[0])(t, a),
)
table.post(
    "binary_data false is JSON",
    "/v2/models/{model}/infer",
    lambda t: t.body(outputs=[_wanted(n, False) for n in t.outputs]),
    answered(),
)
table.raw("JSON alone with the header", lambda t: [framed(t, t.body(), b"")], answered())
table.raw("an id with binary data", lambda t: sent(t, id="b1"), answered(1, "b1"))


def _wanted(name: str, truth: bool) -> dict[str, Any]:
    return {"name": name, "parameters": {"binary_data": truth}}


FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("no bytes behind the JSON", {"rest": b"", "size": 16}, "binary"),
    ("a byte too few", {"size": -1}, "binary"),
    ("a size that is no number", {"size": "16"}, "binary_data_size"),
    ("a size that is a fraction", {"size": 1.5}, "binary_data_size"),
    ("a size that is true", {"size": True}, "binary_data_size"),
    ("a size of zero", {"size": 0}, "binary"),
    ("a size beyond the body", {"size": 10**12}, "binary"),
    ("bytes left over", {"rest": b"\0" * 64, "size": 16}, "binary"),
    ("a header length beyond the body", {"length": "1000000"}, "Inference-Header-Content-Length"),
    ("a header length in words", {"length": "all"}, "Inference-Header-Content-Length"),
    ("a header length below zero", {"length": "-1"}, "Inference-Header-Content-Length"),
    ("a header length of zero", {"length": "0"}, "body"),
    ("a header length within the JSON", {"length": "10"}, "JSON"),
]
for _name, _change, _field in FAULTS:
    table.raw(_name, with_change(_change), fault(_field))
table.raw("values that are not finite", lambda t: sent(t, rest=b"\xff" * len(tail(t))), fault("NaN"))
table.raw(
    "both data and bytes",
    lambda t: [framed(t, {"inputs": [t.tensor(parameters={"binary_data_size": len(tail(t))})]}, tail(t))],
    fault("data"),
)
table.raw(
    "the bytes of one row for two",
    lambda t: [framed(t, {"inputs": [binary_tensor(t, len(tail(t)), 2)]}, tail(t))],
    fault("inputs[0]"),
)
table.post(
    "a size without the header",
    "/v2/models/{model}/infer",
    lambda t: {"inputs": [binary_tensor(t, 16)]},
    fault("data"),
)
table.post(
    "binary_data_output that is no truth",
    "/v2/models/{model}/infer",
    lambda t: t.body(parameters={"binary_data_output": "yes"}),
    fault("binary_data_output"),
)
