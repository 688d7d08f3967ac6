"""MLflow on PostgreSQL, started with exactly what the chart renders, and asked what the operator asks.

Commands, flags and environment come out of the chart's Deployment, so a flag that this MLflow does not know, a host
name it refuses or a database it cannot migrate fails here and not in somebody's cluster.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from tests.chart import environment, one, render
from tests.mlflow_server import tracking_at
from tests.postgres import Postgres
from tests.processes import Processes, free_port
from trimtab.adapters.mlflow import Mlflow
from trimtab.adapters.registry import MlflowRegistry
from trimtab.kinds.mlmodel.observe import RegistryError

POD = one(render({"mlflow": {"database": {"existingSecret": "postgres"}}}), "Deployment", "trimtab-mlflow")["spec"][
    "template"
]["spec"]


@dataclass(frozen=True)
class Installation:
    """A running MLflow with its database."""

    port: int
    folder: Path
    postgres: Postgres
    processes: Processes

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Run the init container to its end and then the server, as the kubelet would."""
        command = self._command(POD["initContainers"][0])
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{POD['initContainers'][0]['name']} failed:\n{done.stderr}"
        self.processes.spawn("mlflow", self._command(POD["containers"][0]))
        self.processes.wait("mlflow", lambda: ask(self.uri + "/health")[0] == 200)

    def stop(self) -> None:
        self.processes.end("mlflow", signal.SIGTERM)

    def _command(self, container: dict[str, Any]) -> list[str]:
        settings = environment(container)
        assert settings["MLFLOW_BACKEND_STORE_URI"] == {"secretKeyRef": {"name": "postgres", "key": "uri"}}
        settings |= {"MLFLOW_BACKEND_STORE_URI": self.postgres.uri, "HOME": str(self.folder)}
        settings["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        pairs = [f"{name}={value}" for name, value in settings.items()]
        # MLflow checks itself more strictly when it believes to be under test; a pod does not.
        return ["env", "-u", "PYTEST_CURRENT_TEST", *pairs, *map(self._here, container["command"])]

    def _here(self, part: str) -> str:
        """The test's machine has other addresses and folders than a pod."""
        elsewhere = {
            "--host=0.0.0.0": "--host=127.0.0.1",
            "--port=5000": f"--port={self.port}",
            "--artifacts-destination=/data/artifacts": f"--artifacts-destination={self.folder / 'artifacts'}",
        }
        return elsewhere.get(part, part)


def ask(url: str, method: str = "GET", body: bytes | None = None, host: str | None = None) -> tuple[int, bytes]:
    """One request; the status (0 when nobody answers) and the body."""
    request = urllib.request.Request(url, body, {"Host": host} if host else {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()
    except OSError:
        return 0, b""


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with tempfile.TemporaryDirectory(prefix="trimtab-mlflow-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "postgres").mkdir()
        processes = Processes(folder)
        try:
            postgres = Postgres(folder / "postgres", processes)
            postgres.start()
            postgres.query("CREATE DATABASE mlflow", database="postgres")
            running = Installation(free_port(), folder, postgres, processes)
            running.start()
            yield running
        finally:
            processes.end_all()


@pytest.fixture
async def registry(installation: Installation) -> AsyncIterator[MlflowRegistry]:
    """The operator's own view of the registry."""
    async with aiohttp.ClientSession() as session:
        yield MlflowRegistry(Mlflow(installation.uri, session, time.monotonic))


@dataclass(frozen=True)
class Trained:
    """Two registered versions of one model, and what each says of rows it has not seen."""

    rows: np.ndarray[Any, Any]
    predictions: dict[str, list[float]]


@pytest.fixture(scope="module")
def trained(installation: Installation) -> Iterator[Trained]:
    """What a training Job does: fit, log, register, point the alias."""
    features, target = load_breast_cancer(return_X_y=True)
    learn, held_out, known, _ = train_test_split(features, target, random_state=0, stratify=target)
    predictions = {}
    with tracking_at(installation.uri):
        for version, strength in (("1", 1.0), ("2", 0.01)):
            model = LogisticRegression(C=strength, max_iter=5000).fit(learn, known)
            with mlflow.start_run():
                mlflow.log_metric("accuracy", model.score(learn, known))
                mlflow.sklearn.log_model(
                    model,
                    name="model",
                    registered_model_name="tumour",
                    input_example=learn[:2],
                    pyfunc_predict_fn="predict_proba",
                )
            predictions[version] = model.predict_proba(held_out)[:, 1].tolist()
        MlflowClient(installation.uri).set_registered_model_alias("tumour", "champion", "1")
        yield Trained(held_out, predictions)


async def test_an_alias_is_resolved_fetched_and_predicts_the_same(
    installation: Installation, trained: Trained, registry: MlflowRegistry
) -> None:
    assert trained.predictions["1"] != trained.predictions["2"]
    client = MlflowClient(installation.uri)
    for version in ("1", "2"):
        client.set_registered_model_alias("tumour", "champion", version)
        assert await registry.version("tumour", "champion", max_age_seconds=0) == version
        code, body = ask(f"{installation.uri}/api/2.0/mlflow/model-versions/get?name=tumour&version={version}")
        found = json.loads(body)["model_version"]
        assert (code, found["version"], found["status"]) == (200, version, "READY")
        assert found["source"].startswith("models:/m-")
        served = mlflow.pyfunc.load_model(f"models:/tumour/{version}").predict(trained.rows)
        assert served[:, 1].tolist() == trained.predictions[version]


@pytest.mark.usefixtures("trained")
async def test_latest_is_the_highest_version(registry: MlflowRegistry) -> None:
    assert await registry.version("tumour", None, max_age_seconds=0) == "2"


@pytest.mark.usefixtures("trained")
async def test_what_is_not_registered_is_named(registry: MlflowRegistry) -> None:
    for name, alias, words in (
        ("tumour", "challenger", "models:/tumour@challenger"),
        ("nobody", "champion", "models:/nobody@champion"),
        ("nobody", None, "no version of nobody"),
    ):
        with pytest.raises(RegistryError, match=words) as refusal:
            await registry.version(name, alias, max_age_seconds=0)
        assert refusal.value.reason == "SourceNotFound"


@pytest.mark.usefixtures("trained")
def test_the_data_are_in_postgres_and_the_files_behind_the_proxy(installation: Installation) -> None:
    assert installation.postgres.query("SELECT name FROM registered_models") == [("tumour",)]
    assert installation.postgres.query("SELECT count(*) FROM model_versions") == [(2,)]
    assert not list(installation.folder.glob("**/*.db"))
    assert list((installation.folder / "artifacts").glob("**/MLmodel"))


def test_the_store_behind_the_artifact_proxy_returns_the_bytes_it_was_given(installation: Installation) -> None:
    settings = environment(
        one(render({}), "Deployment", "trimtab-operator")["spec"]["template"]["spec"]["containers"][0]
    )
    root = urllib.parse.urlsplit(settings["TRIMTAB_STORE_URI"]).path
    bundle = os.urandom(3_000_000)
    address = f"{installation.uri}{root}/sha256/{hashlib.sha256(bundle).hexdigest()}"
    assert ask(address)[0] == 404
    assert ask(address, "PUT", bundle)[0] == 200
    assert ask(address) == (200, bundle)


@pytest.mark.parametrize("port", ["", ":5000"])
@pytest.mark.parametrize("suffix", ["", ".trimtab-system", ".trimtab-system.svc", ".trimtab-system.svc.cluster.local"])
def test_the_server_answers_to_its_services_names(installation: Installation, suffix: str, port: str) -> None:
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert ask(installation.uri + path, host=f"trimtab-mlflow{suffix}{port}")[0] == 200


@pytest.mark.parametrize("host", ["evil.example.com", "trimtab-mlflow.evil.example.com", "trimtab-mlflow:5001"])
def test_the_server_refuses_other_names(installation: Installation, host: str) -> None:
    code, body = ask(installation.uri + "/api/2.0/mlflow/experiments/get?experiment_id=0", host=host)
    assert (code, b"Invalid Host header" in body) == (403, True)


async def test_a_database_that_is_down_is_a_registry_that_does_not_answer(
    installation: Installation, trained: Trained, registry: MlflowRegistry
) -> None:
    version = await registry.version("tumour", "champion", max_age_seconds=0)
    assert version in trained.predictions
    installation.postgres.stop()
    with pytest.raises(RegistryError) as refusal:
        await registry.version("tumour", "champion", max_age_seconds=0)
    assert refusal.value.reason == "RegistryUnreachable"
    installation.postgres.start()
    assert await registry.version("tumour", "champion", max_age_seconds=0) == version


async def test_a_restart_upgrades_a_full_database_and_loses_nothing(
    installation: Installation, trained: Trained, registry: MlflowRegistry
) -> None:
    version = await registry.version("tumour", "champion", max_age_seconds=0)
    installation.stop()
    installation.start()
    assert await registry.version("tumour", "champion", max_age_seconds=0) == version
    served = mlflow.pyfunc.load_model("models:/tumour@champion").predict(trained.rows)
    assert served[:, 1].tolist() == trained.predictions[version]
