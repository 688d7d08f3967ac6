"""What the recipes make of data and flags: what is refused, what is kept apart, how classes are balanced."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTE, RandomOverSampler
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss, root_mean_squared_error

from trimtab_serving.outcome import Failure
from trimtab_toolbox import BadData
from trimtab_toolbox.attempt import TrainingRun
from trimtab_toolbox.job import TrainingJob
from trimtab_toolbox.recipes import automl, classify, search, study
from trimtab_toolbox.recipes.data import Rows, load, prepare, read, split
from trimtab_toolbox.recipes.model import measure, pipeline
from trimtab_toolbox.recipes.options import Flag, Options, read_options

ROWS = 200


def options(**fields: Any) -> Options:
    return Options(**{"data": "d.csv", "target": "bought", "metric": "roc_auc", "model_name": "m", **fields})


def table(rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, rows),
            "city": rng.choice(["Ulm", "Köln"], rows),
            "at": pd.date_range("2026-01-01", periods=rows, freq="h", tz="UTC")[::-1].astype(str),
            "bought": rng.integers(0, 2, rows),
        }
    )


def test_flags_win_over_variables() -> None:
    environ = {"RECIPE_DATA": "s3://b/d.csv", "RECIPE_TARGET": "y", "RECIPE_TRIALS": "7", "RECIPE_METRIC": ""}
    given = read_options("x", [search.TRIALS], ["--target", "z", "--drop", "a,b,"], environ)
    assert (given.data, given.target, given.metric, given.numbers) == ("s3://b/d.csv", "z", "roc_auc", {"trials": 7})
    assert given.drop == ("a", "b")


@pytest.mark.parametrize(("given", "meant"), [("RocAuc", "roc_auc"), ("MAE", "mae"), ("log_loss", "log_loss")])
def test_metrics_may_be_spelt_as_in_a_gate(given: str, meant: str) -> None:
    assert read_options("x", [], ["--data", "d", "--target", "y", "--metric", given], {}).metric == meant


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--target", "y"], r"--data \(RECIPE_DATA\) is not set"),
        (["--data", "d"], r"--target \(RECIPE_TARGET\) is not set"),
        (["--data", "d", "--target", "y", "--metric", "auc"], "--metric is 'auc'; it must be one of accuracy, "),
        (["--data", "d", "--target", "y", "--until", "2026-01-01"], "--until needs --time"),
        (["--data", "d", "--target", "y", "--holdout-percent", "60"], "must be a whole number from 1 to 50"),
        (["--data", "d", "--target", "y", "--budget-seconds", "2.5"], "--budget-seconds is '2.5'; it must be a whole"),
        (["--date", "d"], "unrecognized arguments: --date d; see --help"),
    ],
)
def test_wrong_flags(arguments: list[str], says: str) -> None:
    flag = Flag("budget-seconds", "B", 1, "seconds")
    with pytest.raises(Failure, match=says):
        read_options("x", [flag], arguments, {})


def test_what_is_held_out_is_later(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "d.csv", index=False)
    learn, held_out = load(options(data=str(tmp_path / "d.csv"), time="at"), 0)
    # The file is newest first.
    assert list(held_out.features.index) == list(range(39, -1, -1))
    assert (len(learn.target), list(learn.features.columns)) == (160, ["age", "city"])


def test_rows_from_until_on_are_not_looked_at() -> None:
    rows = prepare(table(), options(time="at", until="2026-01-05T04:00Z"))
    assert len(rows.target) == 100
    assert rows.features.index.min() == 100


def test_times_are_handed_on_where_they_are_times() -> None:
    rows = prepare(table(), options(time="at"))
    assert len(rows.times) == ROWS
    assert rows.part(np.arange(3)).times.tolist() == rows.times.tolist()[:3]
    assert prepare(without(at=np.arange(ROWS)), options(time="at")).times is None
    gap = pd.to_datetime(table()["at"], utc=True).mask(np.arange(ROWS) == 5)
    assert prepare(without(at=gap), options(time="at")).times is None
    assert prepare(table(), options(drop=("at",))).times is None


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_both_kinds_of_files(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"d.{ending}"
    table().to_csv(path, index=False) if ending == "csv" else table().to_parquet(path)
    assert read(options(data=str(path))).shape == (ROWS, 4)


def test_a_split_by_chance_keeps_the_classes_apart_evenly() -> None:
    rows = Rows(pd.DataFrame({"x": np.arange(100.0)}), np.repeat([0, 1], [80, 20]), False)
    learn, held_out = split(rows, 25, 3, False)
    assert (held_out.target == 1).sum() == 5
    assert not set(learn.features["x"]) & set(held_out.features["x"])


def without(**columns: Any) -> pd.DataFrame:
    return table().assign(**columns)


@pytest.mark.parametrize(
    ("given", "fields", "says"),
    [
        (table(), {"target": "sold"}, "there is no column 'sold'; there are 'age', 'city', 'at', 'bought'"),
        (table(), {"time": "when"}, "there is no column 'when'"),
        (table(99), {}, "99 rows have the target 'bought'; at least 100 are needed"),
        (without(bought=1), {}, "the target 'bought' has 1 classes; there must be 2 to 100"),
        (without(bought=0.5), {}, "the target 'bought' has fractions; for a regression choose mae, rmse or r2"),
        (without(bought="yes"), {"metric": "rmse"}, "the target 'bought' is no finite number, and rmse needs one"),
        (without(age=np.nan), {}, "the column 'age' has no values at all; mend the data, or leave it out"),
        (without(day=pd.Timestamp("2026-01-01")), {}, "the column 'day' holds dates; make numbers of them"),
        (table(), {"time": "city"}, "'city' must hold numbers or times as"),
        (table(), {"time": "at", "until": "2026-01-02T00:00Z"}, "24 rows have the target"),
    ],
)
def test_bad_data(given: pd.DataFrame, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(BadData, match=says):
        prepare(given, options(**fields))


@pytest.mark.parametrize(("content", "says"), [(b"PAR1junk", "cannot be read as Parquet"), (None, "is no file here")])
def test_a_file_that_is_none(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "d.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadData, match=says):
        read(options(data=str(path)))


def test_numbers_and_texts_may_be_missing() -> None:
    given = without(bought=np.where(np.arange(ROWS) % 2, "yes", "no"))
    given.loc[:9, "city"] = None
    given["member"] = given["age"] > 50
    rows = prepare(given, options(drop=("at",)))
    assert rows.features.dtypes.astype(str).to_dict() == {"age": "float64", "city": "object", "member": "float64"}
    assert rows.features["city"].isna().sum() == 10
    assert set(rows.target) == {"yes", "no"}


@pytest.mark.parametrize(
    ("ones", "sampler", "neighbours"),
    [(100, None, None), (67, None, None), (60, SMOTE, 5), (3, SMOTE, 2), (1, RandomOverSampler, None)],
)
def test_classes_are_balanced_when_one_is_more_than_twice_another(
    ones: int, sampler: type | None, neighbours: int | None
) -> None:
    features = pd.DataFrame({"x": np.random.default_rng(0).normal(size=ROWS)})
    rows = Rows(features, (np.arange(ROWS) < ones).astype(int), False)
    model = pipeline(rows, LogisticRegression(), 7, regression=False).fit(*rows[:2])
    found = [step for step in model if hasattr(step, "fit_resample")]
    assert [type(step) for step in found] == ([] if sampler is None else [sampler])
    if neighbours:
        assert found[0].k_neighbors == neighbours
    assert len(model.predict(features)) == ROWS


def test_a_fold_of_one_class_is_bad_data() -> None:
    rows = Rows(pd.DataFrame({"x": np.arange(9.0)}), np.zeros(9, dtype=int), True)
    with pytest.raises(BadData, match="9 rows that should be learnt from have one class alone"):
        pipeline(rows, LogisticRegression(), 0, regression=False)


def test_models_are_measured_as_scikit_learn_measures_them() -> None:
    features, target = load_wine(return_X_y=True, as_frame=True)
    wines = Rows(features, np.array(["c", "a", "b"])[target], False)
    model = pipeline(wines, LogisticRegression(), 0, regression=False).fit(*wines[:2])
    assert measure("log_loss", model, wines) == pytest.approx(log_loss(wines.target, model.predict_proba(features)))
    patients = Rows(*load_diabetes(return_X_y=True, as_frame=True), False)
    line = pipeline(patients, LinearRegression(), 0, regression=True).fit(*patients[:2])
    error = root_mean_squared_error(patients.target, line.predict(patients.features))
    assert measure("rmse", line, patients) == pytest.approx(error)


def test_folds_in_time_judge_what_comes_later() -> None:
    rows = Rows(pd.DataFrame({"x": np.arange(100.0)}), np.arange(100) % 2, True)
    for part, judge in classify.folds(rows, 0):
        assert part.features["x"].max() < judge.features["x"].min()
    assert judge.features["x"].max() == 99


def test_a_journal_is_mended_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    study._mend(path)
    assert not path.exists()
    path.write_text('{"op": 1}\n{"op"')
    study._mend(path)
    assert path.read_text() == '{"op": 1}\n'


def test_a_study_that_cannot_be_shared_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIMTAB_CHECKPOINT_DIR", raising=False)
    run = TrainingRun(TrainingJob(output_dir=tmp_path, index=1), "r")
    with pytest.raises(Failure, match=r"need a volume to share a study: set job\.checkpoints\.claimName"):
        study.open_study(run, 1)


@pytest.mark.parametrize(
    ("values", "trials", "done"),
    [
        ([3.0, 1.0], 2, True),
        ([3.0, 1.0, 2.0], 9, False),
        ([3.0, 1.0, 2.0, 2.0], 9, True),
        ([3.0, 2.0, 1.0, 0.5], 9, False),
    ],
)
def test_a_search_ends_when_nothing_better_comes(values: list[float], trials: int, done: bool) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = optuna.create_study()
    for value in values:
        found.add_trial(optuna.trial.create_trial(value=value))
    found.ask()  # one that was killed
    assert study.finished(found, trials, 2) is done
    assert len(study.ended(found)) == len(values)


def test_what_flaml_has_found_survives_a_checkpoint() -> None:
    """Settings go through JSON and make the same learner."""
    features, target = load_diabetes(return_X_y=True, as_frame=True)
    rows = Rows(features, target.to_numpy(), False)
    state: dict[str, Any] = {"spent": 0.0, "starts": {}}
    automl.step(state, rows, "rmse", 1.0, 5)
    again = json.loads(json.dumps(state, default=lambda value: value.item()))
    assert again["spent"] >= 1
    model = automl._pipeline(again, rows, True).fit(*rows[:2])
    assert measure("rmse", model, rows) < float(np.std(rows.target))
