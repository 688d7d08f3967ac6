"""`log_model`: one call, and the import finds signature, example, profile and calibration in what was logged."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pytest
import xgboost
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as balanced_pipeline
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from trimtab_serving.bundle import Tensor, read_info
from trimtab_serving.counting.profile import Boolean, Category, Numeric, Profile, decode, encode, rest_hash
from trimtab_toolbox import log_model
from trimtab_toolbox.importer import run_import
from trimtab_toolbox.journal import Journal
from trimtab_toolbox.profiling.features import profile_features
from trimtab_toolbox.profiling.scores import cross_validated
from trimtab_toolbox.request import Request

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
        yield home


@pytest.fixture(scope="module")
def loans() -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": rng.integers(18, 90, 500).astype(float),
            "income": rng.normal(3000, 900, 500),
            "city": rng.choice(["Ulm", "Köln", "São Paulo"], 500),
        }
    )
    table.loc[rng.random(500) < 0.1, "age"] = np.nan
    table.loc[rng.random(500) < 0.1, "city"] = np.nan
    table.loc[:3, "city"] = "Atlantis"
    return table, np.where((table["income"] > 2800) ^ (table["city"] == "Ulm"), "yes", "no")


def imported(tmp_path: Path, name: str) -> tuple[dict[str, Any], Profile]:
    result = run_import(
        Request(uri=f"models:/{name}/1", store=(tmp_path / "store").as_uri()), tmp_path, Journal(io.StringIO())
    )
    info = read_info(tmp_path / "bundle")
    assert info.profile == result["profile"]
    return result, decode((tmp_path / "bundle" / "profile.json").read_bytes())


def test_a_pipeline_with_texts_and_gaps(tracking: Path, tmp_path: Path, loans: Any) -> None:
    rows, labels = loans
    encoder = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer(
        [
            ("number", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]),
            ("text", make_pipeline(SimpleImputer(strategy="most_frequent"), encoder), ["city"]),
        ]
    )
    model = balanced_pipeline(columns, RandomOverSampler(random_state=0), LogisticRegression()).fit(rows, labels)
    logged = log_model(model, rows, labels, registered_model_name="loans", alias="champion")
    assert (logged.uri[:10], logged.version) == ("models:/m-", "1")
    assert str(mlflow.MlflowClient().get_model_version_by_alias("loans", "champion").version) == "1"
    result, profile = imported(tmp_path, "loans")
    assert (result["runtime"], result.get("fallback")) == ("onnx", None)
    assert [tensor.get("missing") for tensor in result["inputs"]] == [True, None, True]
    age, income, city = profile.features
    assert isinstance(age, Numeric)
    assert isinstance(income, Numeric)
    assert isinstance(city, Category)
    assert (age.missing, age.n) == (int(rows["age"].isna().sum()), 500)
    assert city.missing == int(rows["city"].isna().sum())
    assert "Atlantis" not in json.dumps(result)
    assert (city.counts[-2:], city.rest) == ((4, 0), (rest_hash("Atlantis"),))
    seen = Counter(rows["city"].dropna())
    assert city.counts[:-2] == tuple(seen[name] for name in city.categories)
    assert sum(feature.importance or 0 for feature in profile.features) == pytest.approx(1)
    assert profile.score is not None
    assert (profile.score.kind, sum(profile.score.counts)) == ("positive", 500)
    assert profile.score.right is not None
    assert sum(profile.score.right) == int((labels == "yes").sum())
    assert profile.predictions is not None
    assert sum(profile.predictions.counts) == 500
    assert profile.moments is not None
    assert profile.moments.n == 500 - age.missing
    assert profile.moments.features == ("age", "income")


@pytest.mark.parametrize("kind", ["xgboost", "lightgbm"])
def test_several_classes_are_scored_by_the_largest_probability(tracking: Path, tmp_path: Path, kind: str) -> None:
    rows, labels = load_iris(return_X_y=True, as_frame=True)
    make = xgboost.XGBClassifier if kind == "xgboost" else lightgbm.LGBMClassifier
    model = make(n_estimators=5, n_jobs=1).fit(rows, labels)
    log_model(model, rows, labels, registered_model_name=kind, holdout=(rows[::3], labels[::3]))
    result, profile = imported(tmp_path, kind)
    assert (result["flavor"], result["runtime"]) == (kind, "onnx")
    assert profile.score is not None
    assert profile.score.right is not None
    right = int((model.predict(rows[::3]) == labels[::3]).sum())
    assert (profile.score.kind, sum(profile.score.counts), sum(profile.score.right)) == ("largest", 50, right)
    assert profile.predictions is not None
    assert profile.predictions.counts == tuple(np.bincount(model.predict(rows[::3])).tolist())


@pytest.mark.parametrize("bare", [True, False])
def test_regressions_are_scored_by_their_value(tracking: Path, tmp_path: Path, bare: bool) -> None:
    rows, target = load_diabetes(return_X_y=True)
    model: Any = RandomForestRegressor(5, random_state=0).fit(rows, target)
    if bare:
        model = xgboost.train({"nthread": 1}, xgboost.DMatrix(rows, label=target), 5)
    log_model(model, rows, target, registered_model_name=f"value-{bare}", holdout=(rows, target))
    _, profile = imported(tmp_path, f"value-{bare}")
    assert [(feature.input, feature.column) for feature in profile.features] == [("input", i) for i in range(10)]
    assert profile.score is not None
    assert (profile.score.kind, profile.score.right, sum(profile.score.counts)) == ("value", None, 442)
    assert profile.predictions is None


def test_a_profile_that_does_not_fit_is_left_out_out_loud(tracking: Path, tmp_path: Path, loans: Any) -> None:
    rows, labels = loans[0][["income"]], loans[1]
    logged = log_model(LogisticRegression().fit(rows, labels), rows, labels, registered_model_name="wrong")
    (tmp_path / "profile.json").write_text('{"schema": 1, "rows": 3}')
    mlflow.MlflowClient().log_model_artifacts(logged.uri.removeprefix("models:/"), str(tmp_path))
    journal = io.StringIO()
    (tmp_path / "work").mkdir()
    result = run_import(
        Request(uri="models:/wrong/1", store=(tmp_path / "store").as_uri()), tmp_path / "work", Journal(journal)
    )
    assert "profile" not in result
    assert "profile.json cannot be used: Object missing required field `features`" in journal.getvalue()


def test_a_model_that_knows_no_new_category_needs_a_holdout(loans: Any) -> None:
    rows, labels = loans[0][["city"]].fillna("none"), loans[1]
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(rows, labels)
    with pytest.warns(UserWarning, match=r"the profile has no scores: .*unknown categories.*; give holdout=\(X, y\)"):
        assert cross_validated(model, rows, labels) is None


def test_what_cannot_be_logged_is_said(loans: Any) -> None:
    with pytest.raises(ValueError, match="alias is given without registered_model_name: only registered versions"):
        log_model(None, *loans, alias="champion")
    with pytest.raises(ValueError, match="X has 500 rows and y has 499: each row needs its target"):
        log_model(None, loans[0], loans[1][1:])


@pytest.mark.parametrize(
    ("values", "inside", "missing"),
    [
        (np.array([1.0, 2.0, np.nan, 3.0]), 3, 1),
        (np.full(4, 7.0), 4, 0),
        (np.array([np.nan] * 4), 0, 4),
        (np.array([1.0, np.inf, -np.inf, 2.0]), 2, 0),
        (np.array([1, 2, 3, 2**40]), 4, 0),
        (np.float32([0.1, 0.2, 0.3, 1e30]), 4, 0),
    ],
)
def test_numbers_of_every_kind(values: Any, inside: int, missing: int) -> None:
    (feature,) = profile_features({"x": values[:, None]}, (Tensor("x", "FP64", (-1, 1), ("x",)),))
    assert isinstance(feature, Numeric)
    decode(encode(Profile(rows=4, features=(feature,))))
    first, last = feature.inside
    assert sum(feature.counts[first : last + 1]) == inside
    assert (sum(feature.counts), feature.missing) == (4 - missing, missing)


@pytest.mark.parametrize("kind", ["f4", "f8", "i8", "u1"])
def test_every_value_is_in_its_cell_and_quantiles_are_edges(kind: str) -> None:
    dice = np.random.default_rng(3)
    values = np.concatenate([dice.normal(90, 20, 700), dice.poisson(60, 300)]).clip(0, 255).astype(kind)
    if kind.startswith("f"):
        values[:40], values[40:43] = np.nan, (np.inf, -np.inf, np.inf)
        dice.shuffle(values)
    (feature,) = profile_features({"x": values[:, None]}, (Tensor("x", "FP64", (-1, 1)),))
    assert isinstance(feature, Numeric)
    present = values[~np.isnan(values)].astype(float)
    places = np.searchsorted(feature.edges, present, side="right")
    assert feature.counts == tuple(np.bincount(places, minlength=len(feature.edges) + 1))
    assert set(np.quantile(present[np.isfinite(present)], np.arange(1, 64) / 64)) <= set(feature.edges)
    assert feature.missing == len(values) - len(present)


def test_truths() -> None:
    (feature,) = profile_features({"x": np.array([[True], [False], [True]])}, (Tensor("x", "BOOL", (-1, 1)),))
    assert isinstance(feature, Boolean)
    assert feature.counts == (1, 2)
