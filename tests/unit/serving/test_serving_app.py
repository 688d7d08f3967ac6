"""The application without a socket: every path, every client fault, and what a client never sees."""

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from trimtab_serving.app import Application
from trimtab_serving.bundle import BundleInfo, Tensor
from trimtab_serving.lifecycle import Lifecycle
from trimtab_serving.metrics import Metrics
from trimtab_serving.model import Model
from trimtab_serving.protocol.datatypes import Array
from trimtab_serving.protocol.signature import Signature
from trimtab_serving.runtimes import ModelRefused
from trimtab_serving.settings import Settings

DIGEST = "sha256:" + "ab" * 32
INFO = BundleInfo(
    format="ONNX",
    flavor="onnx",
    runtime="onnx",
    inputs=(Tensor("x", "FP32", (-1, 2)),),
    outputs=(Tensor("sum", "FP32", (-1,)), Tensor("word", "BYTES", (-1,))),
)
INFER = "/v2/models/adder/infer"


class Adder:
    """Adds up rows; negative numbers make it refuse, break, or wait."""

    platform = "test_adder"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.waiting = threading.Event()

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        first = inputs["x"][0, 0]
        if first == -1:
            raise ModelRefused("unknown category\n  -1")
        if first == -2:
            raise KeyError("secret of the model")
        if first == -3:
            self.waiting.set()
            assert self.gate.wait(10)
        with np.errstate(over="ignore"):
            total = inputs["x"].sum(axis=1)
        results = {"sum": total, "word": np.array([b"a", "\u00e9"][: len(inputs["x"])], object)}
        return [results[name] for name in outputs]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    def __init__(self, loaded: bool = True, **settings: Any) -> None:
        self.settings = Settings("adder", "7", DIGEST, Path("/nowhere"), max_request_bytes=1000, **settings)
        self.metrics = Metrics("adder", self.settings.revision)
        self.lifecycle = Lifecycle(self.settings, self.metrics)
        self.runtime = Adder()
        self.app = Application(self.lifecycle, self.metrics)
        if loaded:
            self.load()

    def load(self) -> None:
        from trimtab_serving.lifecycle import Phase

        self.lifecycle.model = Model(self.settings, Signature(INFO), self.runtime, "python")
        self.lifecycle.phase = Phase.READY

    async def call(
        self, method: str, path: str, *chunks: bytes, headers: Mapping[str, str] | None = None, gone: bool = False
    ) -> Answer:
        events = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks or (b"",)]
        events[-1]["more_body"] = gone
        events.append({"type": "http.disconnect"})
        sent: list[Any] = []

        async def receive() -> Any:
            return events.pop(0)

        async def send(event: Any) -> None:
            sent.append(event)

        raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        await self.app({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
        if not sent:
            return Answer(0, {}, b"")
        given = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        assert given["content-length"] == str(len(sent[1]["body"]))
        return Answer(sent[0]["status"], given, sent[1]["body"])

    async def infer(self, *values: float, **request: Any) -> Answer:
        return await self.call("POST", INFER, body(*values, **request))


def body(*values: float, **request: Any) -> bytes:
    tensor = {"name": "x", "shape": [len(values) // 2, 2], "datatype": "FP32", "data": list(values)}
    return json.dumps({"inputs": [tensor], **request}).encode()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"live": True, "ready": True}),
        ("/v2", {"name": "trimtab", "version": "0.1.0", "extensions": ["binary_tensor_data"]}),
        ("/v2/models/adder/ready", {"name": "adder", "ready": True}),
        ("/v2/models/adder/versions/7/ready", {"name": "adder", "ready": True}),
    ],
)
async def test_health_and_metadata(server: Server, path: str, answer: dict[str, Any]) -> None:
    got = await server.call("GET", path)
    assert (got.status, got.json) == (200, answer)
    assert got.headers["content-type"] == "application/json"
    assert got.headers["x-trimtab-revision"] == "abababababab"
    assert (await server.call("HEAD", path)).status == 200


@pytest.mark.parametrize("path", ["/v2/models/adder", "/v2/models/adder/versions/7"])
async def test_model_metadata(server: Server, path: str) -> None:
    assert (await server.call("GET", path)).json == {
        "name": "adder",
        "versions": ["7"],
        "platform": "test_adder",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [
            {"name": "sum", "datatype": "FP32", "shape": [-1]},
            {"name": "word", "datatype": "BYTES", "shape": [-1]},
        ],
        "parameters": {"digest": DIGEST},
    }


async def test_infer_leaves_out_what_is_not_there(server: Server) -> None:
    assert (await server.infer(1, 2, 3, 4.5)).json == {
        "model_name": "adder",
        "model_version": "7",
        "outputs": [
            {"name": "sum", "shape": [2], "datatype": "FP32", "data": [3.0, 7.5]},
            {"name": "word", "shape": [2], "datatype": "BYTES", "data": ["a", "é"]},
        ],
    }


