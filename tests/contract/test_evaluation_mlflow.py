"""The evaluator Job as a process against a real MLflow server: real champion, real challengers, each way to end."""

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import mlflow
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from sklearn.datasets import load_diabetes, load_digits
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

from tests.mlflow_server import LossyWay, tracking_at
from trimtab.kinds.retrainschedule.gate import Gate as GateSpec
from trimtab.kinds.retrainschedule.gate import GateStatus
from trimtab_toolbox import log_model
from trimtab_toolbox.evaluation.__main__ import main
from trimtab_toolbox.evaluation.gate import read_gate

ROOT = Path(__file__).parents[2]
NOTHING: Mapping[str, str] = MappingProxyType({})
TRAINED = 700
"""The first rows of the data; all later ones are the holdout."""


@dataclass(frozen=True)
class Outcome:
    code: int
    result: dict[str, Any]
    log: str

    def check(self, name: str) -> dict[str, Any]:
        (found,) = [row for row in self.result["checks"] if row["name"] == name]
        return dict(found)


@dataclass(frozen=True)
class Lab:
    """A registry, a folder with the holdouts, and the version of each model by its name here."""

    uri: str
    home: Path
    versions: dict[str, str]

    def graded(self, challenger: str, champion: str = "champion", holdout: str = "digits.csv", **gate: Any) -> Outcome:
        """Grade in this process, which has imported everything already."""
        variables = self.variables(challenger, champion, holdout, gate)
        said = io.StringIO()
        with mock.patch.dict(os.environ, variables), redirect_stdout(said), redirect_stderr(io.StringIO()) as log:
            code = main()
        return self.ended(code, said.getvalue(), log.getvalue())

    def run(
        self, challenger: str, champion: str = "champion", environ: Mapping[str, str] = NOTHING, **gate: Any
    ) -> Outcome:
        """Grade as the Job does: a process of its own."""
        variables = self.variables(challenger, champion, "digits.csv", gate) | {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PYTHONPATH": str(ROOT / "serving-image"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [sys.executable, "-m", "trimtab_toolbox.evaluation"]
        done = subprocess.run(
            command, env=variables | environ, cwd=self.home, capture_output=True, text=True, timeout=300, check=False
        )
        return self.ended(done.returncode, done.stdout, done.stderr)

    def variables(self, challenger: str, champion: str, holdout: str, gate: dict[str, Any]) -> dict[str, str]:
        name = "sugar" if holdout.startswith("sugar") else "parity"
        path = self.home / holdout
        return {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "TRIMTAB_RUN_ID": "weekly-12345678",
            "TRIMTAB_MODEL_NAME": name,
            "TRIMTAB_CHAMPION_URI": f"models:/{name}/{self.versions[champion]}" if champion else "",
            "TRIMTAB_CHALLENGER_URI": f"models:/{name}/{self.versions[challenger]}",
            "TRIMTAB_HOLDOUT_URI": path.as_uri(),
            "TRIMTAB_HOLDOUT_DIGEST": "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest(),
            "TRIMTAB_HOLDOUT_TARGET": "target",
            "TRIMTAB_GATE": json.dumps({"metric": "accuracy", "margin": "0.02"} | gate),
            "TRIMTAB_RESULT_PATH": str(self.home / "last-words"),
        }

    def ended(self, code: int, said: str, log: str) -> Outcome:
        words = (self.home / "last-words").read_bytes()
        assert len(words) <= 4096
        assert json.loads(said.splitlines()[-1]) == json.loads(words), log
        return Outcome(code, json.loads(words), log)


@pytest.fixture(scope="module")
def lab(mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("evaluation")
    with tracking_at(mlflow_uri), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        yield Lab(mlflow_uri, home, registered(home))


def registered(home: Path) -> dict[str, str]:
    """All models of these tests, logged as trainers do, and the holdouts beside them."""
    rows, digit = load_digits(return_X_y=True, as_frame=True)
    odd = digit % 2
    held = rows[TRAINED:].assign(target=odd[TRAINED:], digit=digit[TRAINED:])
    held.to_csv(home / "digits.csv", index=False)
    held.to_parquet(home / "digits.parquet")
    fitted = models(rows[:TRAINED], odd[:TRAINED], digit[:TRAINED])
    versions = {name: logged("parity", model, rows[:TRAINED], odd[:TRAINED]) for name, model in fitted.items()}
    versions["narrow"] = logged(
        "parity", linear().fit(rows.iloc[:TRAINED, :60], odd[:TRAINED]), rows.iloc[:TRAINED, :60], odd[:TRAINED]
    )
    versions["bare"] = bare(fitted["equal"], rows[:TRAINED], "skops")
    versions["pickled"] = bare(fitted["equal"], rows[:TRAINED], "cloudpickle")
    return versions | sugar(home)


def models(rows: pd.DataFrame, odd: Any, digit: Any) -> dict[str, Any]:
    linear_one = linear().fit(rows, odd)
    sure, broken = (linear().fit(rows, odd) for _ in range(2))
    sure[-1].coef_ *= 12
    sure[-1].intercept_ *= 12
    broken[-1].intercept_[:] = np.nan
    seen = (digit != 7).to_numpy()
    return {
        "champion": linear_one,
        "equal": linear().fit(rows[20:], odd[20:]),
        "better": RandomForestClassifier(300, random_state=1).fit(rows, odd),
        "boosted": XGBClassifier(n_estimators=60, max_depth=4, random_state=1).fit(rows, odd),
        "worse": linear().fit(rows[:60], odd[:60]),
        "sure": sure,
        "broken": broken,
        "blind": RandomForestClassifier(100, random_state=1).fit(rows[seen], odd[seen]),
        "shy": RandomForestClassifier(100, random_state=1, class_weight={0: 1.0, 1: 1e-4}, max_depth=6).fit(rows, odd),
    }


def linear() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))


