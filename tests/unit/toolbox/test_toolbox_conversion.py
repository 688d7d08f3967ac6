"""Conversion to ONNX: kept only with proof, on data that the proof has not seen."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_digits
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC

from trimtab_toolbox.convert import Conversion, Task, convert, recipes
from trimtab_toolbox.describe import describe_estimator
from trimtab_toolbox.opened import Estimator
from trimtab_toolbox.parity import Agreement, compare
from trimtab_toolbox.predictions import predict
from trimtab_toolbox.session import open_session, run
from trimtab_toolbox.signature import schema_of_signature
from trimtab_toolbox.table import to_features, to_tensors


class Converted(NamedTuple):
    """A conversion, and where the graph would be."""

    task: Task
    conversion: Conversion
    path: Path

    def agreement(self, table: pd.DataFrame) -> Agreement:
        """How graph and model agree on rows of our own."""
        rows = to_tensors(table, self.task.inputs)
        expected = predict(self.task.model, to_features(rows, self.task.inputs), self.task.outputs)
        given = run(open_session(self.path), rows, self.task.outputs.names)
        return compare(expected, given, self.task.outputs.tensors)


def converted(model: Any, rows: Any, tmp_path: Path, example: Any = None) -> Converted:
    schema = schema_of_signature(infer_signature(rows)) if isinstance(rows, pd.DataFrame) else None
    task = describe_estimator(Estimator("Sklearn", "sklearn", model, schema=schema, example=example)).task
    assert task is not None
    path = tmp_path / "model.onnx"
    return Converted(task, convert(task, path), path)


def around(rows: Any, count: int = 3000) -> pd.DataFrame:
    """The rows themselves, and others drawn between their extremes."""
    matrix = np.asarray(rows, dtype=float)
    drawn = np.random.default_rng(11).uniform(matrix.min(0), matrix.max(0), (count, matrix.shape[1]))
    names = rows.columns if isinstance(rows, pd.DataFrame) else None
    return pd.DataFrame(np.vstack([matrix, drawn]), columns=names)


CLASSIFIERS = {
    "scaled logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "forest, which has ties": RandomForestClassifier(20, random_state=0),
    "scaled forest": make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)),
    "gradient boosting": GradientBoostingClassifier(n_estimators=20, random_state=0),
    "histogram gradient boosting": HistGradientBoostingClassifier(max_iter=20, random_state=0),
    "support vectors with probabilities": make_pipeline(StandardScaler(), SVC(probability=True, random_state=0)),
    "neighbours": KNeighborsClassifier(4),
    "naive Bayes": make_pipeline(StandardScaler(), GaussianNB()),
    "calibrated": make_pipeline(StandardScaler(), CalibratedClassifierCV(LogisticRegression())),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_answer_the_same(tmp_path: Path, tumours: Any, name: str) -> None:
    model = clone(CLASSIFIERS[name]).fit(*tumours)
    done = converted(model, tumours[0], tmp_path)
    assert done.conversion.fallback is None
    assert done.conversion.parity is not None
    assert done.conversion.parity.rows > 4096
    assert done.conversion.parity.mismatch_percent == "0"
    assert [(tensor.name, tensor.datatype, tensor.shape) for tensor in done.task.outputs.tensors] == [
        ("label", "INT64", (-1,)),
        ("probabilities", "FP32", (-1, 2)),
    ]
    assert done.agreement(around(tumours[0])).holds


def test_a_forest_breaks_ties_as_scikit_learn_does(tmp_path: Path, tumours: Any) -> None:
    """Half of the trees for and half against: the converter's own labels are wrong there, ours are not."""
    model = RandomForestClassifier(40, random_state=0).fit(*tumours)
    table = around(tumours[0])
    tied = table[model.predict_proba(table)[:, 0] == 0.5]
    assert len(tied) > 5
    done = converted(model, tumours[0], tmp_path)
    assert done.conversion.recipe is not None
    assert done.conversion.recipe.label_by_score
    assert done.agreement(tied).mismatched == 0


def test_a_scaler_before_trees_stays_exact(tmp_path: Path, tumours: Any) -> None:
    model = make_pipeline(StandardScaler(), RandomForestClassifier(50, random_state=0)).fit(*tumours)
    done = converted(model, tumours[0], tmp_path)
    assert str(done.conversion.recipe) == "FP64, FP32 in the last step, labels by score"
    assert done.agreement(around(tumours[0], 10_000)).holds


@pytest.mark.parametrize(
    "model",
    [
        Ridge(),
        RandomForestRegressor(10, random_state=0),
        HistGradientBoostingRegressor(max_iter=10, random_state=0),
        make_pipeline(StandardScaler(), SVR()),
    ],
)
@pytest.mark.parametrize("targets", [1, 2])
def test_regressors(tmp_path: Path, model: Any, targets: int) -> None:
    rows, target = load_diabetes(return_X_y=True, as_frame=True)
    if targets == 2:
        if not isinstance(model, (Ridge, RandomForestRegressor)):
            model = LinearRegression()
        target = np.c_[target, -target]
    done = converted(clone(model).fit(rows, target), rows, tmp_path)
    shape = (-1,) if targets == 1 else (-1, 2)
    assert [(t.name, t.datatype, t.shape) for t in done.task.outputs.tensors] == [("prediction", "FP64", shape)]
    assert done.conversion.fallback is None
    assert done.agreement(around(rows)).holds


