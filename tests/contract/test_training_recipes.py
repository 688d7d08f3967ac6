"""Recipes and example trainers as their Jobs run them: real data, a real MLflow, and an import of what they made."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from tests.mlflow_server import LossyWay
from tests.thorough import THOROUGH
from trimtab_serving.counting.profile import decode
from trimtab_toolbox.importer import run_import
from trimtab_toolbox.journal import Journal
from trimtab_toolbox.request import Request

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "retraining"
RECIPE = [sys.executable, "-m"]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def server(mlflow_uri: str) -> str:
    return mlflow_uri


class Job:
    """A training Job of a RetrainSchedule: its environment, and a working directory that must stay empty."""

    def __init__(self, home: Path, uri: str, run: str) -> None:
        self.home, self.uri, self.run = home, uri, run
        for name in ("tmp", "out", "cwd"):
            (home / name).mkdir(parents=True, exist_ok=True)
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home / "tmp"),
            "TMPDIR": str(home / "tmp"),
            "PYTHONPATH": str(ROOT / "serving-image"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "TRIMTAB_RUN_ID": run,
            "TRIMTAB_TRIGGER": "Manual",
            "TRIMTAB_MODEL_NAME": run,
            "TRIMTAB_SEED": "11",
            "TRIMTAB_OUTPUT_DIR": str(home / "out"),
            "TRIMTAB_CHECKPOINT_DIR": str(home / "checkpoints" / run),
            "TRIMTAB_RESULT_PATH": str(home / "result"),
            "MLFLOW_TRACKING_URI": uri,
            "MLFLOW_EXPERIMENT_NAME": "team/recipes",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def start(self, command: list[str], **environ: str) -> subprocess.Popen[str]:
        (self.home / "result").unlink(missing_ok=True)
        return subprocess.Popen(
            command,
            env=self.environ | environ,
            cwd=self.home / "cwd",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run_to_end(self, command: list[str], code: int = 0, **environ: str) -> str:
        process = self.start(command, **environ)
        said, _ = process.communicate(timeout=400)
        assert process.returncode == code, said[-4000:]
        assert list((self.home / "cwd").iterdir()) == []
        return said

    @property
    def result(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.home / "result").read_bytes())
        return told

    def versions(self) -> list[Any]:
        return list(mlflow.MlflowClient(self.uri).search_model_versions(f"name = '{self.run}'"))

    def is_importable(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        """One version with the tag, and what an import says of it."""
        (version,) = self.versions()
        assert version.tags["trimtab.dev/run-id"] == self.run
        assert self.result["version"] == str(version.version)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", self.uri)
        (self.home / "work").mkdir()
        request = Request(uri=f"models:/{self.run}/{version.version}", store=(self.home / "store").as_uri())
        return run_import(request, self.home / "work", Journal(io.StringIO()))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Uneven classes in time order, three classes by name, and numbers with a column of text."""
    folder = tmp_path_factory.mktemp("data")
    rows, labels = load_breast_cancer(return_X_y=True, as_frame=True)
    tumours = rows.iloc[:, :10].assign(benign=labels)
    few = pd.concat([tumours[labels == 0].head(60), tumours[labels == 1]]).sample(frac=1, random_state=1)
    few["taken_at"] = pd.date_range("2026-01-01", periods=len(few), freq="h").astype(str)
    few.to_csv(folder / "tumours.csv", index=False)
    rows, labels = load_wine(return_X_y=True, as_frame=True)
    rows.assign(grape=np.array(["barbera", "barolo", "grignolino"])[labels]).to_parquet(folder / "wines.parquet")
    rows, values = load_diabetes(return_X_y=True, as_frame=True)
    sexes = np.where(rows["sex"] > 0, "m", "f")
    rows.assign(sex=sexes, progression=values).to_csv(folder / "patients.csv", index=False)
    return folder