def logged(name: str, model: Any, rows: pd.DataFrame, target: Any) -> str:
    with mlflow.start_run():
        return log_model(model, rows, target, registered_model_name=name, holdout=(rows[:200], target[:200])).version


def bare(model: Any, rows: pd.DataFrame, kind: str) -> str:
    """A version as MLflow alone logs it, without a drift profile."""
    with mlflow.start_run():
        found = mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name="parity",
            signature=mlflow.models.infer_signature(rows, model.predict(rows)),
            serialization_format=kind,
            skops_trusted_types=None,
            pip_requirements=[],
        )
    return str(found.registered_model_version)


def sugar(home: Path) -> dict[str, str]:
    rows, target = load_diabetes(return_X_y=True, as_frame=True)
    rows[200:].assign(target=target[200:]).to_csv(home / "sugar.csv", index=False)
    fitted = {
        "ridge": Ridge(0.1).fit(rows[:200], target[:200]),
        "ridge again": Ridge(0.11).fit(rows[:200], target[:200]),
        "flat": RandomForestRegressor(5, max_depth=1, random_state=1).fit(rows[:200], target[:200]),
    }
    return {name: logged("sugar", model, rows[:200], target[:200]) for name, model in fitted.items()}


def test_an_equal_model_passes_and_mlflow_keeps_the_verdict(lab: Lab) -> None:
    done = lab.run("equal", floor="0.8", slices=["digit"], maxLatencyRatio="20", maxSizeBytes=1_000_000)
    assert (done.code, done.result["verdict"], done.result["reason"]) == (0, "Passed", "NonInferior"), done.result
    held = pd.read_csv(lab.home / "digits.csv")
    model = mlflow.sklearn.load_model(f"models:/parity/{lab.versions['equal']}")
    expected = accuracy_score(held["target"], model.predict(held.drop(columns=["target", "digit"])))
    assert float(done.result["challenger"]) == pytest.approx(expected, abs=1e-6)
    assert done.check("profile")["passed"]
    client = MlflowClient(lab.uri)
    version = client.get_model_version("parity", lab.versions["equal"])
    tags = {name: value for name, value in version.tags.items() if name.startswith("trimtab.dev/gate")}
    assert tags["trimtab.dev/gate"] == "Passed"
    assert tags["trimtab.dev/gate-run"] == "weekly-12345678"
    assert tags["trimtab.dev/gate-champion-uri"] == f"models:/parity/{lab.versions['champion']}"
    for name in ("reason", "challenger", "champion", "difference", "lower", "upper", "rows", "message"):
        assert tags[f"trimtab.dev/gate-{name}"] == str(done.result[name])
    content = mlflow.artifacts.load_dict(f"runs:/{version.run_id}/gate.json")
    assert content["checks"] == done.result["checks"]
    assert content["digest"] == hashlib.sha256((lab.home / "digits.csv").read_bytes()).hexdigest()


