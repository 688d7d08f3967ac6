"""The import Job as a process against a real MLflow server, from the training script to a served prediction."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import mlflow.sklearn
import numpy as np
import pytest
from sklearn.base import BaseEstimator

from tests.mlflow_server import await_answer, mlflow_process
from tests.processes import free_port

ROOT = Path(__file__).parents[2]
TRAIN = ROOT / "examples" / "training" / "train.py"


class Registry(NamedTuple):
    """A running MLflow server with two versions of one model, and what the training said of them."""

    uri: str
    group: int
    trained: tuple[dict[str, Any], ...]


class Outcome(NamedTuple):
    """How an import ended."""

    code: int
    result: dict[str, Any]
    log: list[dict[str, Any]]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    home = tmp_path_factory.mktemp("mlflow")
    with mlflow_process(home) as (uri, group):
        trained = tuple(
            train(home, uri, *flags)
            for flags in (("--model", "logistic", "--alias", "champion"), ("--model", "forest"))
        )
        yield Registry(uri, group, trained)


def basics(home: Path) -> dict[str, str]:
    """An environment with nothing of this machine in it but the way to Python."""
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), **quiet}


def train(home: Path, uri: str, *flags: str) -> dict[str, Any]:
    command = [sys.executable, str(TRAIN), "--name", "tumour", *flags]
    environment = basics(home) | {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT / "serving-image")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def importing(home: Path, uri: str, source: str, **environ: str) -> Outcome:
    """Run the import as the Job does: by its environment, in directories that it must leave as they were."""
    work = {name: home / name for name in ("home", "tmp", "cwd")}
    for path in work.values():
        path.mkdir(exist_ok=True)
    environment = basics(work["home"]) | {
        "TMPDIR": str(work["tmp"]),
        "PYTHONPATH": str(ROOT / "serving-image"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MLFLOW_TRACKING_URI": uri,
        "TRIMTAB_SOURCE_URI": source,
        "TRIMTAB_STORE": (home / "store").as_uri(),
        "TRIMTAB_RESULT_PATH": str(home / "last-words"),
    }
    command = [sys.executable, "-m", "trimtab_toolbox"]
    done = subprocess.run(
        command, env=environment | environ, cwd=work["cwd"], capture_output=True, text=True, timeout=120, check=False
    )
    assert [list(path.iterdir()) for path in work.values()] == [[], [], []]
    result = json.loads((home / "last-words").read_bytes())
    assert json.loads(done.stdout) == result
    return Outcome(done.returncode, result, [json.loads(line) for line in done.stderr.splitlines() if line[0] == "{"])


def holdout() -> tuple[Any, Any]:
    """The 100 rows that the training script keeps apart."""
    spec = importlib.util.spec_from_file_location("train", TRAIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows, labels = module.holdout()
    return rows, labels


def original(registry: Registry, version: str, monkeypatch: pytest.MonkeyPatch) -> BaseEstimator:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    return mlflow.sklearn.load_model(f"models:/tumour/{version}")


def predicted(home: Path, imported: dict[str, Any], rows: Any, store: str) -> dict[str, Any]:
    """Fetch and serve the bundle with the image's own processes, and ask for all rows in one request."""
    port = free_port()
    environment = basics(home) | {
        "PYTHONPATH": str(ROOT / "serving-image"),
        "TRIMTAB_STORE": store,
        "TRIMTAB_DIGEST": imported["digest"],
        "TRIMTAB_BUNDLE_DIR": str(home / "bundle"),
        "TRIMTAB_MODEL_NAME": "tumour",
        "TRIMTAB_PORT": str(port),
        "TRIMTAB_RESULT_PATH": str(home / "server-last-words"),
    }
    subprocess.run([sys.executable, "-m", "trimtab_serving.fetch"], env=environment, timeout=60, check=True)
    with (home / "server-log").open("wb") as log:
        server = subprocess.Popen([sys.executable, "-m", "trimtab_serving"], env=environment, stdout=log, stderr=log)
    try:
        await_answer(f"http://127.0.0.1:{port}/v2/health/ready", server, home / "server-log")
        tensor = imported["inputs"][0]
        values = {"shape": list(rows.shape), "data": rows.to_numpy().tolist()}
        body = {"inputs": [{"name": tensor["name"], "datatype": tensor["datatype"], **values}]}
        url = f"http://127.0.0.1:{port}/v2/models/tumour/infer"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            outputs = json.load(answer)["outputs"]
    finally:
        server.terminate()
        server.wait(30)
    return {output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in outputs}


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("optimize", ["Auto", "Off"])
def test_100_held_out_rows_are_predicted_as_scikit_learn_predicts_them(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, optimize: str
) -> None:
    done = importing(tmp_path, registry.uri, f"models:/tumour/{version}", TRIMTAB_OPTIMIZE=optimize)
    assert done.code == 0, done.log
    assert done.result["runtime"] == ("onnx" if optimize == "Auto" else "python")
    assert done.result.get("parity", {}).get("mismatchPercent") == ("0" if optimize == "Auto" else None)
    rows, truth = holdout()
    model: Any = original(registry, version, monkeypatch)
    answer = predicted(tmp_path, done.result, rows, (tmp_path / "store").as_uri())
    assert len(rows) == 100
    assert (answer["label"] == model.predict(rows)).all()
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(rows), atol=1e-5)
    accuracy = float((answer["label"] == truth).mean())
    assert accuracy == pytest.approx(registry.trained[int(version) - 1]["accuracy"], abs=1e-4)


