"""The images' side of the contract with real processes: store, fetch, server, and a real scikit-learn model."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import aiohttp
import numpy as np
import pytest

from tests.processes import free_port
from trimtab_serving.bundle import BundleInfo, Tensor, pack, write_info
from trimtab_serving.store import open_store

ROOT = Path(__file__).parents[2]
NAME = "iris"


class Trained(NamedTuple):
    """A bundle in a store, and the estimator it came from."""

    store: str
    digest: str
    rows: Any
    model: Any


def train(runtime: Literal["onnx", "python"], home: Path) -> Trained:
    """A classifier, as a bundle for this runtime in a store of its own."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    rows, labels = load_iris(return_X_y=True)
    rows = rows.astype(np.float32)
    model = LogisticRegression(max_iter=1000).fit(rows, labels)
    source = home / "source"
    (source / "model").mkdir(parents=True)
    if runtime == "onnx":
        from skl2onnx import to_onnx

        options = {"zipmap": False, "output_class_labels": False}
        graph = to_onnx(model, rows[:1], options={id(model): options})
        (source / "model.onnx").write_bytes(graph.SerializeToString())
    else:
        import skops.io

        skops.io.dump(model, source / "model" / "model.skops")
    info = BundleInfo(
        format="Sklearn",
        flavor="sklearn",
        runtime=runtime,
        inputs=(Tensor("X", "FP32", (-1, 4)),),
        outputs=(Tensor("label", "INT64", (-1,)), Tensor("probabilities", "FP32", (-1, 3))),
    )
    write_info(info, source)
    (source / "example.json").write_text(json.dumps(request_of(rows[:2])))
    with (home / "bundle.tar").open("wb") as tar:
        digest = pack(source, tar)
    store = (home / "store").as_uri()
    open_store(store).put(digest, home / "bundle.tar")
    return Trained(store, digest, rows, model)


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train("onnx", tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train("python", tmp_path_factory.mktemp("python"))


def request_of(rows: Any) -> dict[str, Any]:
    tensor = {"name": "X", "shape": list(rows.shape), "datatype": "FP32", "data": rows.tolist()}
    return {"inputs": [tensor]}


def environment(trained: Trained, home: Path, **change: str) -> dict[str, str]:
    contract = {
        "TRIMTAB_STORE": trained.store,
        "TRIMTAB_DIGEST": trained.digest,
        "TRIMTAB_BUNDLE_DIR": str(home / "bundle"),
        "TRIMTAB_MODEL_NAME": NAME,
        "TRIMTAB_MODEL_VERSION": "3",
        "TRIMTAB_PORT": str(free_port()),
        "TRIMTAB_DRAIN_SECONDS": "2",
        "TRIMTAB_RESULT_PATH": str(home / "last-words"),
        "TRIMTAB_STATE_DIR": str(home / "state"),
        "TRIMTAB_WORKERS": "1",
    }
    basics = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "serving-image"), "HOME": str(home)}
    return basics | contract | change


def run(module: str, given: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=False)


