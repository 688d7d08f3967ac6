"""Signatures, examples and estimators, each turned into the inputs a client sees."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from mlflow.models.signature import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from trimtab_serving.bundle import Tensor
from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.signature import example_table, schema_of_estimator, schema_of_signature


def columns(**types: DataType) -> ModelSignature:
    return ModelSignature(Schema([ColSpec(kind, name) for name, kind in types.items()]))


def inputs(signature: ModelSignature) -> tuple[Tensor, ...]:
    schema = schema_of_signature(signature)
    assert schema is not None
    return schema.inputs


@pytest.mark.parametrize(
    ("types", "datatype"),
    [
        ({"a": DataType.double, "b": DataType.double}, "FP64"),
        ({"a": DataType.float, "b": DataType.float}, "FP32"),
        ({"a": DataType.long}, "INT64"),
        ({"a": DataType.integer, "b": DataType.long}, "INT64"),
        ({"a": DataType.boolean, "b": DataType.boolean}, "BOOL"),
        ({"a": DataType.double, "b": DataType.long, "c": DataType.boolean}, "FP64"),
        ({"a": DataType.string}, "BYTES"),
    ],
)
def test_columns_of_numbers_make_one_matrix(types: dict[str, DataType], datatype: Any) -> None:
    assert inputs(columns(**types)) == (Tensor("input", datatype, (-1, len(types)), tuple(types)),)


def test_with_text_each_column_is_an_input() -> None:
    assert inputs(columns(a=DataType.double, b=DataType.string)) == (
        Tensor("a", "FP64", (-1, 1)),
        Tensor("b", "BYTES", (-1, 1)),
    )


def test_columns_that_may_be_missing_are_remembered() -> None:
    table = pd.DataFrame({"a": [1.0, np.nan], "b": [1.0, 2.0]})
    schema = schema_of_signature(infer_signature(table))
    assert schema is not None
    assert schema.optional == frozenset({"a"})


@pytest.mark.parametrize("name", [None, "pixels"])
def test_a_matrix_keeps_its_name(name: str | None) -> None:
    signature = ModelSignature(Schema([TensorSpec(np.dtype(np.float32), (-1, 64), name)]))
    assert inputs(signature) == (Tensor(name or "input", "FP32", (-1, 64)),)


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec(np.dtype(np.float32), (-1, 28, 28)),
        TensorSpec(np.dtype(np.float32), (-1, -1)),
        TensorSpec(np.dtype(np.float16), (-1, 4)),
        TensorSpec(np.dtype(str), (-1, 4)),
    ],
)
def test_arrays_that_are_no_matrix_of_numbers(spec: TensorSpec) -> None:
    with pytest.raises(Failure) as caught:
        schema_of_signature(ModelSignature(Schema([spec])))
    assert caught.value.reason is Reason.UNSUPPORTED_FORMAT
    assert "scikit-learn models take one matrix of numbers, [-1, features]" in caught.value.message


def test_no_signature_is_no_schema() -> None:
    assert schema_of_signature(None) is None
    assert schema_of_signature(ModelSignature(outputs=Schema([ColSpec(DataType.double)]))) is None


def test_the_example_tells_types_that_the_estimator_forgot() -> None:
    table = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    schema = schema_of_estimator(SimpleNamespace(n_features_in_=2), table)
    assert [tensor.datatype for tensor in schema.inputs] == ["FP64", "BYTES"]


def test_the_estimator_knows_its_columns() -> None:
    table = pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 1.0]})
    named = schema_of_estimator(LinearRegression().fit(table, [0, 1]), None)
    bare = schema_of_estimator(LinearRegression().fit(table.to_numpy(), [0, 1]), None)
    assert named.inputs == (Tensor("input", "FP64", (-1, 2), ("a", "b")),)
    assert bare.inputs == (Tensor("input", "FP64", (-1, 2)),)


@pytest.mark.parametrize(("cities", "optional"), [(["Ulm", "Köln"], set()), (["Ulm", None], {"city"})])
def test_the_estimator_knows_which_columns_are_text(cities: list[str | None], optional: set[str]) -> None:
    table = pd.DataFrame({"a": [1.0, 2.0], "city": np.array(cities, object), "size": [1.0, 2.0]})
    encoders = [("text", OneHotEncoder(), ["city"]), ("number", OneHotEncoder(), ["size"])]
    model = make_pipeline(ColumnTransformer(encoders, remainder="passthrough"), LogisticRegression())
    schema = schema_of_estimator(model.fit(table, [0, 1]), None)
    assert [(tensor.name, tensor.datatype) for tensor in schema.inputs] == [
        ("a", "FP64"),
        ("city", "BYTES"),
        ("size", "FP64"),
    ]
    assert schema.optional == optional


@pytest.mark.parametrize("example", [np.zeros((2, 2)), [[0.0, 0.0], [0.0, 0.0]]])
def test_examples_without_names_get_those_of_the_signature(example: Any) -> None:
    table = example_table(example, schema_of_signature(columns(a=DataType.double, b=DataType.double)))
    assert table is not None
    assert list(table.columns) == ["a", "b"]


@pytest.mark.parametrize("example", [None, {"question": "?"}, "text", np.zeros(3), np.zeros((2, 2, 2))])
def test_examples_that_are_no_table_are_left_out(example: Any) -> None:
    assert example_table(example, None) is None
