"""Every kind of source, opened or refused: each refusal has its reason and says what to do."""

import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np
import onnx
import pytest
import skops.io
import yaml
from onnx import TensorProto, helper, numpy_helper
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import check_array

from tests.mlflow_models import save
from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.formats import open_model
from trimtab_toolbox.opened import Estimator, Graph
from trimtab_toolbox.request import Request

pytestmark = pytest.mark.filterwarnings("ignore:Operation with range is deprecated")  # MLflow's own


class Doubler(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer that no library knows."""

    def fit(self, rows: Any, labels: Any = None) -> "Doubler":
        return self

    def transform(self, rows: Any) -> Any:
        return np.asarray(rows) * 2


class Trap:
    """Pickled, it makes a file when somebody loads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def asking(**fields: Any) -> Request:
    return Request(uri="https://host/model", store="file:///nowhere", **fields)


def opened(path: Path, **fields: Any) -> Any:
    return open_model(path, asking(**fields))


def refused(path: Path, **fields: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        opened(path, **fields)
    return caught.value


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, logistic: Any, tumours: Any) -> Path:
    """MLflow folders of one model in each serialization, made once."""
    home = tmp_path_factory.mktemp("folders")
    for kind in ("skops", "cloudpickle", "pickle"):
        save(logistic, home / kind, tumours[0], kind)
    return home


@pytest.fixture
def folder(folders: Path, tmp_path: Path) -> Path:
    """A copy of the skops folder that a test may spoil."""
    return Path(shutil.copytree(folders / "skops", tmp_path / "model"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    content = yaml.safe_load((folder / "MLmodel").read_text())
    change(content)
    (folder / "MLmodel").write_text(yaml.safe_dump(content))
    return folder


def test_a_skops_folder_needs_no_permission(folders: Path, tumours: Any) -> None:
    model = opened(folders / "skops")
    assert isinstance(model, Estimator)
    assert (model.format, model.flavor, list(model.files)) == ("MLflow", "sklearn", ["model.skops"])
    assert model.schema is not None
    assert model.schema.inputs[0].columns == tuple(tumours[0].columns)
    assert model.example is not None
    assert model.example.equals(tumours[0].head(4))


@pytest.mark.parametrize("kind", ["cloudpickle", "pickle"])
def test_pickles_in_a_folder_are_refused_by_name(folders: Path, kind: str) -> None:
    failure = refused(folders / kind)
    assert failure.reason is Reason.PICKLE_REFUSED
    assert failure.message.startswith(f"model.pkl of the MLflow model ({kind}) is a pickle, and loading it would run")
    assert 'serialization_format="skops"' in failure.message
    assert "spec.allowPickle: true" in failure.message
    assert list(opened(folders / kind, allow_pickle=True).files) == ["model.pkl"]


def test_a_pickle_called_skops_is_still_a_pickle(folders: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "model.skops").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    failure = refused(folder)
    assert failure.reason is Reason.PICKLE_REFUSED
    assert "model.skops of the MLflow model (skops) is a pickle" in failure.message
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.skops", "model.onnx", "model.bin"])
def test_a_refused_pickle_is_never_loaded(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    failure = refused(path)
    assert failure.reason is Reason.PICKLE_REFUSED
    assert f"{name} is a pickle" in failure.message
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3)])
def test_joblib_files_when_pickles_are_allowed(tmp_path: Path, logistic: Any, tumours: Any, compress: Any) -> None:
    joblib.dump(logistic, tmp_path / "model.joblib", compress=compress)
    assert refused(tmp_path / "model.joblib").reason is Reason.PICKLE_REFUSED
    model = opened(tmp_path / "model.joblib", allow_pickle=True)
    assert model.model.predict(tumours[0]).shape == (569,)
    assert list(model.files) == ["model.pkl"]


@pytest.mark.parametrize("kind", [RandomForestClassifier, HistGradientBoostingClassifier])
def test_private_classes_of_scikit_learn_are_harmless(tmp_path: Path, tumours: Any, kind: Any) -> None:
    model = kind(random_state=0).fit(tumours[0][:60], tumours[1][:60])
    skops.io.dump(model, tmp_path / "model.skops")
    assert (opened(tmp_path / "model.skops").model.predict(tumours[0]) == model.predict(tumours[0])).all()


@pytest.mark.parametrize("step", [Doubler(), FunctionTransformer(check_array), FunctionTransformer(os.path.join)])
def test_classes_of_others_and_functions_are_not(tmp_path: Path, step: Any) -> None:
    skops.io.dump(step, tmp_path / "model.skops")
    failure = refused(tmp_path / "model.skops")
    assert failure.reason is Reason.PICKLE_REFUSED
    assert "holds types that do not belong to scikit-learn and may run code" in failure.message
    assert "set spec.allowPickle: true if you trust its author" in failure.message
    assert opened(tmp_path / "model.skops", allow_pickle=True).model.__class__ is step.__class__


def test_what_a_folder_says_of_its_own_trust_is_not_believed(folder: Path) -> None:
    skops.io.dump(Doubler(), folder / "model.skops")
    name = f"{Doubler.__module__}.Doubler"
    edit(folder, lambda content: content["flavors"]["sklearn"].update(skops_trusted_types=[name]))
    failure = refused(folder)
    assert failure.reason is Reason.PICKLE_REFUSED
    assert name in failure.message


def test_code_in_a_folder_needs_permission(tmp_path: Path, logistic: Any, tumours: Any) -> None:
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "trimtab_extra_code.py").write_text("ANSWER = 42\n")
    folder = save(logistic, tmp_path / "model", tumours[0], code_paths=[str(tmp_path / "extra")])
    failure = refused(folder)
    assert failure.reason is Reason.PICKLE_REFUSED
    assert "brings Python code of its own (code/)" in failure.message
    files = opened(folder, allow_pickle=True).files
    assert sorted(files) == ["code/extra/trimtab_extra_code.py", "model.skops"]


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        (
            lambda flavors: flavors["sklearn"].update(pickled_model="gone.skops"),
            Reason.LOAD_FAILED,
            "MLmodel names the file 'gone.skops', which is not in the model's folder",
        ),
        (
            lambda flavors: flavors["sklearn"].update(pickled_model="../../etc/passwd"),
            Reason.UNSAFE_ARCHIVE,
            "leads out of the model's folder",
        ),
        (
            lambda flavors: (flavors.update(spark=flavors.pop("sklearn")), flavors.pop("python_function")),
            Reason.UNSUPPORTED_FORMAT,
            "the MLflow model has the flavors spark; supported are sklearn, xgboost, lightgbm, python_function",
        ),
    ],
)
def test_folders_that_cannot_be_opened(folder: Path, change: Any, reason: Reason, says: str) -> None:
    failure = refused(edit(folder, lambda content: change(content["flavors"])))
    assert failure.reason is reason
    assert says in failure.message


