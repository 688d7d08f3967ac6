"""The rows a conversion is proven on: like the training data, at its edges, and always the same."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, StandardScaler

from trimtab_serving.bundle import Tensor
from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.evidence import observed_categories, observed_ranges
from trimtab_toolbox.opened import Estimator, Schema
from trimtab_toolbox.sample import example_rows, sample_rows
from trimtab_toolbox.table import to_features, to_request, to_tensors

MATRIX = Schema((Tensor("input", "FP64", (-1, 2), ("a", "b")),))
ROWS = np.random.default_rng(3).uniform([100.0, -0.5], [200.0, 0.5], (300, 2))
TABLE = pd.DataFrame(ROWS, columns=["a", "b"])
LABELS = (ROWS[:, 0] > 150).astype(int)


def sampled(model: Any, schema: Schema = MATRIX, example: pd.DataFrame | None = None) -> pd.DataFrame:
    inputs = schema.inputs
    opened = Estimator("Sklearn", "sklearn", model, schema=schema, example=example)
    return sample_rows(opened, schema, lambda rows: model.predict(to_features(to_tensors(rows, inputs), inputs)))


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(MinMaxScaler(), LogisticRegression()),
        RandomForestClassifier(5, random_state=0),
    ],
)
def test_ranges_come_from_what_the_model_remembers(model: Any) -> None:
    (low_a, high_a), (low_b, high_b) = observed_ranges(model.fit(TABLE, LABELS), 2)
    assert 50 < low_a < 160
    assert 140 < high_a < 250
    assert -1.5 < low_b < high_b < 1.5
    rows = sampled(model).astype(float)
    assert len(rows) > 4096
    assert rows["a"].quantile(0.4) > 90


def test_ranges_come_from_the_example_where_the_model_forgot() -> None:
    model = LinearRegression().fit(TABLE, LABELS)
    assert all(np.isnan(bound) for pair in observed_ranges(model, 2) for bound in pair)
    rows = sampled(model, example=TABLE.head(50)).astype(float)
    pd.testing.assert_frame_equal(rows.head(50), TABLE.head(50))
    assert 85 < rows["a"][50:-8].min() < rows["a"][50:-8].max() < 215
    assert {TABLE["a"][:50].min(), TABLE["a"][:50].max(), 0.0} <= set(rows["a"][-8:])


def test_one_row_is_an_example_too() -> None:
    rows = sampled(LinearRegression().fit(TABLE, LABELS), example=TABLE.head(1)).astype(float)
    assert rows["a"].nunique() > 4000


def test_the_sample_is_always_the_same() -> None:
    model = RandomForestClassifier(5, random_state=0).fit(TABLE, LABELS)
    pd.testing.assert_frame_equal(sampled(model), sampled(model))


def test_values_go_missing_only_where_that_was_logged() -> None:
    model = HistGradientBoostingClassifier(max_iter=3).fit(TABLE, LABELS)
    some = sampled(model, Schema(MATRIX.inputs, frozenset({"b"}))).astype(float)
    assert some["a"].notna().all()
    assert 100 < some["b"].isna().sum() < 400
    assert some["b"].notna().sum() > 3000
    assert sampled(model).notna().all(axis=None)


def test_categories_come_from_the_encoder() -> None:
    schema = Schema((Tensor("city", "BYTES", (-1, 1)), Tensor("size", "INT64", (-1, 1))))
    table = pd.DataFrame({"city": ["Bonn", "Ulm", "Kiel"] * 20, "size": range(60)})
    columns = ColumnTransformer([("c", OneHotEncoder(), ["city"])], remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression(max_iter=2000)).fit(table, [0, 1, 1] * 20)
    assert observed_categories(model, ["city", "size"]) == {"city": ["Bonn", "Kiel", "Ulm"]}
    rows = sampled(model, schema)
    assert set(rows["city"]) == {"Bonn", "Kiel", "Ulm"}
    assert all(float(size).is_integer() for size in rows["size"])


def test_rows_that_break_a_rule_of_the_data_are_replaced() -> None:
    """Dates as text: nothing made up will do, so values that were seen are combined anew."""

    def days(table: pd.DataFrame) -> Any:
        return pd.to_datetime(table["day"], format="%Y-%m-%d").dt.day_of_year.to_frame()

    schema = Schema((Tensor("day", "BYTES", (-1, 1)), Tensor("size", "FP64", (-1, 1))))
    table = pd.DataFrame({"day": ["2026-01-05", "2026-03-09", "2026-11-21"], "size": [1.0, 2.0, 3.0]})
    model = make_pipeline(FunctionTransformer(days), LinearRegression()).fit(table, [1, 2, 3])
    rows = sampled(model, schema, table)
    assert set(rows["day"]) <= set(table["day"])
    assert len(rows) > 200


def test_numbers_that_may_not_be_negative() -> None:
    def roots(rows: Any) -> Any:
        values = np.asarray(rows, float)
        if (values < 0).any():
            raise ValueError("a length cannot be negative")
        return np.sqrt(values)

    model = make_pipeline(FunctionTransformer(roots), LinearRegression()).fit(np.abs(ROWS), LABELS)
    rows = sampled(model, Schema((Tensor("input", "FP64", (-1, 2)),))).astype(float)
    assert len(rows) > 4096
    assert rows.min(axis=None) >= 0


def test_a_model_that_refuses_all_rows_says_what_it_said() -> None:
    mood = ["fit"]

    def never_again(rows: Any) -> Any:
        if mood != ["fit"]:
            raise ValueError("not in this life")
        return rows

    model = make_pipeline(FunctionTransformer(never_again), LinearRegression()).fit(TABLE, LABELS)
    mood.clear()
    for example, what in ((None, "rows made up from what it remembers"), (TABLE.head(3), "its own input example")):
        with pytest.raises(Failure) as caught:
            sampled(model, example=example)
        assert caught.value.reason is Reason.LOAD_FAILED
        assert f"Pipeline cannot predict {what}" in caught.value.message
        assert "ValueError: not in this life" in caught.value.message


def test_the_example_is_whole_and_small() -> None:
    gaps = TABLE.head(20).copy()
    gaps.loc[:2, "b"] = np.nan
    model = HistGradientBoostingClassifier(max_iter=3).fit(TABLE, LABELS)
    opened = Estimator("Sklearn", "sklearn", model, schema=MATRIX, example=gaps)
    rows = example_rows(opened, MATRIX, sampled(model, example=gaps))
    pd.testing.assert_frame_equal(rows.reset_index(drop=True), gaps[3:6].reset_index(drop=True))
    request = to_request(to_tensors(rows, MATRIX.inputs), MATRIX.inputs)
    assert b"NaN" not in request
    assert b'"shape":[3,2],"datatype":"FP64"' in request


def test_wide_models_get_fewer_rows() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 5000))
    model = LinearRegression().fit(rows, rows[:, 0])
    sample = sampled(model, Schema((Tensor("input", "FP64", (-1, 5000)),)))
    assert 1000 < len(sample) < 1100
    assert sample.memory_usage().sum() < 50_000_000


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_no_row_counts_twice() -> None:
    def only(rows: Any) -> Any:
        values = np.asarray(rows, float)
        if not (np.isin(values[:, 0], TABLE["a"][:3]) & np.isin(values[:, 1], TABLE["b"][:3])).all():
            raise ValueError("I know three rows")
        return values

    mood = make_pipeline(FunctionTransformer(lambda rows: rows), LinearRegression()).fit(TABLE, LABELS)
    mood.steps[0][1].func = only
    assert len(sampled(mood, example=TABLE.head(3))) == 9
