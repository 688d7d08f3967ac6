"""bundle.json: written always the same, read with the field that is wrong in the message."""

import json
from pathlib import Path
from typing import Any

import pytest

from trimtab_serving.bundle import BundleInfo, Parity, Tensor, read_example, read_info, write_info
from trimtab_serving.outcome import Failure

INFO = BundleInfo(
    format="Sklearn",
    flavor="sklearn",
    runtime="onnx",
    inputs=(Tensor("input", "FP32", (-1, 2), ("age", "income")),),
    outputs=(Tensor("label", "INT64", (-1,)),),
    parity=Parity(500, "1.2e-07", "0"),
    classes=(0, 1),
)


def test_written_and_read_again(tmp_path: Path) -> None:
    write_info(INFO, tmp_path)
    assert read_info(tmp_path) == INFO
    assert json.loads((tmp_path / "bundle.json").read_text()) == {
        "schema": 1,
        "format": "Sklearn",
        "flavor": "sklearn",
        "runtime": "onnx",
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 2], "columns": ["age", "income"]}],
        "outputs": [{"name": "label", "datatype": "INT64", "shape": [-1]}],
        "parity": {"rows": 500, "maxAbsDiff": "1.2e-07", "mismatchPercent": "0"},
        "classes": [0, 1],
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "Invalid enum value 2 - at `$.schema`"),
        ({"runtime": "magic"}, "Invalid enum value 'magic' - at `$.runtime`"),
        ({"inputs": []}, "has no inputs, or two of one name"),
        ({"outputs": [{"name": "y", "datatype": "FP16", "shape": [-1]}]}, "at `$.outputs[0].datatype`"),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}] * 2}, "two of one name"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write_info(INFO, tmp_path)
    content = json.loads((tmp_path / "bundle.json").read_text()) | change
    (tmp_path / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(Failure, match="BundleInvalid") as failure:
        read_info(tmp_path)
    assert message in failure.value.message
    assert failure.value.message.endswith("import the model again")


def test_unknown_fields_of_newer_importers_are_let_through(tmp_path: Path) -> None:
    write_info(INFO, tmp_path)
    content = json.loads((tmp_path / "bundle.json").read_text()) | {"lineage": {"runs": []}}
    (tmp_path / "bundle.json").write_text(json.dumps(content))
    assert read_info(tmp_path) == INFO


def test_missing_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"BundleMissing: there is no bundle\.json in"):
        read_info(tmp_path)
    with pytest.raises(Failure, match=r"BundleInvalid: .*example\.json cannot be read: No such file"):
        read_example(tmp_path)