def test_the_artifact_proxy_is_a_store(registry: Registry, tmp_path: Path) -> None:
    store = f"{registry.uri}/api/2.0/mlflow-artifacts/artifacts/trimtab"
    first = importing(tmp_path, registry.uri, "models:/tumour/1", TRIMTAB_STORE=store)
    assert first.code == 0, first.log
    assert first.log[-1]["uploaded"] is True
    again = importing(tmp_path, registry.uri, "models:/tumour@champion", TRIMTAB_STORE=store, PYTHONHASHSEED="1")
    assert again.result == first.result
    assert again.log[-1]["uploaded"] is False
    answer = predicted(tmp_path, first.result, holdout()[0], store)
    assert answer["label"].shape == (100,)


def test_another_process_makes_the_same_digest(registry: Registry, tmp_path: Path) -> None:
    digests = set()
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        done = importing(tmp_path / seed, registry.uri, "models:/tumour/2", PYTHONHASHSEED=seed)
        digests.add(done.result["digest"])
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("models:/tumour/99", "models:/tumour/99 is not in the registry of http://127.0.0.1:"),
        ("models:/nobody/1", "Registered Model with name=nobody not found"),
        ("models:/tumour@nobody", "Registered model alias nobody not found"),
    ],
)
def test_what_is_not_in_the_registry(registry: Registry, tmp_path: Path, source: str, says: str) -> None:
    done = importing(tmp_path, registry.uri, source)
    assert (done.code, done.result["reason"]) == (10, "SourceNotFound")
    assert says in done.result["message"]
    assert done.result["message"].endswith("; write models:/NAME/VERSION with a version that exists")


def test_too_large_is_known_before_the_download(registry: Registry, tmp_path: Path) -> None:
    done = importing(tmp_path, registry.uri, "models:/tumour/2", TRIMTAB_MAX_BYTES="100000")
    assert (done.code, done.result["reason"]) == (10, "TooLarge")
    assert "and 100000 are allowed" in done.result["message"]


def test_nobody_answers(tmp_path: Path) -> None:
    uri = f"http://user:secret@127.0.0.1:{free_port()}"
    done = importing(tmp_path, uri, "models:/tumour/1", MLFLOW_HTTP_REQUEST_MAX_RETRIES="1")
    assert (done.code, done.result["reason"]) == (75, "SourceUnreachable")
    assert "it will be tried again" in done.result["message"]
    assert "secret" not in json.dumps(done.result)


def test_a_server_that_hangs_ends_with_the_deadline(registry: Registry, tmp_path: Path) -> None:
    os.killpg(registry.group, signal.SIGSTOP)
    try:
        done = importing(tmp_path, registry.uri, "models:/tumour/1", TRIMTAB_TIMEOUT_SECONDS="4")
    finally:
        os.killpg(registry.group, signal.SIGCONT)
    assert (done.code, done.result["reason"]) == (75, "Timeout")
    assert "the import was not done after 4 s (it was in the step 'fetch')" in done.result["message"]


class _Nonsense(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "body", "code", "reason"),
    [
        (200, b"<html>a login page</html>", 75, "SourceUnreachable"),
        (500, b"oops", 75, "SourceUnreachable"),
        (403, b"Invalid Host header - possible DNS rebinding attack detected", 10, "SourceNotFound"),
    ],
)
def test_a_server_that_is_no_mlflow(tmp_path: Path, status: int, body: bytes, code: int, reason: str) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Nonsense) as server:
        server.answer = status, body  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_address[1]}"
        done = importing(tmp_path, uri, "models:/tumour/1", MLFLOW_HTTP_REQUEST_MAX_RETRIES="1")
        server.shutdown()
    assert (done.code, done.result["reason"]) == (code, reason)
    if status == 403:
        assert "check spec.source.credentialsSecretName and the hosts that the server allows" in done.result["message"]