async def test_infer_echoes_ids_and_selects_outputs(server: Server) -> None:
    request = body(1, 2, id="mine", outputs=[{"name": "sum"}])
    path = "/v2/models/adder/versions/7/infer"
    got = await server.call("POST", path, request[:9], request[9:], headers={"x-request-id": "r-1"})
    assert got.headers["x-request-id"] == "r-1"
    assert got.json["id"] == "mine"
    assert [output["name"] for output in got.json["outputs"]] == ["sum"]


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/", 404, "there is nothing at '/'"),
        ("GET", "/v2/models/adder/explain", 404, "there is nothing at '/v2/models/adder/explain'"),
        ("POST", "/v2/models/other/infer", 404, "model 'other' is unknown; this server serves 'adder'"),
        (
            "GET",
            "/v2/models/adder/versions/8/ready",
            404,
            "version '8' of model 'adder' is unknown; here it is '7'",
        ),
        ("GET", INFER, 405, "/v2/models/adder/infer takes POST, not GET"),
        ("POST", "/v2", 405, "/v2 takes GET, not POST"),
    ],
)
async def test_wrong_paths_and_methods(server: Server, method: str, path: str, status: int, message: str) -> None:
    got = await server.call(method, path)
    assert (got.status, got.json) == (status, {"error": message})
    assert ("allow" in got.headers) == (status == 405)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/choice", 200),
        ("GET", "/v2/models/choice/versions/7/ready", 200),
        ("GET", "/v1/models/choice", 200),
        ("POST", "/v2/models/choice/infer", 200),
        ("POST", "/v2/models/choice/versions/7/infer", 200),
        ("POST", "/v2/models/choice/versions/8/infer", 404),
        ("POST", "/v2/models//infer", 404),
        ("POST", "/v3/models/choice/infer", 404),
        ("GET", "/v2/choice", 404),
    ],
)
async def test_a_router_may_call_the_model_by_any_name(server: Server, method: str, path: str, status: int) -> None:
    asked = body(1, 2) if method == "POST" else b""
    assert (await server.call(method, path, asked, headers={"x-trimtab-routed": "1"})).status == status
    assert (await server.call(method, path, asked)).status == 404


async def test_a_bundle_without_a_profile_says_how_to_get_one(server: Server) -> None:
    answer = await server.call("GET", "/trimtab/v1/profile")
    message = "model 'adder' was imported without a drift profile; log it with one, and import it again"
    assert (answer.status, answer.json) == (404, {"error": message})


async def test_client_faults_are_400_with_the_field(server: Server) -> None:
    got = await server.call("POST", INFER, b'{"inputs":[{"name":"x"}]}')
    assert (got.status, got.json) == (400, {"error": "inputs[0].shape is missing"})


async def test_a_model_that_refuses_values_blames_the_input(server: Server) -> None:
    got = await server.infer(-1, 0)
    assert (got.status, got.json) == (400, {"error": "the model refused the input: unknown category -1"})


