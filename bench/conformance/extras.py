"""What this project's server promises beyond the protocols' texts."""

from __future__ import annotations

import gzip
import json
from typing import Any

from bench.conformance.case import Check, Table, Target
from bench.conformance.checks import answered, fault, field, header, ok, status
from bench.conformance.wire import Answer, request

table = Table("trimtab")
INFER = "/v2/models/{model}/infer"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def packed(target: Target) -> bytes:
    return gzip.compress(json.dumps(target.body(50)).encode())


def unpacked(check: Check) -> Check:
    """`check` of the answer without its compression."""

    def run(target: Target, answer: Answer) -> None:
        header("content-encoding", "gzip")(target, answer)
        check(target, Answer(answer.status, answer.headers, gzip.decompress(answer.body)))

    return run


def contains(text: str) -> Check:
    def check(target: Target, answer: Answer) -> None:
        assert text.encode() in answer.body, f"{text!r} is not in it"

    return check


def without(name: str) -> Check:
    def check(target: Target, answer: Answer) -> None:
        assert name not in answer.headers, f"{name} is {answer.headers[name]!r}"

    return check


def aliased(*names: str) -> Any:
    return lambda target: target.body(outputs=[{"name": name} for name in names])


table.get("the list of models", "/v2/models", field("models", value=lambda t: [t.model]))
table.post("the repository's index", "/v2/repository/index", b"", field(0, "state", value="READY"))
table.post(
    "the index of ready models", "/v2/repository/index", b'{"ready": true}', field(0, "name", value=lambda t: t.model)
)
table.post("an index request that is wrong", "/v2/repository/index", b'{"ready": "x"}', fault("ready", 400))
table.get("binary tensors are advertised", "/v2", field("extensions", value=["binary_tensor_data"]))
table.get("the OpenAPI document", "/openapi.json", ok, field("openapi", value="3.1.0"))
table.get("the page", "/docs", status(200), header("content-type", "text/html; charset=utf-8"), contains("</html>"))
table.get("the metrics", "/metrics", status(200), contains("trimtab_requests_total"))
table.get("the revision", "/v2/health/live", lambda t, a: _check(len(a.headers.get("x-trimtab-revision", "")) == 12))

table.post("x-request-id", INFER, lambda t: t.body(), answered(), header("x-request-id", "r-1"), x_request_id="r-1")
table.post("x-request-id of a fault", INFER, b"{}", fault(), header("x-request-id", "r-2"), x_request_id="r-2")
table.post(
    "x-request-id too long", INFER, lambda t: t.body(), answered(), without("x-request-id"), x_request_id="r" * 200
)
table.post("traceparent", INFER, lambda t: t.body(), answered(), header("traceparent", TRACE), traceparent=TRACE)
table.post(
    "traceparent that is none", INFER, lambda t: t.body(), answered(), without("traceparent"), traceparent="00-x"
)
EVENT = {"ce_specversion": "1.0", "ce_id": "e1", "ce_source": "/here", "ce_type": "org.example.request"}
table.post(
    "a CloudEvent",
    INFER,
    lambda t: t.body(),
    answered(),
    header("ce-id", "e1"),
    header("ce-specversion", "1.0"),
    **EVENT,
)
table.post("half a CloudEvent", INFER, lambda t: t.body(), answered(), without("ce-id"), ce_id="e2")

table.post("gzip in", INFER, packed, answered(50), content_encoding="gzip")
table.post("gzip in, by its old name", INFER, packed, answered(50), content_encoding="x-gzip")
table.post("gzip out", INFER, lambda t: t.body(200), unpacked(answered(200)), accept_encoding="br, gzip;q=0.5")
table.post(
    "no gzip for a client that refuses it",
    INFER,
    lambda t: t.body(200),
    answered(200),
    without("content-encoding"),
    accept_encoding="gzip;q=0",
)
table.post(
    "no gzip for little", INFER, lambda t: t.body(), answered(), without("content-encoding"), accept_encoding="gzip"
)
table.post(
    "V1 in gzip both ways",
    "/v1/models/{model}:predict",
    lambda t: gzip.compress(json.dumps({"instances": [list(t.row)] * 900}).encode()),
    unpacked(ok),
    content_encoding="gzip",
    accept_encoding="gzip",
)
table.post("identity", INFER, lambda t: t.body(), answered(), content_encoding="identity")
table.post("gzip that is none", INFER, lambda t: t.body(), fault("gzip", 400), content_encoding="gzip")
table.post("half of gzip", INFER, lambda t: packed(t)[:-9], fault("gzip", 400), content_encoding="gzip")
table.post("an encoding that is not read", INFER, lambda t: t.body(), fault("br", 415), content_encoding="br")
table.post(
    "a gzip bomb", INFER, lambda t: gzip.compress(b" " * (80 << 20)), fault("larger", 413), content_encoding="gzip"
)

table.post(
    "a content-type that is not read", INFER, lambda t: t.body(), fault("text/xml", 415), content_type="text/xml"
)
table.post(
    "a structured CloudEvent", INFER, b"{}", fault("cloudevents", 415), content_type="application/cloudevents+json"
)
table.post(
    "a charset that is not read",
    INFER,
    lambda t: t.body(),
    fault("utf-16", 415),
    content_type="application/json; charset=utf-16",
)
table.raw(
    "a length that is too large",
    lambda t: [request("POST", t.infer, b"", {"content-length": "999999999", "expect": "100-continue"})],
    fault("larger", 413),
)

table.post("predict", INFER, aliased("predict"), answered(outputs=("predict",)))
table.post("predict_proba", INFER, aliased("predict_proba"), answered(outputs=("predict_proba",)))
table.post("both aliases", INFER, aliased("predict_proba", "predict"), answered(outputs=("predict_proba", "predict")))
table.post(
    "V1 with outputs",
    "/v1/models/{model}:predict",
    lambda t: {"instances": [list(t.row)], "outputs": ["predict_proba"]},
    field("predictions", 0, kind=list),
)
table.post(
    "V1 with two outputs",
    "/v1/models/{model}:predict",
    lambda t: {"instances": [list(t.row)], "outputs": ["predict", "predict_proba"]},
    field("predictions", 0, "predict_proba", kind=list),
)
table.post(
    "V1 with an unknown output",
    "/v1/models/{model}:predict",
    lambda t: {"instances": [list(t.row)], "outputs": ["z"]},
    fault("outputs[0]", 400),
)
table.post(
    "a datatype that is narrower",
    INFER,
    lambda t: {"inputs": [t.tensor(datatype="INT8", data=[1] * len(t.row))]},
    answered(),
)


def _check(truth: bool) -> None:
    assert truth, "it is not as promised"
