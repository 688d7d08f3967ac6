"""Who is measured: what to install, how to start it, how to ask it.

Every peer runs as its documentation says, in the quickest form it offers on one core: no access log, no worker
processes behind queues, uvloop where it takes it. Predictions of all come from the same scikit-learn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.peers.dialects import BARE_ROWS, INVOCATIONS, NAME, PROTOCOL, ROWS, Dialect
from bench.peers.subjects import Files

APPS = Path(__file__).parent / "apps"
LEARN = ("scikit-learn==1.8.0", "joblib==1.6.0", "numpy==2.4.6")
ASYNC = ("uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0")


@dataclass(frozen=True)
class Place:
    """Where a server is to run: its environment's programs, the model's files, a port, a folder for its own files."""

    bin: Path
    files: Files
    port: int
    folder: Path


Command = Callable[[Place], list[str]]


@dataclass(frozen=True)
class Peer:
    """A server of somebody else. `package` is the distribution whose version stands in the table."""

    name: str
    package: str
    requirements: tuple[str, ...]
    dialect: Dialect
    command: Command
    ready: str
    environ: Mapping[str, str]


def _kserve(place: Place) -> list[str]:
    return [str(place.bin / "python"), str(APPS / "kserve_app.py"), "--http_port", str(place.port)]


def _mlserver(place: Place) -> list[str]:
    ports = {"http_port": place.port, "grpc_port": 0, "metrics_port": 0}
    settings = ports | {"host": "127.0.0.1", "parallel_workers": 0, "debug": False}
    model = {
        "name": NAME,
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(place.files.joblib), "version": "1"},
        # Its metadata are what is written here; a careful user writes them.
        "inputs": [{"name": "input", "datatype": "FP64", "shape": [-1, 4]}],
        "outputs": [{"name": "predict", "datatype": "INT64", "shape": [-1, 1]}],
    }
    (place.folder / "settings.json").write_text(json.dumps(settings))
    (place.folder / "model-settings.json").write_text(json.dumps(model))
    return [str(place.bin / "mlserver"), "start", str(place.folder)]


def _bentoml(place: Place) -> list[str]:
    where = ["--working-dir", str(APPS), "--host", "127.0.0.1", "--port", str(place.port)]
    return [str(place.bin / "bentoml"), "serve", "bento_app:Predictor", *where]


def _mlflow(place: Place) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(place.port)]
    options = ["--env-manager", "local", "--workers", "1"]
    return [str(place.bin / "mlflow"), "models", "serve", "-m", str(place.files.mlflow), *where, *options]


def _fastapi(place: Place) -> list[str]:
    where = ["--app-dir", str(APPS), "--host", "127.0.0.1", "--port", str(place.port)]
    return [str(place.bin / "uvicorn"), "fastapi_app:app", *where, "--no-access-log"]


PEERS = (
    Peer("KServe", "kserve", ("kserve==0.21.0", *LEARN, *ASYNC), PROTOCOL, _kserve, "/v2/health/ready", {}),
    Peer(
        "MLServer",
        "mlserver",
        ("mlserver==1.7.1", "mlserver-sklearn==1.7.1", *LEARN, *ASYNC),
        PROTOCOL,
        _mlserver,
        "/v2/health/ready",
        {},
    ),
    Peer(
        "BentoML",
        "bentoml",
        ("bentoml==1.4.39", "pandas==3.1.1", *LEARN, *ASYNC),
        BARE_ROWS,
        _bentoml,
        "/readyz",
        {"BENTOML_DO_NOT_TRACK": "True"},
    ),
    Peer(
        "MLflow",
        "mlflow",
        ("mlflow==3.17.2", "skops==0.16.0", *LEARN, *ASYNC),
        INVOCATIONS,
        _mlflow,
        "/ping",
        {"MLFLOW_DISABLE_TELEMETRY": "true"},
    ),
    Peer(
        "FastAPI",
        "fastapi",
        ("fastapi==0.165.0", "pydantic==2.14.3", "pandas==3.1.1", *LEARN, *ASYNC),
        ROWS,
        _fastapi,
        "/openapi.json",
        {},
    ),
)