def test_a_folder_whose_description_is_no_yaml(folder: Path) -> None:
    (folder / "MLmodel").write_text("flavors: [")
    failure = refused(folder)
    assert failure.reason is Reason.LOAD_FAILED
    assert failure.message.startswith("MLmodel cannot be read: ")


def test_a_column_type_the_protocol_does_not_know(folder: Path) -> None:
    inputs = '[{"type": "datetime", "name": "when", "required": true}]'
    failure = refused(edit(folder, lambda content: content["signature"].update(inputs=inputs)))
    assert failure.reason is Reason.UNSUPPORTED_FORMAT
    assert "the signature's column 'when' has the type datetime" in failure.message


def test_a_damaged_skops_file_names_the_versions(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr("schema.json", "{}")
    failure = refused(tmp_path / "model.skops")
    assert failure.reason is Reason.LOAD_FAILED
    assert "model.skops cannot be loaded: " in failure.message
    assert "this image has scikit-learn 1." in failure.message


def test_a_damaged_pickle_names_the_version_it_was_made_with(folders: Path, folder: Path) -> None:
    (folder / "model.skops").write_bytes((folders / "pickle" / "model.pkl").read_bytes()[:-40])
    edit(folder, lambda content: content["flavors"]["sklearn"].update(sklearn_version="0.24.1"))
    failure = refused(folder, allow_pickle=True)
    assert failure.reason is Reason.LOAD_FAILED
    assert "it was saved with scikit-learn 0.24.1" in failure.message


@pytest.mark.parametrize("content", [b"", b"hello world", b"\x7fELF"])
def test_files_of_no_known_format(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model").write_bytes(content)
    failure = refused(tmp_path / "model")
    assert failure.reason is Reason.UNSUPPORTED_FORMAT
    assert "model is not a model of a known format; supported are an MLflow model folder" in failure.message


def test_a_format_that_was_asked_for_and_is_not_there(folders: Path) -> None:
    failure = refused(folders / "skops", format="ONNX")
    assert failure.reason is Reason.UNSUPPORTED_FORMAT
    assert failure.message == "spec.format is ONNX, but skops is MLflow: change spec.format to MLflow or Auto"
    assert isinstance(opened(folders / "skops", format="MLflow"), Estimator)


def doubling(weights: Any = None) -> onnx.ModelProto:
    two = numpy_helper.from_array(np.array([2.0], np.float32) if weights is None else weights, "two")
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "two"], ["y"])],
        "doubling",
        [value("x", TensorProto.FLOAT, [None, 3])],
        [value("y", TensorProto.FLOAT, [None, 3])],
        [two],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_an_onnx_file_whatever_its_name(tmp_path: Path) -> None:
    onnx.save(doubling(), tmp_path / "model")
    model = opened(tmp_path / "model")
    assert isinstance(model, Graph)
    assert model.format == "ONNX"


