"""Models of every kind, from where their makers keep them, become Ready and predict what their libraries predict."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hack import ROOT
from hack.demo import release
from hack.demo.script import Script
from hack.demo.stage import Stage, condition
from tests.e2e import backends

Object = dict[str, Any]
HERE = Path(__file__).parent / "scripts"
EXAMPLES = ROOT / "examples"
FILES = {
    "zoo.py": HERE / "zoo.py",
    "tumour.py": EXAMPLES / "training/train.py",
    "credit_risk.py": EXAMPLES / "credit-risk/train.py",
    "dna.py": EXAMPLES / "dna/train.py",
}
# kind → the script that trains it, and what serves it. The custom pyfunc is DNA's, which is code.
KINDS = {
    "credit-risk": (("credit_risk.py",), "onnx"),
    "xgboost": (("zoo.py", "train", "xgboost"), "onnx"),
    "lightgbm": (("zoo.py", "train", "lightgbm"), "onnx"),
    "dna": (("dna.py",), "python"),
}
SMALL = {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}


@pytest.fixture(scope="module")
def trainer(installed: dict[str, str]) -> Iterator[Stage]:
    """A namespace in which models are trained and put into a bucket."""
    release.restricted("e2e-zoo")
    yield Stage("e2e-zoo", "zoo")
    Stage("e2e-zoo", "zoo").kubectl("delete", "namespace", "e2e-zoo", "--ignore-not-found", "--wait=false")


def script(stage: Stage, name: str, *arguments: str, secret: str = "") -> Object:
    return Script(stage.namespace, name, *arguments, files=FILES, secret=secret).result(300)


def ready(stage: Stage, kind: str, name: str, seconds: float = 240) -> Object:
    return stage.until(kind, name, lambda obj: condition(obj, "Ready")["status"] == "True", seconds)


def compared(stage: Stage, kind: str, name: str, *arguments: str) -> Object:
    url = f"http://{name}.{stage.namespace}.svc"
    return script(stage, "compare", "zoo.py", "compare", kind, "--url", url, "--model", name, *arguments)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_from_mlflow_predicts_what_its_library_predicts(stage: Stage, trainer: Stage, kind: str) -> None:
    training, runtime = KINDS[kind]
    registered = f"e2e-{kind}"
    version = str(script(trainer, f"train-{kind}", *training, "--name", registered)["version"])
    source = {"uri": f"models:/{registered}/{version}"}
    stage.manifest("MLModel", kind, {"source": source, "allowPickle": runtime == "python"})
    stage.manifest("ModelDeployment", kind, {"model": {"name": kind}, "resources": SMALL})
    revision = ready(stage, "mdep", kind)["status"]["revisions"][0]
    assert (revision["version"], revision["runtime"]) == (version, runtime)
    found = compared(stage, kind, kind, "--name", registered, "--version", version)
    assert found["same"] == found["rows"] > 30
    assert found["difference"] <= 1e-5


def test_an_onnx_file_comes_from_a_bucket_with_the_keys_of_a_secret(stage: Stage) -> None:
    backends.secret(stage, "bucket", backends.bucket(stage))
    script(stage, "upload", "zoo.py", "upload", "--name", "tumour/model.onnx", secret="bucket")
    source: Object = {"uri": "s3://models/tumour/model.onnx"}
    endpoint = {"AWS_ENDPOINT_URL": f"http://bucket.{stage.namespace}.svc:8000", "AWS_REGION": "us-east-1"}
    backends.secret(stage, "wrong", {**endpoint, "AWS_ACCESS_KEY_ID": "e2e", "AWS_SECRET_ACCESS_KEY": "guessed"})
    stage.manifest("MLModel", "stranger", {"source": {**source, "credentialsSecretName": "wrong"}})
    stage.manifest("MLModel", "tumour", {"source": {**source, "credentialsSecretName": "bucket"}})
    stage.manifest("ModelDeployment", "tumour", {"model": {"name": "tumour"}, "resources": SMALL})
    assert ready(stage, "mdep", "tumour")["status"]["revisions"][0]["runtime"] == "onnx"
    found = compared(stage, "onnx", "tumour")
    assert found["same"] == found["rows"] == 100
    assert found["difference"] <= 1e-5
    stranger = stage.until("mlm", "stranger", lambda obj: condition(obj, "Stalled")["status"] == "True")
    assert "s3://models/tumour/model.onnx" in condition(stranger, "Ready")["message"]


def test_a_hub_and_a_registry_get_the_credentials_of_a_secret(stage: Stage) -> None:
    host = backends.shelf(stage, (HERE / "doubling.onnx").read_bytes(), "hub-token", "robot", "registry-password")
    hub = {"HF_ENDPOINT": f"http://{host}", "HF_TOKEN": "hub-token"}
    registry = {"OCI_PLAIN_HTTP": host, "OCI_USERNAME": "robot", "OCI_PASSWORD": "registry-password"}
    backends.secret(stage, "right", {**hub, **registry})
    backends.secret(stage, "wrong", {**hub, **registry, "HF_TOKEN": "guessed", "OCI_PASSWORD": "guessed"})
    sources = {"hub": "hf://team/iris/model.onnx", "registry": f"oci://{host}/team/iris:1"}
    for name, uri in sources.items():
        for secret in ("right", "wrong"):
            stage.manifest("MLModel", f"{name}-{secret}", {"source": {"uri": uri, "credentialsSecretName": secret}})
    digests = {ready(stage, "mlm", f"{name}-right")["status"]["current"] for name in sources}
    assert len(digests) == 1, "the same bytes, wherever they came from"
    for name in sources:
        refused = stage.until("mlm", f"{name}-wrong", lambda obj: condition(obj, "Stalled")["status"] == "True")
        assert "401" in condition(refused, "Ready")["message"]


def test_a_container_of_ones_own_serves_alone(stage: Stage) -> None:
    own = {"command": ["python", "-c"], "args": [(HERE / "own.py").read_text()], "port": 9000}
    image = release.image("TRIMTAB_SERVER_IMAGE")
    spec: Object = {"container": {**own, "image": image}, "env": [{"name": "FACTOR", "value": "2"}], "resources": SMALL}
    stage.manifest("ModelDeployment", "double", spec)
    mdep = ready(stage, "mdep", "double")
    (row,) = mdep["status"]["revisions"]
    assert (row["runtime"], row["version"]) == ("container", image.rpartition(":")[2])
    assert "name it by digest" in condition(mdep, "ModelResolved")["message"]
    assert compared(stage, "double", "double")["difference"] == 0

    broken = {**spec, "container": {**spec["container"], "image": "localhost/trimtab-server:never-built"}}
    stage.manifest("ModelDeployment", "double", broken)
    failed = stage.until("mdep", "double", lambda obj: condition(obj, "Ready")["reason"] == "ImagePullFailed")
    assert failed["status"]["serving"] == row["name"]
    assert compared(stage, "double", "double")["difference"] == 0


def test_a_container_of_ones_own_serves_a_verified_bundle(stage: Stage, trainer: Stage) -> None:
    version = str(script(trainer, "train-own", "zoo.py", "train", "xgboost", "--name", "e2e-own")["version"])
    stage.manifest("MLModel", "own", {"source": {"uri": f"models:/e2e-own/{version}"}})
    container = {"image": release.image("TRIMTAB_SERVER_IMAGE"), "command": ["python", "-m", "trimtab_serving"]}
    spec = {"model": {"name": "own"}, "container": {**container, "port": 9000}, "resources": SMALL}
    stage.manifest("ModelDeployment", "own", spec)
    (row,) = ready(stage, "mdep", "own")["status"]["revisions"]
    assert (row["runtime"], row["version"]) == ("container", version)
    assert row["digest"] == stage.read("mlm", "own")["status"]["current"]
    found = compared(stage, "xgboost", "own", "--name", "e2e-own", "--version", version)
    assert found["same"] == found["rows"] == 100