@pytest.mark.parametrize(
    ("labels", "datatype", "classes"),
    [
        (lambda digits: digits.astype(str), "BYTES", tuple("0123456789")),
        (lambda digits: digits.astype(float), "INT64", tuple(range(10))),
        (lambda digits: digits - 5, "INT64", tuple(range(-5, 5))),
        (lambda digits: digits > 4, "INT64", (0, 1)),
        (lambda digits: np.where(digits > 4, "high", "low").astype(object), "BYTES", ("high", "low")),
    ],
)
def test_classes_of_all_types(tmp_path: Path, labels: Any, datatype: str, classes: tuple[Any, ...]) -> None:
    rows, digits = (part[:500] for part in load_digits(return_X_y=True))
    model = RandomForestClassifier(5, random_state=0).fit(rows, labels(digits))
    done = converted(model, rows, tmp_path)
    assert done.task.outputs.tensors[0].datatype == datatype
    assert done.task.outputs.classes == classes
    assert done.conversion.fallback is None
    assert done.agreement(around(rows, 500)).holds


@pytest.fixture(scope="module")
def people() -> tuple[pd.DataFrame, "pd.Series[int]"]:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age in years": rng.integers(18, 90, 400),
            "income.month": rng.normal(3000, 900, 400),
            "city": rng.choice(["Ulm", "Köln", "São Paulo"], 400),
            "children": rng.integers(0, 4, 400),
        }
    )
    return table, ((table["income.month"] > 2800) ^ (table["city"] == "Ulm")).astype(int)


def encoder(numbers: list[str], categories: list[str]) -> ColumnTransformer:
    scaled = make_pipeline(SimpleImputer(), StandardScaler())
    return ColumnTransformer([("number", scaled, numbers), ("category", OneHotEncoder(), categories)])


@pytest.mark.filterwarnings("ignore:Hint. Inferred schema contains integer")
def test_text_columns_are_inputs_of_their_own(tmp_path: Path, people: Any) -> None:
    columns = encoder(["age in years", "income.month"], ["city"])
    model = make_pipeline(columns, RandomForestClassifier(10, random_state=0)).fit(*people)
    done = converted(model, people[0], tmp_path)
    assert [(tensor.name, tensor.datatype, tensor.shape) for tensor in done.task.inputs] == [
        ("age in years", "INT64", (-1, 1)),
        ("income.month", "FP64", (-1, 1)),
        ("city", "BYTES", (-1, 1)),
        ("children", "INT64", (-1, 1)),
    ]
    assert done.conversion.fallback is None
    assert done.agreement(people[0]).holds


REFUSES = "it answers values that the model refuses, those in no category of column"


