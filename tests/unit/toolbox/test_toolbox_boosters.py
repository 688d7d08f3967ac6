"""XGBoost and LightGBM in every form in which they are saved: opened without permission, converted, served."""

from pathlib import Path
from typing import Any

import lightgbm
import mlflow.lightgbm
import mlflow.xgboost
import numpy as np
import pandas as pd
import pytest
import skops.io
import xgboost
from imblearn.ensemble import BalancedRandomForestClassifier
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline as balanced_pipeline
from mlflow.models import infer_signature
from sklearn.datasets import load_diabetes, load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trimtab_serving.outcome import Failure, Reason
from trimtab_serving.runtimes.boosters import LightgbmBooster, XgboostBooster
from trimtab_serving.runtimes.python import PythonRuntime
from trimtab_toolbox.formats import open_model
from trimtab_toolbox.opened import Estimator
from trimtab_toolbox.request import Request
from trimtab_toolbox.session import open_session, run

pytestmark = pytest.mark.filterwarnings("ignore:Operation with range is deprecated")  # MLflow's own
QUIET: dict[str, Any] = {"n_estimators": 12, "n_jobs": 1}


def lacking(rows: Any) -> Any:
    """The rows with a tenth of the values gone."""
    gone = np.random.default_rng(5).random(rows.shape) < 0.1
    return rows.mask(gone) if isinstance(rows, pd.DataFrame) else np.where(gone, np.nan, rows)


def opened(path: Path, **fields: Any) -> Estimator:
    model = open_model(path, Request(uri="https://host/model", store="file:///nowhere", **fields))
    assert isinstance(model, Estimator)
    return model


def served(imported: Any, rows: Any) -> dict[str, Any]:
    """What the bundle answers, by the runtime it was made for."""
    tensor, names = imported.info.inputs[0], [output.name for output in imported.info.outputs]
    inputs = {tensor.name: np.asarray(rows, dtype=np.float64)}
    if imported.info.runtime == "onnx":
        return run(open_session(imported.directory / "model.onnx"), inputs, names)
    return dict(zip(names, PythonRuntime(imported.info, imported.directory).run(inputs, names), strict=True))


@pytest.mark.parametrize("ending", ["ubj", "json"])
@pytest.mark.parametrize("optimize", [True, False])
def test_an_xgboost_classifier_in_a_file(
    tmp_path: Path, importing: Any, tumours: Any, ending: str, optimize: bool
) -> None:
    model = xgboost.XGBClassifier(**QUIET).fit(lacking(tumours[0]), tumours[1])
    model.save_model(tmp_path / f"model.{ending}")
    done = importing(tmp_path / f"model.{ending}", "anything", optimize=optimize)
    assert (done.info.format, done.info.flavor) == ("XGBoost", "xgboost")
    assert done.info.runtime == ("onnx" if optimize else "python")
    assert done.info.inputs[0].missing is True
    assert done.info.inputs[0].columns == tuple(tumours[0].columns)
    assert done.files == sorted(["bundle.json", "example.json", "model.onnx" if optimize else f"model/model.{ending}"])
    rows = lacking(tumours[0])
    answer = served(done, rows)
    assert (answer["label"] == model.predict(rows)).all()
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(rows), atol=1e-5)


def xgboost_booster(objective: str, rows: Any, labels: Any, **more: Any) -> xgboost.Booster:
    parameters = {"objective": objective, "nthread": 1, **more}
    return xgboost.train(parameters, xgboost.DMatrix(rows, label=labels, nthread=1), 10)


@pytest.mark.parametrize(
    ("objective", "more", "shape"),
    [
        ("binary:logistic", {}, (-1,)),
        ("multi:softprob", {"num_class": 3}, (-1, 3)),
        ("multi:softmax", {"num_class": 3}, (-1,)),
        ("reg:squarederror", {}, (-1,)),
    ],
)
@pytest.mark.parametrize("optimize", [True, False])
def test_a_bare_xgboost_booster_answers_what_the_library_answers(
    tmp_path: Path, importing: Any, objective: str, more: dict[str, Any], shape: Any, optimize: bool
) -> None:
    rows, labels = load_wine(return_X_y=True)
    booster = xgboost_booster(objective, rows, labels == 1 if objective.startswith("binary") else labels, **more)
    booster.save_model(tmp_path / "model.ubj")
    done = importing(tmp_path / "model.ubj", optimize=optimize)
    assert done.info.fallback is None
    assert done.info.runtime == ("onnx" if optimize else "python")
    assert [(output.name, output.datatype, output.shape) for output in done.info.outputs] == [
        ("prediction", "FP64", shape)
    ]
    np.testing.assert_allclose(
        served(done, rows)["prediction"], booster.predict(xgboost.DMatrix(rows, nthread=1)), atol=1e-5
    )


@pytest.mark.parametrize(
    ("objective", "more", "shape"),
    [("binary", {}, (-1,)), ("multiclass", {"num_class": 3}, (-1, 3)), ("regression", {}, (-1,))],
)
@pytest.mark.parametrize("optimize", [True, False])
def test_a_lightgbm_text_file(
    tmp_path: Path, importing: Any, objective: str, more: dict[str, Any], shape: Any, optimize: bool
) -> None:
    rows, labels = load_wine(return_X_y=True)
    parameters = {"objective": objective, "verbose": -1, "num_threads": 1, **more}
    booster = lightgbm.train(parameters, lightgbm.Dataset(rows, labels == 1 if objective == "binary" else labels), 10)
    booster.save_model(tmp_path / "model.txt")
    done = importing(tmp_path / "model.txt", optimize=optimize)
    assert (done.info.format, done.info.fallback) == ("LightGBM", None)
    assert done.info.runtime == ("onnx" if optimize else "python")
    assert [(output.name, output.shape) for output in done.info.outputs] == [("prediction", shape)]
    rows = lacking(rows)
    np.testing.assert_allclose(served(done, rows)["prediction"], booster.predict(rows), atol=1e-5)


