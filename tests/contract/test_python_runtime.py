"""The Python runtime against real scikit-learn objects, saved as the import Job saves them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from trimtab_serving.bundle import BundleInfo, Tensor
from trimtab_serving.outcome import Failure
from trimtab_serving.runtimes import ModelRefused
from trimtab_serving.runtimes.python import PythonRuntime

AGES = np.array([[20], [30], [40], [50]], np.int64)
CITIES = np.array([["Bonn"], ["Ulm"], ["Bonn"], ["Ulm"]], object)
BOUGHT = np.array(["no", "yes", "no", "yes"])
MATRIX = (Tensor("x", "FP32", (-1, 2)),)
FEATURES = (Tensor("age", "INT64", (-1, 1)), Tensor("city", "BYTES", (-1, 1)))
ANSWERS = (Tensor("label", "BYTES", (-1,)), Tensor("probabilities", "FP32", (-1, 2)))


def runtime(directory: Path, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> PythonRuntime:
    info = BundleInfo(format="Sklearn", flavor="sklearn", runtime="python", inputs=inputs, outputs=outputs)
    return PythonRuntime(info, directory)


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    return tmp_path / "model"


@pytest.fixture
def pipeline(model_dir: Path) -> Any:
    encode = ColumnTransformer([("city", OneHotEncoder(), ["city"])], remainder="passthrough")
    table = pd.DataFrame({"age": AGES[:, 0], "city": CITIES[:, 0]})
    fitted = make_pipeline(encode, LogisticRegression(max_iter=1000)).fit(table, BOUGHT)
    skops.io.dump(fitted, model_dir / "model.skops")
    return fitted


def test_one_tensor_a_feature_in_any_order(model_dir: Path, pipeline: Any) -> None:
    served = runtime(model_dir.parent, FEATURES, ANSWERS)
    probabilities, label = served.run({"city": CITIES, "age": AGES}, ["probabilities", "label"])
    table = pd.DataFrame({"age": AGES[:, 0], "city": CITIES[:, 0]})
    assert label.tolist() == pipeline.predict(table).tolist()
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(table), rtol=1e-6)


def test_values_a_model_refuses_are_told_from_faults(model_dir: Path, pipeline: Any) -> None:
    served = runtime(model_dir.parent, FEATURES, ANSWERS)
    with pytest.raises(ModelRefused, match="Found unknown categories"):
        served.run({"city": np.array([["Rom"]], object), "age": AGES[:1]}, ["label"])


@pytest.mark.parametrize("columns", [None, ("a", "b")])
def test_one_matrix_with_and_without_names(model_dir: Path, columns: tuple[str, ...] | None) -> None:
    rows = np.array([[1, 2], [3, 4], [5, 7]], np.float32)
    table = rows if columns is None else pd.DataFrame(rows, columns=list(columns))
    model = LinearRegression().fit(table, rows.sum(axis=1, keepdims=True))
    skops.io.dump(model, model_dir / "model.skops")
    inputs = (Tensor("x", "FP32", (-1, 2), columns),)
    (answer,) = runtime(model_dir.parent, inputs, (Tensor("prediction", "FP64", (-1,)),)).run(
        {"x": rows}, ["prediction"]
    )
    assert (answer.shape, answer.dtype) == ((3,), np.float64)
    np.testing.assert_allclose(answer, [3, 7, 12], rtol=1e-5)


def test_a_pickle_with_code_of_its_own(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model_dir / "code").mkdir()
    (model_dir / "code" / "doubling_of_trimtab_tests.py").write_text(
        "class Doubling:\n    def predict(self, rows):\n        return rows[:, 0] * 2\n"
    )
    with monkeypatch.context() as context:
        context.syspath_prepend(str(model_dir / "code"))
        import doubling_of_trimtab_tests  # type: ignore[import-not-found]

        joblib.dump(doubling_of_trimtab_tests.Doubling(), model_dir / "model.pkl")
        context.delitem(sys.modules, "doubling_of_trimtab_tests")
    monkeypatch.setattr("sys.path", list(sys.path))
    served = runtime(model_dir.parent, MATRIX, (Tensor("prediction", "FP32", (-1,)),))
    (answer,) = served.run({"x": np.array([[1, 2], [3, 4]], np.float32)}, ["prediction"])
    assert answer.tolist() == [2, 6]


def test_an_output_the_model_does_not_have(model_dir: Path) -> None:
    skops.io.dump(LinearRegression().fit([[1.0, 2.0]], [3.0]), model_dir / "model.skops")
    with pytest.raises(Failure) as failure:
        runtime(model_dir.parent, MATRIX, (Tensor("probabilities", "FP32", (-1, 2)),))
    assert failure.value.reason == "BundleInvalid"
    assert failure.value.message == (
        "bundle.json declares the output 'probabilities', but LinearRegression has no predict_proba; "
        "import the model again"
    )


def test_a_bundle_without_a_model(model_dir: Path) -> None:
    with pytest.raises(
        Failure, match=r"neither model/model\.skops nor another model in model/; import the model again"
    ):
        runtime(model_dir.parent, MATRIX, (Tensor("prediction", "FP32", (-1,)),))


LEAVE_WITHOUT_CLOSING = """
import sys
from pathlib import Path
from tests.contract.test_python_runtime import ANSWERS, FEATURES, BundleInfo
from trimtab_serving.runtimes.remote import RemoteRuntime
info = BundleInfo(format="Sklearn", flavor="sklearn", runtime="python", inputs=FEATURES, outputs=ANSWERS)
served = RemoteRuntime(info, Path(sys.argv[1]), 1, 60.0)
raise SystemExit(7)
"""


def test_a_server_that_ends_without_closing_does_not_wait_for_its_predictors(model_dir: Path, pipeline: Any) -> None:
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", LEAVE_WITHOUT_CLOSING, str(model_dir.parent)],
        env={**os.environ, "PYTHONPATH": f"{root / 'serving-image'}:{root}"},
        timeout=60,
        check=False,
    )
    assert ended.returncode == 7