@pytest.mark.parametrize(
    ("column", "encoder", "reason"),
    [
        ("city", OneHotEncoder(), None),
        ("city", OneHotEncoder(handle_unknown="ignore"), None),
        ("city", OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=4), None),
        ("size", OrdinalEncoder(), REFUSES),
        ("city", OrdinalEncoder(), REFUSES),
        ("city", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), None),
        ("size", OneHotEncoder(), None),
        ("size", OneHotEncoder(handle_unknown="ignore"), None),
        ("rooms", OneHotEncoder(), None),
    ],
)
def test_graphs_refuse_what_encoders_refuse(tmp_path: Path, column: str, encoder: Any, reason: str | None) -> None:
    """Values in no category: no sampled row has one, for the encoders that refuse them would refuse all rows."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": rng.normal(40, 10, 300),
            "city": rng.choice(["Ulm", "Bonn", "Kiel"], 300).astype(object),
            "size": rng.choice([1.0, 2.0, 4.0], 300),
            "rooms": rng.integers(1, 4, 300),
        }
    )
    steps = ColumnTransformer([("encoded", encoder, [column]), ("plain", "passthrough", ["age"])])
    model = make_pipeline(steps, LogisticRegression()).fit(table, table["age"] > 40)
    given = converted(model, table, tmp_path)
    fallback = given.conversion.fallback
    if reason is None:
        assert fallback is None
    else:
        assert f"{reason} {column!r}" in (fallback or "")
        assert not given.path.exists()


@pytest.mark.filterwarnings("ignore:Hint. Inferred schema contains integer")
def test_numeric_columns_chosen_by_name_stay_one_matrix(tmp_path: Path, people: Any) -> None:
    table = people[0].drop(columns="city")
    model = make_pipeline(encoder(["income.month"], ["children"]), LogisticRegression()).fit(table, people[1])
    done = converted(model, table, tmp_path, example=table.head(20))
    assert len(done.task.inputs) == 1
    assert done.task.inputs[0].columns == ("age in years", "income.month", "children")
    assert done.task.inputs[0].datatype == "FP64"
    assert done.conversion.fallback is None
    assert done.agreement(table).holds


def test_models_without_probabilities_have_labels_alone(tmp_path: Path, tumours: Any) -> None:
    model = make_pipeline(StandardScaler(), LinearSVC()).fit(*tumours)
    done = converted(model, tumours[0], tmp_path)
    assert done.task.outputs.names == ("label",)
    assert done.conversion.fallback is None
    assert done.agreement(around(tumours[0])).holds


def test_outlier_detectors_predict_whole_numbers(tmp_path: Path) -> None:
    rows, _ = load_diabetes(return_X_y=True)
    done = converted(IsolationForest(n_estimators=5, random_state=0).fit(rows), rows, tmp_path)
    assert [(t.name, t.datatype) for t in done.task.outputs.tensors] == [("prediction", "INT64")]
    assert done.conversion.fallback is None
    assert done.agreement(around(rows, 500)).holds


def test_large_numbers_need_fp64(tmp_path: Path) -> None:
    """Differences of 1 at a height of 1e9 are nothing to FP32."""
    rows = 1e9 + np.random.default_rng(0).uniform(0, 100, (300, 3))
    done = converted(LinearRegression().fit(rows, rows @ [1.0, -2.0, 1.0]), rows, tmp_path, pd.DataFrame(rows))
    assert str(done.conversion.recipe) == "FP64"
    assert done.agreement(around(rows)).holds


def test_a_converter_that_does_not_exist_is_said(tmp_path: Path, tumours: Any) -> None:
    model = make_pipeline(FunctionTransformer(np.log1p), GaussianNB()).fit(*tumours)
    done = converted(model, tumours[0], tmp_path)
    fallback = done.conversion.fallback
    assert fallback is not None
    assert fallback.startswith("Pipeline could not be converted to ONNX: ")
    assert fallback.endswith("; served by scikit-learn")
    assert not done.path.exists()


def test_a_converter_that_is_wrong_is_caught(tmp_path: Path, tumours: Any) -> None:
    """skl2onnx converts a calibrated pipeline without complaint, to a graph that guesses."""
    model = CalibratedClassifierCV(make_pipeline(StandardScaler(), LogisticRegression())).fit(*tumours)
    fallback = converted(model, tumours[0], tmp_path).conversion.fallback
    assert fallback is not None
    assert re.search(r"labels differ on 1\d{3} of 41\d\d rows, numbers by up to 1e\+00", fallback)
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_differs_is_said_with_figures(tmp_path: Path) -> None:
    """Large numbers again, and ONNX Runtime has this model in FP32 only."""
    rows = 1e7 + np.random.default_rng(0).uniform(0, 10, (200, 3))
    model = SVR().fit(rows, rows[:, 0] - 1e7)
    done = converted(model, rows, tmp_path, pd.DataFrame(rows))
    fallback = done.conversion.fallback
    assert fallback is not None
    assert fallback.startswith("SVR as ONNX (FP32) does not answer as scikit-learn does: ")
    assert "which is more than the tolerance; served by scikit-learn" in fallback
    assert str(tmp_path) not in fallback
    assert not done.path.exists()


def test_too_few_rows_prove_nothing(tmp_path: Path, tumours: Any) -> None:
    """Text columns of which only one value is known leave one row to try."""
    table = pd.DataFrame({"one": ["a"], "other": ["b"]})
    model = make_pipeline(OneHotEncoder(), RandomForestClassifier(2)).fit(pd.concat([table] * 4), [0, 1, 0, 1])
    fallback = converted(model, table, tmp_path, example=table).conversion.fallback
    assert fallback is not None
    assert "it can predict only 1 of the rows that could be tried, and 200 are needed as proof" in fallback


def test_reasons_do_not_depend_on_where_they_arose(tmp_path: Path, tumours: Any) -> None:
    model = make_pipeline(FunctionTransformer(np.log1p), GaussianNB()).fit(*tumours)
    reasons = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        reasons.append(converted(model, tumours[0], tmp_path / name).conversion.fallback)
    assert reasons[0] is not None
    assert reasons[0] == reasons[1]


@pytest.mark.parametrize("name", ["scaled logistic regression", "scaled forest", "gradient boosting"])
def test_the_same_model_is_the_same_graph(tmp_path: Path, tumours: Any, name: str) -> None:
    graphs = set()
    for part in ("one", "two"):
        (tmp_path / part).mkdir()
        done = converted(clone(CLASSIFIERS[name]).fit(*tumours), tumours[0], tmp_path / part)
        graphs.add(done.path.read_bytes())
    assert len(graphs) == 1


def test_labels_by_score_only_where_the_model_does_so(tumours: Any) -> None:
    """A support vector machine decides by its margin, and may contradict its own probabilities."""
    rows, labels = tumours
    model = SVC(probability=True, random_state=1).fit(rows[:40], labels[:40])
    task = describe_estimator(Estimator("Sklearn", "sklearn", model)).task
    assert task is not None
    assert not any(recipe.label_by_score for recipe in recipes(task))
