"""What a client can do wrong in a body. Each must be its own fault: 4xx, a JSON error, and the server goes on."""

from __future__ import annotations

import json
from typing import Any

from bench.conformance.case import UNUSED, Make, Table, Target
from bench.conformance.checks import allow, fault

table = Table("oip")
INFER = "/v2/models/{model}/infer"

BODIES: list[tuple[str, bytes, str]] = [
    ("an empty body", b"", "body"),
    ("a blank body", b"  ", "body"),
    ("no JSON", b"hello", "body"),
    ("half of JSON", b'{"inputs": [', "body"),
    ("null", b"null", "body"),
    ("an array", b"[]", "body"),
    ("a string", b'"inputs"', "body"),
    ("a number", b"7", "body"),
    ("bytes that are no UTF-8", b'{"inputs": "\xff\xfe"}', "inputs"),
    ("two documents", b"{}{}", ""),
    ("a trailing comma", b'{"inputs": [],}', "body"),
    ("single quotes", b"{'inputs': []}", "body"),
    ("deep nesting", b'{"inputs":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "inputs"),
    ("no inputs", b"{}", "inputs"),
    ("inputs null", b'{"inputs": null}', "inputs"),
    ("inputs an object", b'{"inputs": {}}', "inputs"),
    ("inputs a string", b'{"inputs": "x"}', "inputs"),
    ("inputs empty", b'{"inputs": []}', "inputs"),
    ("inputs of numbers", b'{"inputs": [1]}', "inputs[0]"),
    ("inputs of null", b'{"inputs": [null]}', "inputs[0]"),
    ("an input of nothing", b'{"inputs": [{}]}', "inputs[0]"),
]
for _name, _body, _field in BODIES:
    table.post(_name, INFER, _body, fault(_field))


def with_fields(change: dict[str, Any]) -> Make:
    return lambda target: target.body(**change)


REQUESTS: list[tuple[str, dict[str, Any], str]] = [
    ("id a number", {"id": 7}, "id"),
    ("id an object", {"id": {}}, "id"),
    ("id true", {"id": True}, "id"),
    ("outputs an object", {"outputs": {}}, "outputs"),
    ("outputs a string", {"outputs": "x"}, "outputs"),
    ("outputs of strings", {"outputs": ["x"]}, "outputs[0]"),
    ("an output without name", {"outputs": [{}]}, "outputs[0].name"),
    ("an output's name a number", {"outputs": [{"name": 1}]}, "outputs[0].name"),
    ("an unknown output", {"outputs": [{"name": "no-such-output"}]}, "outputs[0].name"),
    ("parameters an array", {"parameters": []}, "parameters"),
    ("parameters a string", {"parameters": "x"}, "parameters"),
]
for _name, _change, _field in REQUESTS:
    table.post(_name, INFER, with_fields(_change), fault(_field))
table.post("an output twice", INFER, lambda t: t.body(outputs=[{"name": t.outputs[0]}] * 2), fault("outputs[1].name"))


def spelled(word: str) -> Make:
    """A request in which each number is written as `word`."""

    def make(target: Target) -> bytes:
        return json.dumps({"inputs": [target.tensor(data=["#"] * len(target.row))]}).replace('"#"', word).encode()

    return make


def changed(**change: Any) -> Make:
    """Makes a request whose only input has these changes; a callable is given the target."""

    def make(target: Target) -> dict[str, Any]:
        given = {key: value(target) if callable(value) else value for key, value in change.items()}
        return {"inputs": [target.tensor(**given)]}

    return make


def data(*values: Any) -> Any:
    """The row with its first values replaced."""
    return lambda target: [*values, *target.row[len(values) :]]


FIELDS: list[tuple[str, dict[str, Any], str]] = [
    *((f"no {field}", {field: UNUSED}, field) for field in ("name", "shape", "datatype", "data")),
    *((f"{field} null", {field: None}, field) for field in ("name", "shape", "datatype", "data")),
    ("name a number", {"name": 5}, "name"),
    ("name unknown", {"name": "no-such-input"}, "name"),
    ("name empty", {"name": ""}, "name"),
    ("datatype unknown", {"datatype": "FLOAT"}, "datatype"),
    ("datatype in lower case", {"datatype": "fp32"}, "datatype"),
    ("datatype empty", {"datatype": ""}, "datatype"),
    ("datatype a number", {"datatype": 32}, "datatype"),
    ("datatype BYTES for numbers", {"datatype": "BYTES"}, "datatype"),
    ("shape a string", {"shape": "1,4"}, "shape"),
    ("shape a number", {"shape": 4}, "shape"),
    ("shape of strings", {"shape": lambda t: ["1", str(len(t.row))]}, "shape"),
    ("shape of fractions", {"shape": lambda t: [1.5, len(t.row)]}, "shape"),
    ("shape empty", {"shape": []}, "shape"),
    ("shape negative", {"shape": lambda t: [-1, len(t.row)]}, "shape"),
    ("shape without rows", {"shape": lambda t: [0, len(t.row)], "data": []}, "shape"),
    ("shape huge", {"shape": lambda t: [2**62, len(t.row)]}, "data"),
    ("shape beyond 64 bits", {"shape": lambda t: [2**70, len(t.row)]}, "inputs[0]"),
    ("shape without a dimension", {"shape": lambda t: [len(t.row)]}, "shape"),
    ("shape with a dimension more", {"shape": lambda t: [1, len(t.row), 1]}, "shape"),
    ("a feature too few", {"shape": lambda t: [1, len(t.row) - 1], "data": lambda t: list(t.row[1:])}, "shape"),
    ("a feature too many", {"shape": lambda t: [1, len(t.row) + 1], "data": lambda t: [1.0, *t.row]}, "shape"),
    ("data too short", {"data": lambda t: list(t.row[1:])}, "data"),
    ("data too long", {"data": lambda t: [1.0, *t.row]}, "data"),
    ("data empty", {"data": []}, "data"),
    ("data a number", {"data": 5}, "data"),
    ("data a string", {"data": "1,2,3,4"}, "data"),
    ("data an object", {"data": {"0": 1}}, "data"),
    ("data true", {"data": True}, "data"),
    ("data with text", {"data": data("5.1")}, "data"),
    ("data with words", {"data": data("NaN")}, "data"),
    ("data with true", {"data": data(True)}, "data"),
    ("data with null", {"data": data(None)}, "data"),
    ("data with an object", {"data": data({})}, "data"),
    ("data half nested", {"data": lambda t: [[t.row[0]], *t.row[1:]]}, "data"),
    ("data ragged", {"shape": lambda t: [2, len(t.row)], "data": lambda t: [list(t.row), list(t.row[1:])]}, "data"),
    ("data nested too deep", {"data": lambda t: [[list(t.row)]]}, "data"),
    ("data nested as columns", {"data": lambda t: [[value] for value in t.row]}, "data"),
    ("data beyond the datatype", {"data": data(10**400)}, "data"),
    ("parameters of an input an array", {"parameters": []}, "parameters"),
]
for _name, _change, _field in FIELDS:
    table.post(_name, INFER, changed(**_change), fault(_field))
table.post("the same input twice", INFER, lambda t: {"inputs": [t.tensor(), t.tensor()]}, fault("inputs[1].name"))
table.post("an unknown input beside", INFER, lambda t: {"inputs": [t.tensor(), t.tensor(name="z")]}, fault("inputs[1]"))
for _word in ("NaN", "Infinity", "-Infinity", "1e", ".5", "01", "0x1", "+1"):
    table.post(f"the number {_word}", INFER, spelled(_word), fault("JSON"))

PLACES = [
    ("nothing there", "GET", "/v2/nothing"),
    ("the root of a model's name", "GET", "/v2/models/{model}/nothing"),
    ("an unknown model", "GET", "/v2/models/no-such-model"),
    ("readiness of an unknown model", "GET", "/v2/models/no-such-model/ready"),
    ("inference with an unknown model", "POST", "/v2/models/no-such-model/infer"),
    ("an unknown version", "GET", "/v2/models/{model}/versions/no-such-version"),
    ("readiness of an unknown version", "GET", "/v2/models/{model}/versions/no-such-version/ready"),
    ("inference with an unknown version", "POST", "/v2/models/{model}/versions/no-such-version/infer"),
    ("an empty model name", "GET", "/v2/models//ready"),
    ("an encoded slash", "GET", "/v2%2Fmodels%2Fno-such-model"),
    ("a path with dots", "GET", "/v2/../../etc/passwd"),
    ("a path of 4,000 letters", "GET", "/v2/models/" + "x" * 4000),
]
for _name, _method, _path in PLACES:
    if _method == "GET":
        table.get(_name, _path, fault("", 404))
    else:
        table.post(_name, _path, lambda t: t.body(), fault("", 404))
table.get("GET of inference", INFER, allow("POST"))
for _method in ("PUT", "DELETE", "PATCH"):
    table.get(f"{_method} of inference", INFER, allow("POST"), method=_method)
    table.get(f"{_method} of metadata", "/v2/models/{model}", allow("GET"), method=_method)
for _path in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/{model}", "/v2/models/{model}/ready"):
    table.post(f"POST of {_path}", _path, b"{}", allow("GET"))
