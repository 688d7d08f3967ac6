"""Whole imports in this process: what is in the bundle, what a server answers from it, what stays the same."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import mlflow.onnx
import numpy as np
import pytest
import skops.io
from skl2onnx import to_onnx
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import NearestCentroid

from tests.mlflow_models import save
from trimtab_serving import model as serving
from trimtab_serving.bundle import digest_of
from trimtab_serving.outcome import Failure, Reason
from trimtab_serving.settings import Settings
from trimtab_toolbox.importer import run_import
from trimtab_toolbox.journal import Journal
from trimtab_toolbox.request import Request

pytestmark = pytest.mark.filterwarnings("ignore:Operation with range is deprecated")  # MLflow's own


PRIVATE = ["sklearn.tree._tree.Tree", "sklearn.utils._bunch.Bunch"]
"""What MLflow wants to be told; the import does not need it."""


async def served(done: Any, rows: Any) -> dict[str, Any]:
    """What the real server answers from the bundle to a request like its example, with other rows."""
    settings = Settings(model_name="m", model_version="1", digest=done.result["digest"], bundle_dir=done.directory)
    request = json.loads((done.directory / "example.json").read_bytes())
    request["inputs"][0] |= {"shape": list(rows.shape), "data": np.asarray(rows).tolist()}
    model = serving.load(settings)
    call = model.v2.decode(json.dumps(request).encode())
    answer = json.loads(model.v2.encode(call, await model.predict(call)).body)
    return {output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in answer["outputs"]}


async def test_a_registered_model_becomes_a_graph_that_answers_the_same(
    importing: Callable[..., Any], tmp_path: Path, logistic: Any, tumours: Any
) -> None:
    done = importing(save(logistic, tmp_path / "model", tumours[0]))
    assert done.files == ["bundle.json", "example.json", "model.onnx"]
    assert done.result["digest"] == digest_of(done.directory)
    assert done.result["parity"] == {"rows": 8260, "maxAbsDiff": "1e-06", "mismatchPercent": "0"}
    assert (done.info.format, done.info.flavor, done.info.runtime) == ("MLflow", "sklearn", "onnx")
    assert done.info.classes == (0, 1)
    assert "classes" not in done.result
    answer = await served(done, tumours[0])
    assert (answer["label"] == logistic.predict(tumours[0])).all()
    np.testing.assert_allclose(answer["probabilities"], logistic.predict_proba(tumours[0]), atol=1e-5)


async def test_optimize_off_serves_the_model_itself(
    importing: Callable[..., Any], tmp_path: Path, logistic: Any, tumours: Any
) -> None:
    folder = save(logistic, tmp_path / "model", tumours[0])
    done = importing(folder, optimize=False)
    assert done.files == ["bundle.json", "example.json", "model/model.skops"]
    assert (done.info.runtime, done.info.parity, done.info.fallback) == ("python", None, None)
    answer = await served(done, tumours[0])
    assert (answer["label"] == logistic.predict(tumours[0])).all()


def test_clients_do_not_see_which_runtime_serves(
    importing: Callable[..., Any], tmp_path: Path, logistic: Any, tumours: Any
) -> None:
    folder = save(logistic, tmp_path / "model", tumours[0])
    graph, estimator = importing(folder), importing(folder, optimize=False)
    for seen in ("inputs", "outputs", "classes"):
        assert getattr(graph.info, seen) == getattr(estimator.info, seen)
    assert (graph.directory / "example.json").read_bytes() == (estimator.directory / "example.json").read_bytes()


async def test_a_model_that_cannot_be_converted_is_served_and_says_why(
    importing: Callable[..., Any], tmp_path: Path, tumours: Any
) -> None:
    model = NearestCentroid().fit(*tumours)
    done = importing(save(model, tmp_path / "model", tumours[0], skops_trusted_types=PRIVATE))
    assert done.info.runtime == "python"
    assert done.result["fallback"].startswith("NearestCentroid could not be converted to ONNX: MissingShapeCalc")
    assert "parity" not in done.result
    answer = await served(done, tumours[0])
    assert (answer["label"] == model.predict(tumours[0])).all()


async def test_a_pickle_keeps_its_bytes(
    importing: Callable[..., Any], tmp_path: Path, logistic: Any, tumours: Any
) -> None:
    joblib.dump(logistic, tmp_path / "m.joblib", compress=3)
    done = importing(tmp_path / "m.joblib", optimize=False, allow_pickle=True)
    assert done.files == ["bundle.json", "example.json", "model/model.pkl"]
    assert (done.info.format, done.info.flavor) == ("Sklearn", "sklearn")
    answer = await served(done, tumours[0])
    assert (answer["label"] == logistic.predict(tumours[0])).all()


def test_the_same_source_twice_is_the_same_digest_and_one_upload(
    importing: Callable[..., Any], tmp_path: Path, logistic: Any, tumours: Any
) -> None:
    for model, name, fields in (
        (logistic, "graph", {}),
        (logistic, "skops", {"optimize": False}),
        (NearestCentroid().fit(*tumours), "fallback", {}),
    ):
        folder = save(model, tmp_path / name, tumours[0], skops_trusted_types=PRIVATE)
        assert importing(folder, **fields).result == importing(folder, **fields).result
    assert len(list((tmp_path / "store" / "sha256").iterdir())) == 3


def test_logging_a_model_again_changes_nothing(
    importing: Callable[..., Any], tmp_path: Path, logistic: Any, tumours: Any
) -> None:
    """Run ids, dates and model ids differ between the two folders, and none of them gets into a graph's bundle."""
    folders = [save(logistic, tmp_path / name, tumours[0], metadata={"run": name}) for name in ("one", "two")]
    assert (folders[0] / "MLmodel").read_text() != (folders[1] / "MLmodel").read_text()
    assert importing(folders[0]).result == importing(folders[1]).result