class Process:
    """A server process and its address."""

    def __init__(self, given: dict[str, str], *arguments: str) -> None:
        self.url = f"http://127.0.0.1:{given['TRIMTAB_PORT']}"
        self.log = Path(given["HOME"], f"log-{given['TRIMTAB_PORT']}")
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "trimtab_serving", *arguments]
            self.process = subprocess.Popen(command, env=given, stdout=log, stderr=log)

    def call(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                content, status, given = response.read(), response.status, response.headers
        except urllib.error.HTTPError as error:
            content, status, given = error.read(), error.code, error.headers
        return status, json.loads(content) if "json" in given["content-type"] else content.decode(), given

    def until_ready(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if self.call("/v2/health/ready")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not ready within 60 s:\n{self.log.read_text()}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def serving(given: dict[str, str], *arguments: str) -> Iterator[Process]:
    server = Process(given, *arguments)
    try:
        server.until_ready()
        yield server
    finally:
        server.process.kill()
        server.process.wait(10)


@pytest.fixture
def given(onnx: Trained, tmp_path: Path) -> dict[str, str]:
    """The contract's environment for the ONNX bundle, which was fetched."""
    return fetched_environment(onnx, tmp_path)


@pytest.fixture(scope="module")
def shared(onnx: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serving(fetched_environment(onnx, tmp_path_factory.mktemp("shared"))) as server:
        yield server


def fetched_environment(trained: Trained, home: Path) -> dict[str, str]:
    prepared = environment(trained, home)
    fetched = run("trimtab_serving.fetch", prepared)
    assert fetched.returncode == 0, fetched.stderr
    return prepared


@pytest.mark.parametrize("runtime", ["onnx", "python"])
def test_the_contracts_paths_answer_and_predictions_are_the_estimators(
    runtime: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    trained: Trained = request.getfixturevalue(runtime)
    with serving(fetched_environment(trained, tmp_path)) as server:
        assert server.call("/v2/health/live")[:2] == (200, {"live": True})
        status, metadata, headers = server.call(f"/v2/models/{NAME}")
        assert (status, metadata["versions"], metadata["parameters"]) == (200, ["3"], {"digest": trained.digest})
        assert headers["x-trimtab-revision"] == trained.digest[7:19]

        status, answer, headers = server.call(
            f"/v2/models/{NAME}/versions/3/infer", request_of(trained.rows), **{"x-request-id": "r1"}
        )
        assert (status, headers["x-request-id"]) == (200, "r1")
        label, probabilities = (np.array(out["data"]).reshape(out["shape"]) for out in answer["outputs"])
        np.testing.assert_array_equal(label, trained.model.predict(trained.rows))
        np.testing.assert_allclose(probabilities, trained.model.predict_proba(trained.rows), atol=1e-6)

        status, error, _ = server.call(f"/v2/models/{NAME}/infer", request_of(trained.rows[:, :3]))
        assert (status, error["error"].split(";")[0]) == (400, "inputs[0].shape is [150, 3]")

        labels = f'model="{NAME}",revision="{trained.digest[7:19]}"'
        metrics = server.call("/metrics")[1].splitlines()
        assert f'trimtab_requests_total{{code="200",{labels}}} 1.0' in metrics
        assert f'trimtab_requests_total{{code="400",{labels}}} 1.0' in metrics
        assert f"trimtab_request_duration_seconds_count{{{labels}}} 2.0" in metrics
        assert any(line.startswith(f'trimtab_model_info{{digest="{trained.digest}"') for line in metrics)
        assert server.stop() == 0


def test_the_slim_path_imports_nothing_of_the_toolbox(given: dict[str, str]) -> None:
    script = (
        "import sys, os; from trimtab_serving import __main__, model, settings\n"
        "model.load(settings.from_environment(os.environ))\n"
        "print(sorted({'mlflow', 'sklearn', 'pandas', 'onnx', 'skops', 'fastapi'} & set(sys.modules)))\n"
    )
    told = subprocess.run([sys.executable, "-c", script], env=given, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_a_changed_bundle_ends_the_server_with_last_words(onnx: Trained, given: dict[str, str]) -> None:
    Path(given["TRIMTAB_BUNDLE_DIR"], "example.json").write_text("{}")
    assert run("trimtab_serving", given).returncode == 10
    words = json.loads(Path(given["TRIMTAB_RESULT_PATH"]).read_text())
    assert words["reason"] == "DigestMismatch"
    assert onnx.digest in words["message"]


def test_fetch_refuses_an_object_that_is_not_its_digest(onnx: Trained, tmp_path: Path) -> None:
    other = tmp_path / "store" / "sha256"
    other.mkdir(parents=True)
    (other / onnx.digest[7:]).write_bytes(b"something else")
    given = environment(onnx, tmp_path, TRIMTAB_STORE=(tmp_path / "store").as_uri())
    fetched = run("trimtab_serving.fetch", given)
    assert fetched.returncode == 10
    assert json.loads((tmp_path / "last-words").read_text())["reason"] == "DigestMismatch"
    assert list((tmp_path / "bundle").iterdir()) == []


def test_without_a_cluster_flags_do(onnx: Trained, tmp_path: Path) -> None:
    given = environment(onnx, tmp_path)
    for variable in [name for name in given if name.startswith("TRIMTAB") and name != "TRIMTAB_PORT"]:
        del given[variable]
    store = onnx.store.removeprefix("file://")
    flags = ("--store", store, "--digest", onnx.digest, "--name", "mine", "--port", given["TRIMTAB_PORT"])
    flags = (*flags, "--workers", "2")
    with serving(given, *flags) as server:
        assert server.call("/v2/models/mine/infer", request_of(onnx.rows[:1]))[0] == 200
        counts = server.call("/trimtab/v1/counts")[1]
        assert (counts["workers"], counts["requests"]["classes"]["2xx"]) == (2, 1)
        assert server.stop() == 0


HEAD = f"POST /v2/models/{NAME}/infer HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        ("NONSENSE\r\n\r\n", 400, "Invalid HTTP request received"),
        ("GET /v2/\x7f\xff HTTP/1.1\r\n\r\n", 400, "Invalid HTTP request received"),
        (f"{HEAD}Content-Length: -1\r\n\r\n", 400, "Invalid HTTP request received"),
        (f"{HEAD}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}", 400, "Invalid HTTP request received"),
        (f"{HEAD}Content-Length: 999999999\r\nExpect: 100-continue\r\n\r\n", 413, "the body is larger than"),
        (f"{HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n", 400, "inputs is missing"),
        (f"{HEAD}Content-Length: 2\r\nConnection: close\r\n\r\n[]", 400, "the body: expected an object"),
    ],
)
def test_what_is_hardly_http_is_answered_in_json(shared: Process, sent: str, status: int, message: str) -> None:
    with socket.create_connection(("127.0.0.1", int(shared.url.rpartition(":")[2])), timeout=5) as connection:
        connection.sendall(sent.encode("latin-1"))
        received = b""
        while not received.endswith(b"}"):
            chunk = connection.recv(65536)
            assert chunk, received
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(body)["error"].startswith(message)
    assert shared.call("/v2/health/ready")[0] == 200


def test_a_second_signal_cuts_the_drain_short(given: dict[str, str]) -> None:
    with serving(given | {"TRIMTAB_DRAIN_SECONDS": "60"}) as server:
        server.process.send_signal(signal.SIGTERM)
        while server.call("/v2/health/ready")[0] != 503:
            assert server.process.poll() is None
        assert server.stop() == 0  # which waits half as long as the drain would take


class Service:
    """What a Service does: sends requests to the ready pods, and learns late that one is leaving."""

    def __init__(self, pods: list[Process]) -> None:
        self.ready = [pod.url for pod in pods]
        self.answered: dict[str, int] = dict.fromkeys(self.ready, 0)
        self.closing = 0

    async def watch(self, session: aiohttp.ClientSession, url: str) -> None:
        while True:
            async with session.get(f"{url}/v2/health/ready") as response:
                if response.status == 503:
                    break
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # the time endpoints take to reach every node
        self.ready.remove(url)

    async def client(self, session: aiohttp.ClientSession, body: bytes, requests: int) -> None:
        for number in range(requests):
            url = self.ready[number % len(self.ready)]
            async with session.post(f"{url}/v2/models/{NAME}/infer", data=body) as response:
                assert response.status == 200, await response.text()
                assert (await response.json())["outputs"][0]["data"] == [0]
                self.answered[url] += 1
                self.closing += response.headers.get("connection") == "close"
            await asyncio.sleep(0.002)


async def test_sigterm_under_load_loses_no_request(onnx: Trained, given: dict[str, str]) -> None:
    other = given | {"TRIMTAB_PORT": str(free_port())}
    with serving(given) as leaving, serving(other) as staying:
        service = Service([leaving, staying])
        body = json.dumps(request_of(onnx.rows[:1])).encode()
        async with aiohttp.ClientSession() as session:
            watch = asyncio.create_task(service.watch(session, leaving.url))
            clients = [asyncio.create_task(service.client(session, body, 500)) for _ in range(8)]
            await asyncio.sleep(0.5)
            leaving.process.send_signal(signal.SIGTERM)
            await asyncio.gather(watch, *clients)
        assert sum(service.answered.values()) == 4000
        assert min(service.answered.values()) > 100
        assert service.closing > 0
        assert leaving.process.wait(10) == 0
        assert staying.stop() == 0
