"""What must work: health, metadata and inference as the protocol describes them."""

from __future__ import annotations

import json

from bench.conformance.case import Make, Table, Target
from bench.conformance.checks import answered, field, header, ok, status

table = Table("oip")

PATHS = {
    "live": "/v2/health/live",
    "ready": "/v2/health/ready",
    "server metadata": "/v2",
    "model metadata": "/v2/models/{model}",
    "model ready": "/v2/models/{model}/ready",
    "metadata of the version": "/v2/models/{model}/versions/{version}",
    "readiness of the version": "/v2/models/{model}/versions/{version}/ready",
}
INFER = "/v2/models/{model}/infer"

for _name, _path in PATHS.items():
    table.get(f"GET {_name}", _path, ok)
    table.get(f"HEAD {_name}", _path, status(200), method="HEAD")
table.get("live says live", PATHS["live"], field("live", value=True))
table.get("ready says ready", PATHS["ready"], field("ready", value=True))
for _key in ("name", "version"):
    table.get(f"the server has a {_key}", PATHS["server metadata"], field(_key, kind=str))
table.get("the server lists extensions", PATHS["server metadata"], field("extensions", kind=list))
table.get("model readiness names the model", PATHS["model ready"], field("name", value=lambda t: t.model))
table.get("model readiness says ready", PATHS["model ready"], field("ready", value=True))
_metadata = PATHS["model metadata"]
table.get("metadata names the model", _metadata, field("name", value=lambda t: t.model))
table.get("metadata has a platform", _metadata, field("platform", kind=str))
table.get("metadata lists versions", _metadata, field("versions", kind=list))
table.get("metadata names the input", _metadata, field("inputs", 0, "name", value=lambda t: t.input))
table.get("metadata types the input", _metadata, field("inputs", 0, "datatype", value=lambda t: t.datatype))
table.get("metadata shapes the input", _metadata, field("inputs", 0, "shape", value=lambda t: [-1, len(t.row)]))
table.get("metadata names an output", _metadata, field("outputs", 0, "name", kind=str))
table.get("metadata types an output", _metadata, field("outputs", 0, "datatype", kind=str))
table.get("metadata shapes an output", _metadata, field("outputs", 0, "shape", kind=list))


def flat(rows: int) -> Make:
    return lambda target: target.body(rows)


def nested(rows: int) -> Make:
    return lambda target: {"inputs": [target.tensor(rows, data=[list(target.row)] * rows)]}


def identified(identity: str) -> Make:
    return lambda target: target.body(id=identity)


def exact(target: Target, text: str) -> bytes:
    """A request whose numbers are written as `text`."""
    marked = json.dumps({"inputs": [target.tensor(data=["#"] * len(target.row))]})
    return marked.replace('"#"', text).encode()


table.post("one row, flat", INFER, lambda t: t.body(), answered())
table.post("one row, nested", INFER, nested(1), answered())
for _rows in (2, 10, 1000):
    table.post(f"{_rows} rows, flat", INFER, flat(_rows), answered(_rows))
    table.post(f"{_rows} rows, nested", INFER, nested(_rows), answered(_rows))
table.post("one row to the version", "/v2/models/{model}/versions/{version}/infer", lambda t: t.body(), answered())
for _id in ("1", "a long id " * 12, "Zürich-✓-🚀", "null", '"quoted"'):
    table.post(f"id {_id[:12]!r} is echoed", INFER, identified(_id), answered(1, _id))
table.post("id null is no id", INFER, lambda t: t.body(id=None), answered())
table.post("outputs null is all outputs", INFER, lambda t: t.body(outputs=None), answered())
table.post("outputs [] is all outputs", INFER, lambda t: t.body(outputs=[]), answered())
table.post("parameters of a request", INFER, lambda t: t.body(parameters={"priority": 1}), answered())
table.post("parameters null", INFER, lambda t: t.body(parameters=None), answered())
table.post("parameters of an input", INFER, lambda t: {"inputs": [t.tensor(parameters={"a": "b"})]}, answered())
table.post("fields nobody knows", INFER, lambda t: t.body(some_day={"a": [1]}), answered())
table.post("whole numbers as floating point", INFER, lambda t: exact(t, "1"), answered())
table.post("numbers with exponents", INFER, lambda t: exact(t, "1.5E+0"), answered())
table.post("negative zero", INFER, lambda t: exact(t, "-0.0"), answered())
table.post("many digits", INFER, lambda t: exact(t, "0." + "3" * 300), answered())
table.post("indented JSON", INFER, lambda t: json.dumps(t.body(), indent=3).encode(), answered())
table.post(
    "escaped names", INFER, lambda t: json.dumps(t.body()).replace('"name"', '"n\\u0061me"').encode(), answered()
)
table.post("no content-type", INFER, lambda t: t.body(), answered(), content_type="")
table.post("a charset", INFER, lambda t: t.body(), answered(), content_type="application/json; charset=utf-8")
table.post("accept anything", INFER, lambda t: t.body(), answered(), accept="*/*")
table.post(
    "the first output alone",
    INFER,
    lambda t: t.body(outputs=[{"name": t.outputs[0]}]),
    lambda t, a: answered(outputs=t.outputs[:1])(t, a),
)
table.post(
    "the last output alone",
    INFER,
    lambda t: t.body(outputs=[{"name": t.outputs[-1]}]),
    lambda t, a: answered(outputs=t.outputs[-1:])(t, a),
)
table.post(
    "outputs in reverse",
    INFER,
    lambda t: t.body(outputs=[{"name": name} for name in reversed(t.outputs)]),
    lambda t, a: answered(outputs=t.outputs[::-1])(t, a),
)
table.post(
    "the answer has its length",
    INFER,
    lambda t: t.body(),
    answered(),
    lambda t, a: header("content-length", str(len(a.body)))(t, a),
)