def test_the_operator_reads_what_the_evaluator_says_and_asks_what_it_understands(lab: Lab) -> None:
    spec = GateSpec.model_validate(
        {
            "metric": "RocAuc",
            "holdout": {"uri": "https://host/a.csv", "digest": "sha256:" + "0" * 64, "target": "y"},
            "fairness": {"column": "digit", "maxGap": "0.5"},
            "slices": ["digit"],
        }
    )
    asked = {name: value for name, value in spec.dump().items() if name != "holdout"} | {"metric": "roc_auc"}
    assert read_gate(json.dumps(asked)).slice_margin == pytest.approx(0.02)
    done = lab.graded("better", **asked)
    status = GateStatus.model_validate(done.result)
    assert (status.verdict, status.rows) == ("Passed", 1097), done.result
    assert [check.passed for check in status.checks].count(None) == done.result.get("undecided", 0)


def test_better_models_are_superior_in_any_metric(lab: Lab) -> None:
    for metric in ("accuracy", "f1", "roc_auc", "log_loss"):
        done = lab.graded("boosted", mode="Superior", metric=metric)
        assert (done.code, done.result["reason"]) == (0, "Superior"), done.result
        assert float(done.result["lower"]) > 0
        assert float(done.result["chanceIfWorse"]) < 0.05


REJECTED: dict[str, tuple[str, dict[str, Any], str]] = {
    "Worse": ("worse", {}, "the challenger is worse by at least 0."),
    "NotSuperior": ("equal", {"mode": "Superior"}, "which is not above 0"),
    "Inconclusive": ("equal", {"margin": "0.0001"}, "may be worse by"),
    "BelowFloor": ("equal", {"floor": "0.97"}, "the floor is 0.97"),
    "SchemaIncompatible": ("narrow", {}, "it lacks the input 'pixel_7_4'"),
    "NotFinite": ("broken", {}, "answers NaN or infinity to 1097 rows"),
    "ProfileMissing": ("bare", {}, "drift would no longer be seen; log it with trimtab_toolbox.log_model"),
    "SliceWorse": ("blind", {"slices": ["digit"]}, "in the slice digit=7 ("),
    "ClassBelowFloor": ("shy", {"classFloor": "0.5", "margin": "1"}, "rows of the class '1' the challenger finds"),
    "Uncalibrated": ("sure", {"maxCalibrationError": "0.05"}, "maxCalibrationError is 0.05; calibrate it"),
    "Unfair": ("blind", {"fairness": {"column": "digit", "maxGap": "0.2"}}, "between the groups of 'digit': 7 has"),
    "TooSlow": ("better", {"maxLatencyRatio": "1.5"}, "times as long as the champion"),
    "TooLarge": ("better", {"maxSizeBytes": 10_000}, "bytes, and 10000 are allowed (maxSizeBytes)"),
}


@pytest.mark.parametrize("reason", REJECTED)
def test_each_reason_to_reject(lab: Lab, reason: str) -> None:
    challenger, gate, says = REJECTED[reason]
    done = lab.graded(challenger, **gate)
    assert (done.code, done.result["verdict"], done.result["reason"]) == (0, "Rejected", reason), done.result
    assert says in done.result["message"]
    version = MlflowClient(lab.uri).get_model_version("parity", lab.versions[challenger])
    assert version.tags["trimtab.dev/gate"] == "Rejected"
    assert version.tags["trimtab.dev/gate-reason"] == reason


def test_without_a_champion_floors_decide(lab: Lab) -> None:
    done = lab.graded("equal", champion="", floor="0.8", holdout="digits.parquet")
    assert (done.code, done.result["reason"]) == (0, "FloorsMet"), done.result
    assert "chanceIfWorse" not in done.result