def test_classify(server: str, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(tmp_path, server, "classify-1")
    flags = ["--data", str(data / "tumours.csv"), "--target", "benign", "--metric", "pr_auc", "--time", "taken_at"]
    said = job.run_to_end([*RECIPE, "trimtab_toolbox.recipes.classify", *flags])
    assert "Warning" not in said
    imported = job.is_importable(monkeypatch)
    assert (imported["runtime"], imported["inputs"][0]["shape"]) == ("onnx", [-1, 10])
    profile = decode((tmp_path / "work" / "bundle" / "profile.json").read_bytes())
    # Scores are those of the rows that were kept apart, and nothing is balanced in them.
    assert profile.score is not None
    assert (profile.rows, sum(profile.score.counts)) == (334, 83)
    assert job.result["metrics"]["pr_auc"] > 0.95
    assert {"folds.forest.pr_auc", "folds.logistic.pr_auc"} < set(job.result["metrics"])


def test_search_over_an_indexed_job(server: str, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three pods share twelve trials; the first of them hands over."""
    jobs = [Job(tmp_path / str(index), server, "search-3") for index in range(3)]
    flags = ["--data", str(data / "wines.parquet"), "--target", "grape", "--metric", "LogLoss", "--trials", "12"]
    shared = str(tmp_path / "shared" / "search-3")
    pods = [
        job.start(
            [*RECIPE, "trimtab_toolbox.recipes.search", *flags],
            JOB_COMPLETION_INDEX=str(index),
            TRIMTAB_CHECKPOINT_DIR=shared,
        )
        for index, job in enumerate(jobs)
    ]
    said = [pod.communicate(timeout=400)[0] for pod in pods]
    assert [pod.returncode for pod in pods] == [0, 0, 0], "\n".join(said)
    imported = jobs[0].is_importable(monkeypatch)
    assert imported["runtime"] == "onnx"
    assert ["version" in job.result for job in jobs] == [True, False, False]
    run = mlflow.MlflowClient(server).get_run(jobs[0].result["runId"])
    assert 12 <= int(run.data.params["trials"]) <= 14
    assert len({entry["worker_id"] for entry in entries(Path(shared, "study.journal"))}) >= 3


def entries(journal: Path) -> list[dict[str, Any]]:
    """The whole lines of a study's journal."""
    lines = journal.read_text().split("\n")[:-1] if journal.exists() else []
    return [json.loads(line) for line in lines]


def trials(journal: Path) -> int:
    """How many trials came to their end: complete (1), or pruned (2)."""
    return sum(entry.get("state") in (1, 2) for entry in entries(journal))


def test_search_goes_on_after_a_kill(server: str, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(tmp_path, server, "search-1")
    flags = ["--data", str(data / "patients.csv"), "--target", "progression", "--metric", "rmse", "--trials", "8"]
    command = [*RECIPE, "trimtab_toolbox.recipes.search", *flags]
    first = job.start(command)
    journal = tmp_path / "checkpoints" / "search-1" / "study.journal"
    until = time.monotonic() + 300
    while trials(journal) < 2:
        assert first.poll() is None, first.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = trials(journal)
    job.run_to_end(command)
    run = mlflow.MlflowClient(server).get_run(job.result["runId"])
    assert 2 <= before < 8
    assert run.data.params["trials"] == "8"
    assert run.data.tags["trimtab.dev/progress"] == "8 of 8"
    assert {tensor["name"] for tensor in job.is_importable(monkeypatch)["inputs"]} >= {"age", "sex", "bmi"}


def test_automl(server: str, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(tmp_path, server, "automl-1")
    flags = ["--data", str(data / "wines.parquet"), "--target", "grape", "--metric", "log_loss"]
    said = job.run_to_end([*RECIPE, "trimtab_toolbox.recipes.automl", *flags], RECIPE_BUDGET_SECONDS="10")
    assert "Warning" not in said
    assert job.is_importable(monkeypatch)["runtime"] == "onnx"
    assert job.result["metrics"]["log_loss"] < 0.6


@pytest.mark.parametrize("recipe", ["classify", "search", "automl"])
def test_what_cannot_be_trained_is_said_in_the_last_words(server: str, tmp_path: Path, recipe: str) -> None:
    job = Job(tmp_path, server, f"bad-{recipe}")
    job.run_to_end([*RECIPE, f"trimtab_toolbox.recipes.{recipe}", "--data", "/nowhere.csv", "--target", "y"], 10)
    assert job.result["reason"] == "BadData"
    assert job.result["message"].startswith("/nowhere.csv is no file here")
    job.run_to_end([*RECIPE, f"trimtab_toolbox.recipes.{recipe}", "--data", "/nowhere.csv"], 11)
    assert job.result == {
        "schema": 1,
        "reason": "SettingsInvalid",
        "message": "--target (RECIPE_TARGET) is not set",
    }
    assert job.versions() == []


def test_the_example_with_the_toolbox(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(tmp_path, server, "example-1")
    job.run_to_end([sys.executable, str(EXAMPLES / "train.py")])
    assert job.result["metrics"]["roc_auc"] > 0.97
    assert job.is_importable(monkeypatch)["runtime"] == "onnx"


def test_the_example_on_a_laptop(server: str, tmp_path: Path) -> None:
    job = Job(tmp_path, server, "laptop")
    job.environ = {name: value for name, value in job.environ.items() if not name.startswith("TRIMTAB_")}
    job.run_to_end([sys.executable, str(EXAMPLES / "train.py")])
    (version,) = mlflow.MlflowClient(server).search_model_versions("name = 'tumour'")
    assert "trimtab.dev/run-id" not in version.tags
    assert not list((tmp_path / "tmp").rglob("trees.txt"))


def test_the_example_without_the_toolbox(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(tmp_path, server, "plain-1")
    job.run_to_end([sys.executable, str(EXAMPLES / "plain.py")], PYTHONPATH="")
    first = job.result
    assert first["rows"] == 178
    job.run_to_end([sys.executable, str(EXAMPLES / "plain.py")], PYTHONPATH="")
    assert (job.result["version"], job.result["runId"]) == (first["version"], first["runId"])
    assert job.is_importable(monkeypatch)["runtime"] == "onnx"


FIT = """
import os, numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
rows, labels = load_iris(return_X_y=True)
model = LogisticRegression(max_iter=500).fit(rows, labels)
with open(os.environ["TRIMTAB_OUTPUT_DIR"] + "/model.onnx", "wb") as file:
    file.write(to_onnx(model, rows[:1].astype(np.float32), options={"zipmap": False}).SerializeToString())
print(model.score(rows, labels))
"""


def test_the_example_in_shell(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fit.py").write_text(FIT)
    command = ["sh", str(EXAMPLES / "train.sh"), sys.executable, str(tmp_path / "fit.py")]
    job = Job(tmp_path / "0", server, "shell-0")
    with LossyWay(server) as way:
        job.run_to_end(command, MLFLOW_TRACKING_URI=way.uri)
        assert job.result["metrics"]["accuracy"] > 0.9
        assert job.is_importable(monkeypatch)["runtime"] == "onnx"


@pytest.mark.parametrize("fault", ["refuse", "lose"])
def test_the_example_in_shell_with_mlflow_down_from_a_call_on(server: str, tmp_path: Path, fault: str) -> None:
    """From each call on with TRIMTAB_THOROUGH=1, otherwise from six of them: a fault at another may be missed."""
    fit = 'printf onnx > "$TRIMTAB_OUTPUT_DIR/model.onnx"; echo 0.9'
    command = ["sh", str(EXAMPLES / "train.sh"), "sh", "-c", fit]
    with LossyWay(server) as way:
        Job(tmp_path / "0", way.uri, f"shell-{fault}-0").run_to_end(command)
        count = len(way.calls)
        assert count > 10
        for number in range(1, count + 1) if THOROUGH else sorted(random.Random(6).sample(range(1, count + 1), 6)):
            way.heal()
            setattr(way, fault, lambda call, _, number=number: call >= number)
            job = Job(tmp_path / str(number), way.uri, f"shell-{fault}-{number}")
            first = job.start(command)
            said, _ = first.communicate(timeout=400)
            assert first.returncode in (0, 75), said
            way.heal()
            job.run_to_end(command)
            (version,) = mlflow.MlflowClient(server).search_model_versions(f"name = '{job.run}'")
            assert job.result["version"] == str(version.version)