async def test_faults_of_ours_are_500_and_tell_nothing(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    got = await server.infer(-2, 0)
    assert (got.status, got.json) == (500, {"error": "the server failed on this request; its log says why"})
    assert "secret of the model" in caplog.text


@pytest.mark.parametrize(
    ("chunks", "headers"),
    [((b"x" * 1001,), {"content-length": "1001"}), ((b"x" * 600, b"x" * 600, b"x" * 600), {})],
    ids=["announced", "chunked"],
)
async def test_large_bodies(server: Server, chunks: tuple[bytes, ...], headers: dict[str, str]) -> None:
    got = await server.call("POST", INFER, *chunks, headers=headers)
    assert got.status == 413
    assert got.json == {"error": "the body is larger than 1000 bytes; send fewer rows in a request"}
    assert got.headers["connection"] == "close"


async def test_faults_of_ours_that_are_known_are_named_and_logged(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    got = await server.infer(1e38, 3.4e38)
    message = "the model's output 'sum' is not finite in row 0, which JSON cannot say"
    assert (got.status, got.json["error"].split(";")[0]) == (500, message)
    assert message in caplog.text


async def test_a_client_that_went_away_is_not_counted(server: Server) -> None:
    assert (await server.call("POST", INFER, b'{"inputs', gone=True)).status == 0
    assert b"trimtab_request_duration_seconds_count" in server.metrics.render()
    assert b'trimtab_request_duration_seconds_count{model="adder",revision="abababababab"} 0.0' in (
        server.metrics.render()
    )


async def test_before_the_model_is_loaded() -> None:
    server = Server(loaded=False)
    assert (await server.call("GET", "/v2/health/live")).status == 200
    ready = await server.call("GET", "/v2/health/ready")
    assert (ready.status, ready.json) == (503, {"live": True, "ready": False})
    model = await server.call("GET", "/v2/models/adder/ready")
    assert (model.status, model.json) == (503, {"name": "adder", "ready": False})
    got = await server.infer(1, 2)
    assert (got.status, got.headers["retry-after"]) == (503, "1")
    assert got.json == {"error": "model 'adder' is still loading; try again"}
    index = await server.call("POST", "/v2/repository/index")
    assert index.json == [{"name": "adder", "version": "7", "state": "UNAVAILABLE", "reason": "loading"}]
    assert (await server.call("POST", "/v2/repository/index", b'{"ready": true}')).json == []
    assert (await server.call("GET", "/v1/models/adder")).status == 503
    for method, path in (("GET", "/openapi.json"), ("GET", "/docs"), ("POST", "/v1/models/adder:predict")):
        got = await server.call(method, path, b"{}")
        assert (got.status, got.json) == (503, {"error": "model 'adder' is still loading; try again"})
    server.load()
    assert (await server.infer(1, 2)).status == 200


async def test_while_draining_it_answers_and_asks_clients_to_leave() -> None:
    server = Server(drain_seconds=3)
    assert server.lifecycle.drain() == 3
    assert (await server.call("GET", "/v2/health/ready")).status == 503
    assert (await server.call("GET", "/v2/health/live")).status == 200
    got = await server.infer(1, 2)
    assert (got.status, got.headers["connection"]) == (200, "close")


def test_what_never_was_ready_need_not_drain() -> None:
    assert Server(loaded=False, drain_seconds=3).lifecycle.drain() == 0


async def test_a_slow_prediction_holds_up_nobody(server: Server) -> None:
    slow = asyncio.create_task(server.infer(-3, 0))
    await asyncio.to_thread(server.runtime.waiting.wait, 10)
    assert (await server.call("GET", "/v2/health/live")).status == 200
    assert (await server.infer(1, 2)).status == 200
    assert not slow.done()
    server.runtime.gate.set()
    assert (await slow).status == 200


async def test_a_burst_fills_the_queue_and_no_more() -> None:
    server = Server(max_queue=3)
    burst = [asyncio.create_task(server.infer(-3, 0)) for _ in range(10)]
    done, held = await asyncio.wait(burst, return_when=asyncio.FIRST_COMPLETED)
    while len(done) < 7:
        more, held = await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
        done |= more
    assert {(task.result().status, task.result().headers["retry-after"]) for task in done} == {(503, "1")}
    assert {task.result().json["error"] for task in done} == {"3 requests are waiting already; try again in a second"}
    server.runtime.gate.set()
    assert {task.result().status for task in (await asyncio.wait(held))[0]} == {200}
    assert (await server.infer(-1, 0)).status == 400
    assert (await server.infer(1, 2)).status == 200
    assert server.lifecycle.admitted == 0


async def test_a_prediction_that_outlives_the_server_is_answered_with_503(server: Server) -> None:
    slow = asyncio.create_task(server.infer(-3, 0))
    await asyncio.to_thread(server.runtime.waiting.wait, 10)
    slow.cancel()
    got = await slow
    server.runtime.gate.set()
    assert (got.status, got.json) == (503, {"error": "the server stopped before it could answer; try again"})


async def test_metrics_count_by_code(server: Server) -> None:
    server.metrics.loaded(DIGEST, "onnx", 0.25)
    for values in ((1.0, 2.0), (1.0, 2.0), (-1.0, 0.0), (-2.0, 0.0)):
        await server.infer(*values)
    await server.call("GET", "/v2/health/live")
    got = await server.call("GET", "/metrics")
    assert got.headers["content-type"].startswith("text/plain; version=")
    lines = got.body.decode().splitlines()
    model = 'model="adder",revision="abababababab"'
    for line in (
        f'trimtab_requests_total{{code="200",{model}}} 2.0',
        f'trimtab_requests_total{{code="400",{model}}} 1.0',
        f'trimtab_requests_total{{code="500",{model}}} 1.0',
        f"trimtab_request_duration_seconds_count{{{model}}} 4.0",
        f'trimtab_model_info{{digest="{DIGEST}",{model},runtime="onnx"}} 1.0',
        "trimtab_model_load_seconds 0.25",
    ):
        assert line in lines
    assert any('le="0.0001"' in line for line in lines)


async def test_the_access_log_is_off_unless_wanted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await Server().infer(1, 2)
    assert caplog.records == []
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {"x-request-id": "r-2", "traceparent": trace}
    await Server(access_log=True).call("POST", INFER, body(1, 2), headers=headers)
    assert caplog.records[0].__dict__["traceparent"] == trace
    record = caplog.records[0]
    assert (record.name, record.__dict__["status"], record.__dict__["request_id"]) == (
        "trimtab.access",
        200,
        "r-2",
    )