def test_regressions_are_graded_too(lab: Lab) -> None:
    done = lab.graded("ridge again", "ridge", "sugar.csv", metric="rmse", margin="1")
    assert (done.code, done.result["reason"]) == (0, "NonInferior"), done.result
    held = pd.read_csv(lab.home / "sugar.csv")
    model = mlflow.sklearn.load_model(f"models:/sugar/{lab.versions['ridge again']}")
    expected = root_mean_squared_error(held["target"], model.predict(held.drop(columns="target")))
    assert float(done.result["challenger"]) == pytest.approx(expected, abs=1e-5)
    for metric in ("rmse", "mae", "r2"):
        done = lab.graded("flat", "ridge", "sugar.csv", metric=metric, margin="0.001")
        assert (done.code, done.result["reason"]) == (0, "Worse"), done.result


def test_a_holdout_in_an_mlflow_run_is_pinned_like_any_other(lab: Lab) -> None:
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(lab.home / "digits.csv"), "data")
    where = {"TRIMTAB_HOLDOUT_URI": f"runs:/{run.info.run_id}/data/digits.csv"}
    done = lab.run("equal", "champion", where)
    assert (done.code, done.result["reason"]) == (0, "NonInferior"), done.result
    done = lab.run("equal", "champion", where | {"TRIMTAB_HOLDOUT_DIGEST": "0" * 64})
    assert (done.code, done.result["reason"]) == (10, "DigestMismatch")
    done = lab.run("equal", "champion", where | {"TRIMTAB_MAX_BYTES": "100000"})
    assert (done.code, done.result["reason"]) == (10, "TooLarge")


FAILED: dict[str, tuple[str, str, dict[str, str], int, str]] = {
    "PickleRefused": ("pickled", "champion", {}, 10, "the challenger models:/parity/"),
    "SourceNotFound": ("equal", "champion", {"TRIMTAB_CHAMPION_URI": "models:/parity/99"}, 10, "the champion models:/"),
    "SettingsInvalid": ("equal", "champion", {"TRIMTAB_GATE": "{}"}, 10, "missing required field `metric`"),
    "HoldoutInvalid": ("equal", "champion", {"TRIMTAB_HOLDOUT_TARGET": "odd"}, 10, "has no column 'odd'"),
    "DigestMismatch": ("equal", "champion", {"TRIMTAB_HOLDOUT_DIGEST": "0" * 64}, 10, "the holdout: file://"),
    "Timeout": ("equal", "champion", {"TRIMTAB_TIMEOUT_SECONDS": "0.1"}, 75, "the evaluation was not done after 0.1 s"),
    "SourceUnreachable": ("equal", "champion", {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}, 75, "tried again"),
}


@pytest.mark.parametrize("reason", FAILED)
def test_each_way_to_fail_is_one_clear_line(lab: Lab, reason: str) -> None:
    challenger, champion, environ, code, says = FAILED[reason]
    done = lab.run(challenger, champion, environ)
    assert (done.code, done.result["reason"]) == (code, reason), done.result
    assert says in done.result["message"]
    assert "Traceback" not in done.log


def test_pickles_are_graded_where_they_may_be_imported(lab: Lab) -> None:
    done = lab.run("pickled", "equal", {"TRIMTAB_ALLOW_PICKLE": "true"})
    assert done.code == 0, done.result
    assert done.result["difference"] == "0"


Lost = Callable[[int, str], bool]


@pytest.mark.parametrize("lost", ["set-tag", "mlflow-artifacts/artifacts/"])
def test_a_verdict_that_mlflow_does_not_take_is_tried_again(lab: Lab, lost: str) -> None:
    with LossyWay(lab.uri) as way:
        refuse: Lost = lambda number, call: lost in call and not call.startswith("GET")  # noqa: E731
        way.refuse = refuse
        done = lab.run("equal", "champion", {"MLFLOW_TRACKING_URI": way.uri})
        assert (done.code, done.result["reason"]) == (75, "StoreUnreachable"), done.result
        assert "MLflow did not take the verdict on models:/parity/" in done.result["message"]
        way.heal()
        done = lab.run("equal", "champion", {"MLFLOW_TRACKING_URI": way.uri})
    assert (done.code, done.result["verdict"]) == (0, "Passed")
