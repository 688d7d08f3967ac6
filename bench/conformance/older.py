"""The V1 protocol, which many clients still speak."""

from __future__ import annotations

import json
from typing import Any

from bench.conformance.case import Table, Target
from bench.conformance.checks import allow, fault, field, ok, predicted, status

table = Table("v1")
PREDICT = "/v1/models/{model}:predict"

table.get("the list of models", "/v1/models", field("models", value=lambda t: [t.model]))
table.get("readiness", "/v1/models/{model}", ok)
table.get("readiness names the model", "/v1/models/{model}", field("name", value=lambda t: t.model))
table.get("HEAD of readiness", "/v1/models/{model}", status(200), method="HEAD")
table.get("readiness of an unknown model", "/v1/models/no-such-model", fault("no-such-model", 404))
table.get("GET of prediction", PREDICT, allow("POST"))
table.get("DELETE of prediction", PREDICT, allow("POST"), method="DELETE")
table.post("prediction with an unknown model", "/v1/models/no-such-model:predict", b"{}", fault("no-such-model", 404))
table.post("an unknown verb", "/v1/models/{model}:ponder", b"{}", fault("", 404))


def rows(count: int) -> Any:
    return lambda target: {"instances": [list(target.row)] * count}


def with_row(change: Any) -> Any:
    """Two instances, the second changed."""
    return lambda target: {"instances": [list(target.row), change(target)]}


for _count in (1, 3, 1000):
    table.post(f"{_count} instances", PREDICT, rows(_count), predicted(_count))
table.post("whole numbers", PREDICT, lambda t: {"instances": [[1] * len(t.row)]}, predicted(1))
table.post("a field nobody knows", PREDICT, lambda t: rows(1)(t) | {"signature_name": "x"}, predicted(1))
table.post("a charset", PREDICT, rows(1), predicted(1), content_type="application/json; charset=utf-8")

BODIES: list[tuple[str, bytes, str]] = [
    ("an empty body", b"", "body"),
    ("no JSON", b"hello", "body"),
    ("half of JSON", b'{"instances": [[', "body"),
    ("null", b"null", "body"),
    ("an array", b"[[1,2,3,4]]", "body"),
    ("no instances", b"{}", "instances"),
    ("inputs for instances", b'{"inputs": [[1,2,3,4]]}', "instances"),
    ("instances null", b'{"instances": null}', "instances"),
    ("instances an object", b'{"instances": {}}', "instances"),
    ("instances a number", b'{"instances": 1}', "instances"),
    ("instances a string", b'{"instances": "1,2"}', "instances"),
    ("instances empty", b'{"instances": []}', "instances"),
    ("instances of empty rows", b'{"instances": [[]]}', "instances"),
    ("instances of strings", b'{"instances": ["a", "b"]}', "instances"),
    ("instances of null", b'{"instances": [null]}', "instances"),
]
for _name, _body, _field in BODIES:
    table.post(_name, PREDICT, _body, fault(_field))

ROWS: list[tuple[str, Any]] = [
    ("a value too few", lambda t: list(t.row[1:])),
    ("a value too many", lambda t: [1.0, *t.row]),
    ("a value of text", lambda t: ["x", *t.row[1:]]),
    ("a value of null", lambda t: [None, *t.row[1:]]),
    ("a value of true", lambda t: [True, *t.row[1:]]),
    ("a value nested", lambda t: [[1.0], *t.row[1:]]),
    ("a value out of range", lambda t: [10**400, *t.row[1:]]),
    ("a row that is a number", lambda t: 5),
    ("a row that is an object", lambda t: {"no-such-column": 1}),
    ("a row nested too deep", lambda t: [list(t.row)]),
]
for _name, _change in ROWS:
    table.post(_name, PREDICT, with_row(_change), fault("instances"))


def spelled(word: str) -> Any:
    def make(target: Target) -> bytes:
        return json.dumps({"instances": [["#"] * len(target.row)]}).replace('"#"', word).encode()

    return make


for _word in ("NaN", "-Infinity"):
    table.post(f"the number {_word}", PREDICT, spelled(_word), fault("JSON"))
