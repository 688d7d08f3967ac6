"""The examples, run as their readers run them: train, register, import, and serve what the model itself predicts."""

import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from trimtab_serving.bundle import read_info
from trimtab_serving.runtimes import ModelRefused
from trimtab_serving.runtimes.python import PythonRuntime
from trimtab_toolbox.importer import run_import
from trimtab_toolbox.journal import Journal
from trimtab_toolbox.request import Request
from trimtab_toolbox.session import open_session, run
from trimtab_toolbox.table import to_tensors

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(
        f"example_{name.replace('-', '_')}", ROOT / "examples" / name / "train.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Trained:
    """An example after its script ran and its model was imported."""

    def __init__(self, name: str, home: Path) -> None:
        uri = f"sqlite:///{home}/mlflow.db"
        environ = {"PATH": os.environ["PATH"], "HOME": str(home), "MLFLOW_TRACKING_URI": uri}
        environ |= {"PYTHONPATH": str(ROOT / "serving-image"), "OMP_NUM_THREADS": "1"}
        script = [sys.executable, str(ROOT / "examples" / name / "train.py"), "--alias", "champion"]
        done = subprocess.run(script, env=environ, cwd=home, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        self.told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        os.environ["MLFLOW_TRACKING_URI"] = uri
        source, self.work = f"models:/{name}/{self.told['version']}", home / "work"
        self.work.mkdir()
        request = Request(uri=source, store=(home / "store").as_uri(), allow_pickle=name in ("forecast", "dna"))
        self.result = run_import(request, self.work, Journal(io.StringIO()))
        self.info = read_info(self.work / "bundle")

    def answer(self, rows: pd.DataFrame) -> dict[str, Any]:
        return self._run(to_tensors(rows, self.info.inputs))

    def _run(self, tensors: dict[str, Any]) -> dict[str, Any]:
        names = [output.name for output in self.info.outputs]
        if self.info.runtime == "onnx":
            return run(open_session(self.work / "bundle" / "model.onnx"), tensors, names)
        return dict(zip(names, PythonRuntime(self.info, self.work / "bundle").run(tensors, names), strict=True))

    def answers_as_its_readme_says(self, name: str) -> None:
        """The request of the example's page fits the model's inputs and is answered, and the alias is set."""
        page = (ROOT / "examples" / name / "README.md").read_text()
        asked = json.loads(page.partition("-d '")[2].partition("'\n")[0])
        inputs = {tensor["name"]: tensor for tensor in asked["inputs"]}
        assert {name: tensor["datatype"] for name, tensor in inputs.items()} == {
            tensor.name: tensor.datatype for tensor in self.info.inputs
        }
        shapes = {tensor.name: tensor.shape[1:] for tensor in self.info.inputs}
        assert {name: tuple(tensor["shape"][1:]) for name, tensor in inputs.items()} == shapes
        tensors = {
            name: np.array(tensor["data"], dtype=object if tensor["datatype"] == "BYTES" else float).reshape(
                tensor["shape"]
            )
            for name, tensor in inputs.items()
        }
        answer = self._run(tensors)
        assert all(f"`{name}`" in page for name in answer if name != "label")
        assert all(len(values) == 1 for values in answer.values())
        client = mlflow.MlflowClient()
        assert str(client.get_model_version_by_alias(name, "champion").version) == self.told["version"]


@pytest.fixture
def trained(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trained:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    monkeypatch.chdir(tmp_path)
    return Trained(request.param, tmp_path)


@pytest.mark.parametrize("trained", ["credit-risk"], indirect=True)
def test_credit_risk(trained: Trained) -> None:
    trained.answers_as_its_readme_says("credit-risk")
    assert trained.told["auc"] > 0.7
    assert (trained.result["runtime"], trained.result["parity"]["mismatchPercent"]) == ("onnx", "0")
    assert trained.result["profile"].startswith("sha256:")
    module = example("credit-risk")
    rows, _ = module.applicants(500, 99)
    model = module.build().fit(*module.applicants(4000, module.SEED))
    answer = trained.answer(rows)
    assert (answer["label"] == model.predict(rows)).all()
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(rows), atol=1e-5)


@pytest.mark.parametrize("trained", ["fraud"], indirect=True)
def test_fraud(trained: Trained) -> None:
    trained.answers_as_its_readme_says("fraud")
    assert trained.told["averagePrecision"] > 0.6
    assert trained.result.get("fallback") is None
    module = example("fraud")
    rows, _ = module.payments(500, 99)
    model = module.build().fit(*module.payments(20_000, module.SEED))
    answer = trained.answer(rows)
    assert (answer["label"] == model.predict(rows)).all()
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(rows), atol=1e-5)


@pytest.mark.parametrize("trained", ["forecast"], indirect=True)
def test_forecast(trained: Trained) -> None:
    trained.answers_as_its_readme_says("forecast")
    assert 0.7 < trained.told["coverage"] < 0.9
    assert trained.result["runtime"] == "python"
    assert [output["name"] for output in trained.result["outputs"]] == ["low", "median", "high"]
    module = example("forecast")
    rows, _ = module.sales(30, 99)
    expected = module.build(*module.sales(3 * 365, module.SEED)).predict(None, rows)
    for name, column in trained.answer(rows).items():
        np.testing.assert_allclose(column, expected[name])


@pytest.mark.parametrize("trained", ["dna"], indirect=True)
def test_dna(trained: Trained) -> None:
    trained.answers_as_its_readme_says("dna")
    assert trained.told["accuracy"] == 1.0
    assert [(output["name"], output["datatype"]) for output in trained.result["outputs"]] == [
        ("family", "BYTES"),
        ("similarity", "FP64"),
    ]
    module = example("dna")
    texts, families = module.sequences(3, 99)
    assert trained.answer(pd.DataFrame({"sequence": texts}))["family"].tolist() == families
    with pytest.raises(ModelRefused, match="a sequence needs at least 5 letters of ACGT"):
        trained.answer(pd.DataFrame({"sequence": ["ACXGT"]}))