def test_an_onnx_file_that_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(doubling().SerializeToString()[:-20])
    failure = refused(tmp_path / "model.onnx")
    assert failure.reason is Reason.LOAD_FAILED
    assert failure.message.startswith("model.onnx is not a valid ONNX model: ")


def test_weights_beside_an_onnx_file_only_come_with_a_folder(tmp_path: Path, folder: Path) -> None:
    weights = np.ones([2000, 3], np.float32)
    onnx.save(doubling(weights), tmp_path / "model.onnx", save_as_external_data=True, location="weights")
    failure = refused(tmp_path / "model.onnx")
    assert failure.reason is Reason.LOAD_FAILED
    assert "keeps the weights 'two' in another file" in failure.message
    for name in ("model.onnx", "weights"):
        (folder / name).write_bytes((tmp_path / name).read_bytes())
    edit(folder, lambda content: content.update(flavors={"onnx": {"data": "model.onnx"}}))
    assert len(opened(folder).model.SerializeToString()) > weights.nbytes


def test_weights_are_not_read_from_outside_the_folder(tmp_path: Path, folder: Path) -> None:
    onnx.save(doubling(np.ones([2000, 3], np.float32)), tmp_path / "m.onnx", save_as_external_data=True, location="w")
    model = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../w"
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    edit(folder, lambda content: content.update(flavors={"onnx": {"data": "model.onnx"}}))
    assert refused(folder).reason is Reason.LOAD_FAILED


def test_a_pipeline_of_one_is_still_a_pipeline(tmp_path: Path, tumours: Any) -> None:
    """A model without signature or example: the fitted estimator alone tells the columns."""
    model = make_pipeline(RandomForestClassifier(2, random_state=0)).fit(*tumours)
    skops.io.dump(model, tmp_path / "model.skops")
    estimator = opened(tmp_path / "model.skops")
    assert estimator.schema is None
    assert estimator.example is None