def test_an_mlflow_onnx_model_with_its_weights_and_example(
    importing: Callable[..., Any], tmp_path: Path, logistic: Any, tumours: Any
) -> None:
    rows = tumours[0].to_numpy(np.float32)
    graph = to_onnx(logistic, rows[:1], options={id(logistic): {"zipmap": False}})
    mlflow.onnx.save_model(graph, tmp_path / "model", input_example=rows[:2], pip_requirements=[])
    done = importing(tmp_path / "model")
    assert (done.info.format, done.info.flavor, done.info.runtime) == ("MLflow", "onnx", "onnx")
    example = json.loads((done.directory / "example.json").read_bytes())
    assert example["inputs"][0]["shape"] == [2, 30]
    np.testing.assert_array_equal(np.array(example["inputs"][0]["data"], np.float32), rows[:2].ravel())


def test_a_model_without_names_takes_a_bare_matrix(importing: Callable[..., Any], tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 3))
    skops.io.dump(LinearRegression().fit(rows, rows[:, 0]), tmp_path / "model.skops")
    done = importing(tmp_path / "model.skops")
    assert done.result["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, 3]}]
    assert done.result["outputs"] == [{"name": "prediction", "datatype": "FP64", "shape": [-1]}]


def refused(importing: Callable[..., Any], *arguments: Any, **fields: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        importing(*arguments, **fields)
    return caught.value


def test_a_model_that_predicts_nothing(importing: Callable[..., Any], tmp_path: Path, tumours: Any) -> None:
    skops.io.dump(PCA(2).fit(tumours[0]), tmp_path / "model.skops")
    failure = refused(importing, tmp_path / "model.skops")
    assert failure.reason is Reason.LOAD_FAILED
    assert failure.message.startswith("PCA has no predict method, so there is nothing to serve")


def test_a_model_that_was_never_fitted(importing: Callable[..., Any], tmp_path: Path) -> None:
    skops.io.dump(LinearRegression(), tmp_path / "model.skops")
    failure = refused(importing, tmp_path / "model.skops")
    assert failure.reason is Reason.LOAD_FAILED
    assert "LinearRegression does not know how many features it takes (n_features_in_)" in failure.message


def test_a_signature_that_does_not_fit_the_model(
    importing: Callable[..., Any], tmp_path: Path, logistic: Any, tumours: Any
) -> None:
    folder = save(logistic, tmp_path / "model", tumours[0])
    text = (folder / "MLmodel").read_text()
    (folder / "MLmodel").write_text(text.replace("mean radius", "radius, mean"))
    failure = refused(importing, folder)
    assert failure.reason is Reason.LOAD_FAILED
    assert "Pipeline cannot predict" in failure.message
    assert "log it with a signature and an input example that it can predict" in failure.message


def test_a_kind_of_address_that_is_not_known(tmp_path: Path) -> None:
    request = Request(uri="ftp://host/model.onnx", store=tmp_path.as_uri())
    (tmp_path / "work").mkdir()
    with pytest.raises(Failure) as caught:
        run_import(request, tmp_path / "work", Journal(io.StringIO()))
    assert caught.value.reason is Reason.UNSUPPORTED_FORMAT
    assert "supported are models:/NAME/VERSION and runs:/RUN/PATH (MLflow)" in caught.value.message


def test_a_pin_cannot_be_honoured_for_a_folder(tmp_path: Path) -> None:
    request = Request(uri="models:/m/1", store=tmp_path.as_uri(), digest="a" * 64)
    (tmp_path / "work").mkdir()
    with pytest.raises(Failure, match=r"UnsupportedFormat: a digest pins one downloaded file"):
        run_import(request, tmp_path / "work", Journal(io.StringIO()))


def test_a_registry_without_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "work").mkdir()
    with pytest.raises(Failure, match=r"SettingsInvalid: MLFLOW_TRACKING_URI is not set"):
        run_import(Request(uri="models:/m/1", store=tmp_path.as_uri()), tmp_path / "work", Journal(io.StringIO()))


def test_every_step_is_logged_with_its_time(web: Any, tmp_path: Path, logistic: Any) -> None:
    skops.io.dump(logistic, tmp_path / "model.skops")
    (tmp_path / "work").mkdir()
    log = io.StringIO()
    uri = web.publish(tmp_path / "model.skops")
    run_import(Request(uri=uri, store=(tmp_path / "store").as_uri()), tmp_path / "work", Journal(log))
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    steps = ["fetch", "open", "describe", "convert", "pack", "put"]
    assert [line["step"] for line in lines if line["event"] == "begins"] == steps
    assert [line["step"] for line in lines if line["event"] == "done"] == steps
    assert all(line["seconds"] >= 0 for line in lines if line["event"] == "done")
    assert lines[7]["parity"]["mismatchPercent"] == "0"
