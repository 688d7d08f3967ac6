"""One whole evaluation in this process: real models, a real file, and every way it may end."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.mlflow_models import save
from trimtab_serving.bundle import Tensor
from trimtab_serving.outcome import Failure
from trimtab_toolbox.evaluation.contender import Contender
from trimtab_toolbox.evaluation.evaluate import evaluate
from trimtab_toolbox.evaluation.holdout import fetch_holdout, read_table, truth_of
from trimtab_toolbox.evaluation.settings import Settings, read_settings
from trimtab_toolbox.journal import Journal


class Lab:
    """A holdout, a champion and challengers, and what comes of grading them."""

    def __init__(self, web: Any, folder: Path) -> None:
        self.web, self.folder = web, folder
        data = load_breast_cancer(as_frame=True)
        self.rows, self.target = data.data[["mean radius", "mean texture", "mean smoothness"]], data.target
        self.train = np.arange(len(self.rows)) % 3 == 0
        self.holdout = self.rows[~self.train].assign(
            diagnosis=self.target[~self.train], site=np.where(np.arange((~self.train).sum()) % 2, "north", "south")
        )

    def fitted(self, columns: int = 3, strength: float = 1.0) -> Any:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength))
        return model.fit(self.rows.iloc[self.train, :columns], self.target[self.train])

    def published(self, model: Any, name: str, columns: int = 3) -> str:
        folder = save(model, self.folder / name, self.rows.iloc[self.train, :columns])
        uri: str = self.web.publish(folder, f"{name}.zip")
        return uri

    def settings(self, challenger: str, champion: str = "", **gate: Any) -> Settings:
        file = self.folder / "holdout.csv"
        self.holdout.to_csv(file, index=False)
        return read_settings(
            {
                "TRIMTAB_CHALLENGER_URI": challenger,
                "TRIMTAB_CHAMPION_URI": champion,
                "TRIMTAB_HOLDOUT_URI": file.as_uri(),
                "TRIMTAB_HOLDOUT_DIGEST": f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}",
                "TRIMTAB_HOLDOUT_TARGET": "diagnosis",
                "TRIMTAB_GATE": json.dumps({"metric": "accuracy", "margin": "0.02"} | gate),
            }
        )

    def graded(self, challenger: str, champion: str = "", **gate: Any) -> dict[str, Any]:
        (work := self.folder / "work").mkdir(exist_ok=True)
        try:
            return evaluate(self.settings(challenger, champion, **gate), work, Journal())
        finally:
            self.folder.joinpath("work").rename(self.folder / f"work-{len(list(self.folder.iterdir()))}")


@pytest.fixture
def lab(web: Any, tmp_path: Path) -> Lab:
    return Lab(web, tmp_path)


def row(result: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [check for check in result["checks"] if check["name"] == name]
    return found


@pytest.fixture
def pair(lab: Lab) -> tuple[str, str]:
    """Two versions that hardly differ, the champion first."""
    return lab.published(lab.fitted(strength=0.9), "champion"), lab.published(lab.fitted(), "challenger")


def test_an_equal_model_passes_with_all_its_numbers(lab: Lab, pair: tuple[str, str]) -> None:
    champion, challenger = pair
    result = lab.graded(
        challenger,
        champion,
        floor="0.85",
        slices=["site"],
        classFloor="0.6",
        maxCalibrationError="0.2",
        fairness={"column": "site", "maxGap": "0.1"},
        maxLatencyRatio="50",
        maxSizeBytes=1_000_000,
    )
    assert (result["schema"], result["verdict"], result["reason"]) == (1, "Passed", "NonInferior")
    assert result["rows"] == len(lab.holdout) == 379
    model = lab.fitted()
    right = (model.predict(lab.holdout[lab.rows.columns]) == lab.holdout["diagnosis"]).mean()
    assert float(result["challenger"]) == pytest.approx(right, abs=1e-6)
    assert "would pass with a chance of 0.05" in result["message"]
    names = [check["name"] for check in result["checks"]]
    assert names[:2] == ["nonInferior", "floor"]
    assert set(names[2:]) == {
        "slice site=north", "slice site=south", "recall 0", "recall 1", "calibration", "fairness site", "latency",
        "schema", "sizeBytes", "profile", "finite",
    }  # fmt: skip
    # Neither has a drift profile, so nothing is lost.
    assert "passed" not in row(result, "profile")
    assert all(check.get("passed", True) for check in result["checks"])


def test_parquet_says_the_same_as_csv(lab: Lab, pair: tuple[str, str]) -> None:
    settings = lab.settings(*reversed(pair))
    path = lab.folder / "holdout.parquet"
    lab.holdout.to_parquet(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    results = []
    for chosen in (settings, replace(settings, holdout=path.as_uri(), digest=digest)):
        (work := lab.folder / f"as-{len(results)}").mkdir()
        results.append(evaluate(chosen, work, Journal()))
    assert results[0] == results[1]


def test_without_a_champion_there_are_floors(lab: Lab, pair: tuple[str, str]) -> None:
    result = lab.graded(pair[1], floor="0.85", maxLatencyRatio="1.5", slices=["site"])
    assert (result["verdict"], result["reason"]) == ("Passed", "FloorsMet")
    assert not {"champion", "difference", "lower", "upper", "chanceIfWorse"} & set(result)
    assert row(result, "latency") == {"name": "latency", "value": "no champion", "limit": "1.5"}
    assert lab.graded(pair[1], floor="0.99")["reason"] == "BelowFloor"


KNOWN = {"champion": ("0", "1"), "challenger": ("0", "1", "2")}


def changed(lab: Lab, name: str) -> Any:
    target = lab.holdout["diagnosis"]
    first = np.arange(len(target)) < 7
    return {
        "absent": lab.holdout.drop(columns="diagnosis"),
        "holes": lab.holdout.assign(diagnosis=target.where(~first)),
        "short": lab.holdout.head(49),
        "unseen": lab.holdout.assign(diagnosis=target.where(~first, 7)),
        "text": lab.holdout.assign(diagnosis="high"),
        "infinite": lab.holdout.assign(diagnosis=target.astype(float).where(~first, np.inf)),
    }[name]


@pytest.mark.parametrize(
    ("name", "metric", "says"),
    [
        ("absent", "accuracy", "has no column 'diagnosis' to be its target; it has 'mean radius', 'mean texture'"),
        ("holes", "accuracy", "the target 'diagnosis' is missing in 7 of 379 rows; leave those rows out"),
        ("short", "accuracy", "the holdout has 49 rows, which say nothing; at least 50 are needed"),
        ("unseen", "accuracy", "class '7' in 7 rows, which no model was trained on; the models know '0', '1', '2'"),
        ("text", "rmse", "the target 'diagnosis' is no number (could not convert string to float: 'high'), and rmse"),
        ("infinite", "r2", "the target 'diagnosis' is infinite in some rows; leave those rows out"),
    ],
)
def test_a_target_that_cannot_be_used_says_why(lab: Lab, name: str, metric: str, says: str) -> None:
    with pytest.raises(Failure, match="HoldoutInvalid") as failure:
        truth_of(changed(lab, name), lab.settings("models:/m/1", metric=metric), KNOWN)
    assert says in failure.value.message


def test_classes_are_those_of_all_models_or_else_of_the_rows(lab: Lab) -> None:
    settings = lab.settings("models:/m/1")
    assert truth_of(lab.holdout, settings, KNOWN).classes == ("0", "1", "2")
    assert truth_of(lab.holdout, settings, {"challenger": None}).classes == ("0", "1")
    assert truth_of(changed(lab, "holes").fillna(1.0), settings, KNOWN).classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda rows: rows.drop(columns="mean texture"),
            "models:/m/challenger: it lacks the columns 'mean texture'",
        ),
        (lambda rows: rows.assign(**{"mean texture": "rough"}), "could not convert string to float: 'rough'"),
    ],
)
def test_rows_that_a_model_cannot_take(lab: Lab, change: Any, says: str) -> None:
    inputs = (Tensor("input", "FP64", (-1, 3), tuple(lab.rows.columns)),)
    asked = Contender("challenger", "models:/m/challenger", inputs, (), None, 0, None, lambda rows: rows)
    assert asked.tensors(lab.holdout, "diagnosis", frozenset())["input"].shape == (379, 3)
    with pytest.raises(Failure, match="HoldoutInvalid: the holdout does not fit the challenger") as failure:
        asked.tensors(change(lab.holdout), "diagnosis", frozenset())
    assert says in failure.value.message


@pytest.mark.parametrize("width", [3, -1])
def test_a_matrix_without_names_takes_all_columns_but_target_and_slices(lab: Lab, width: int) -> None:
    inputs = (Tensor("X", "FP32", (-1, width)),)
    asked = Contender("challenger", "models:/m/challenger", inputs, (), None, 0, None, lambda rows: rows)
    assert asked.tensors(lab.holdout, "diagnosis", frozenset({"site"}))["X"].shape == (379, 3)
    narrow = lab.holdout.drop(columns=["mean radius"])
    if width == 3:
        with pytest.raises(Failure, match="it has 2 columns beside the target, and the model takes 3"):
            asked.tensors(narrow.drop(columns="site"), "diagnosis", frozenset())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x1f\x8b123", "is compressed; store CSV as it is, or Parquet"),
        (b"a,b\n1,2,3\n4,5,6\n", "Length of header or names does not match length of data"),
        (b"a,b\n1,2\n4,5,6\n", "cannot be read as CSV"),
        (b'a,b\n"1,2\n', "cannot be read as CSV"),
        (b"PAR1 but no more", "cannot be read as Parquet"),
        (b"", "cannot be read as CSV"),
        (b"\xff\xfe\x00", "cannot be read as CSV"),
    ],
)
def test_a_file_that_is_no_table(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "holdout"
    path.write_bytes(content)
    with pytest.raises(Failure, match="HoldoutInvalid") as failure:
        read_table(path, frozenset())
    assert says in failure.value.message


def test_columns_of_text_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "holdout.csv"
    path.write_text("code,x\n007,1\n,2\n")
    table = read_table(path, {"code"})
    assert table["code"].iloc[0] == "007"
    assert table["code"].isna().iloc[1]


def test_the_holdout_is_pinned_and_has_a_source(lab: Lab, tmp_path: Path) -> None:
    settings = lab.settings("models:/m/1")
    with pytest.raises(Failure, match=r"DigestMismatch: the holdout: file://.* is pinned: the file was changed"):
        fetch_holdout(replace(settings, digest="0" * 64), tmp_path / "a")
    with pytest.raises(Failure, match=r"TooLarge: the holdout: .* and 10 bytes"):
        fetch_holdout(replace(settings, max_bytes=10), tmp_path / "b")
    with pytest.raises(Failure, match=r"UnsupportedFormat: the holdout 'models:/m/1' is of a kind .* https://"):
        fetch_holdout(replace(settings, holdout="models:/m/1"), tmp_path / "c")
    with pytest.raises(Failure, match=r"SourceNotFound: the holdout: file:///nowhere is no file"):
        fetch_holdout(replace(settings, holdout="file:///nowhere"), tmp_path / "d")
    assert fetch_holdout(
        replace(settings, holdout=lab.web.publish(lab.folder / "holdout.csv")), tmp_path / "e"
    ).is_file()


@pytest.mark.parametrize("lacking", ["CHALLENGER_URI", "HOLDOUT_URI", "HOLDOUT_DIGEST", "HOLDOUT_TARGET", "GATE"])
def test_a_variable_that_lacks_is_named(lacking: str) -> None:
    environ = {
        "TRIMTAB_CHALLENGER_URI": "models:/m/2",
        "TRIMTAB_HOLDOUT_URI": "https://host/holdout.csv",
        "TRIMTAB_HOLDOUT_DIGEST": "sha256:" + "0" * 64,
        "TRIMTAB_HOLDOUT_TARGET": "y",
        "TRIMTAB_GATE": '{"metric": "accuracy"}',
    }
    assert read_settings(environ).timeout_seconds == 1200
    del environ[f"TRIMTAB_{lacking}"]
    with pytest.raises(Failure, match=f"SettingsInvalid: TRIMTAB_{lacking} is not set; it must say "):
        read_settings(environ)