def flavored(kind: str, model: Any, folder: Path, rows: Any) -> Path:
    module = {"xgboost": mlflow.xgboost, "lightgbm": mlflow.lightgbm}[kind]
    module.save_model(model, folder, signature=infer_signature(rows), input_example=rows.head(4), pip_requirements=[])
    return folder


@pytest.mark.parametrize("kind", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("optimize", [True, False])
def test_mlflows_flavors_for_classifiers(
    tmp_path: Path, importing: Any, tumours: Any, kind: str, optimize: bool
) -> None:
    make = xgboost.XGBClassifier if kind == "xgboost" else lightgbm.LGBMClassifier
    model = make(**QUIET).fit(*tumours)
    done = importing(flavored(kind, model, tmp_path / "model", tumours[0]), optimize=optimize)
    assert (done.info.format, done.info.flavor, done.info.fallback) == ("MLflow", kind, None)
    assert done.info.runtime == ("onnx" if optimize else "python")
    answer = served(done, tumours[0])
    assert (answer["label"] == model.predict(tumours[0])).all()
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(tumours[0]), atol=1e-5)


@pytest.mark.parametrize("kind", ["xgboost", "lightgbm"])
def test_mlflows_flavors_for_bare_boosters(tmp_path: Path, importing: Any, kind: str) -> None:
    rows, target = load_diabetes(return_X_y=True, as_frame=True)
    booster: Any
    if kind == "xgboost":
        booster = xgboost_booster("reg:squarederror", rows, target)
        expected = booster.predict(xgboost.DMatrix(rows, nthread=1))
    else:
        booster = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(rows, target), 10)
        expected = booster.predict(rows)
    done = importing(flavored(kind, booster, tmp_path / "model", rows))
    assert (done.info.runtime, done.info.fallback) == ("onnx", None)
    np.testing.assert_allclose(served(done, rows)["prediction"], expected, rtol=1e-5)


PIPELINES = {
    "scaled XGBoost": lambda: make_pipeline(StandardScaler(), xgboost.XGBClassifier(**QUIET)),
    "scaled LightGBM": lambda: make_pipeline(StandardScaler(), lightgbm.LGBMClassifier(**QUIET, verbose=-1)),
    "resampled LightGBM": lambda: balanced_pipeline(
        StandardScaler(), SMOTE(random_state=0), lightgbm.LGBMClassifier(**QUIET, verbose=-1)
    ),
    "balanced forest": lambda: BalancedRandomForestClassifier(10, random_state=0),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_of_other_libraries_in_skops(tmp_path: Path, importing: Any, tumours: Any, name: str) -> None:
    model = PIPELINES[name]().fit(*tumours)
    skops.io.dump(model, tmp_path / "model.skops")
    done = importing(tmp_path / "model.skops")
    assert (done.info.runtime, done.info.fallback) == ("onnx", None)
    answer = served(done, tumours[0])
    assert (answer["label"] == model.predict(tumours[0])).all()
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(tumours[0]), atol=1e-5)


def test_several_quantiles_of_xgboost_fall_back_out_loud(tmp_path: Path, importing: Any) -> None:
    """Its converter sums the trees of all the quantiles."""
    rows, target = load_diabetes(return_X_y=True)
    model = xgboost.XGBRegressor(objective="reg:quantileerror", quantile_alpha=[0.1, 0.5, 0.9], **QUIET)
    model.fit(rows, target).save_model(tmp_path / "model.ubj")
    done = importing(tmp_path / "model.ubj")
    assert done.info.runtime == "python"
    assert done.info.fallback is not None
    assert done.info.fallback.startswith("XGBRegressor ")
    assert done.info.fallback.endswith("; served by XGBoost")
    np.testing.assert_allclose(served(done, rows)["prediction"], model.predict(rows), rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "library"), [(b'{"learner":{"attributes":{}', "XGBoost"), (b"tree\nversion=v4\nnum_class=", "LightGBM")]
)
def test_damaged_files_are_said(tmp_path: Path, content: bytes, library: str) -> None:
    (tmp_path / "model.txt").write_bytes(content)
    with pytest.raises(Failure, match=rf"model\.txt cannot be loaded by {library}: .*check that the file") as got:
        opened(tmp_path / "model.txt")
    assert got.value.reason is Reason.LOAD_FAILED
    assert [path.name for path in tmp_path.iterdir()] == ["model.txt"]


@pytest.mark.parametrize("name", ["lightgbm.basic.Dataset", "lightgbm.sklearn.Dataset", "sklearn.datasets._base.Path"])
def test_classes_that_only_lie_near_are_not_harmless(name: str) -> None:
    from trimtab_toolbox.formats.skops_file import _is_harmless

    assert not _is_harmless(name)
    assert _is_harmless("lightgbm.sklearn.LGBMClassifier")


def test_names_that_were_given_are_kept_and_made_up_ones_are_not(tmp_path: Path) -> None:
    rows, target = load_diabetes(return_X_y=True, as_frame=True)
    for table, named in ((rows, True), (rows.to_numpy(), False)):
        lightgbm.LGBMRegressor(**QUIET, verbose=-1).fit(table, target).booster_.save_model(tmp_path / "model.txt")
        xgboost_booster("reg:squarederror", table, target).save_model(tmp_path / "model.json")
        for name, kind in (("model.txt", LightgbmBooster), ("model.json", XgboostBooster)):
            model = opened(tmp_path / name).model
            assert isinstance(model, kind)
            assert hasattr(model, "feature_names_in_") is named
            assert model.n_features_in_ == 10
