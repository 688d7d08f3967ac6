"""Large forests: moved so that a session forgets what it read them from, and the same model as before."""

import copy
import ctypes
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import skops.io
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier

from trimtab_toolbox import large_nodes
from trimtab_toolbox.large_nodes import let_go_of_large_nodes
from trimtab_toolbox.session import open_session, run

LARGE = 200_000
ROWS = np.random.default_rng(7).normal(size=(4000, 6))
CLASSES = (ROWS[:, 0] + np.random.default_rng(8).normal(size=4000) > 0).astype(int)


@pytest.fixture(scope="module")
def forest() -> RandomForestClassifier:
    return RandomForestClassifier(6, random_state=0).fit(ROWS, CLASSES)


@pytest.fixture(scope="module")
def graph(forest: RandomForestClassifier) -> Any:
    model = to_onnx(forest, ROWS[:1].astype(np.float32), options={"zipmap": False})
    assert max(node.ByteSize() for node in model.graph.node) > LARGE
    return model


@pytest.fixture(autouse=True)
def lower(monkeypatch: pytest.MonkeyPatch) -> None:
    """A smaller forest is large here."""
    monkeypatch.setattr(large_nodes, "LARGE_BYTES", LARGE)


def held(path: Path) -> int:
    """Bytes that a session on `path` keeps allocated."""

    class Info(ctypes.Structure):
        _fields_ = [
            (name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks")
        ] + [(name, ctypes.c_size_t) for name in ("fsmblks", "uordblks", "fordblks", "keepcost")]

    look: Any = ctypes.CDLL(None).mallinfo2
    look.restype = Info
    before = look()
    session = open_session(path)
    after = look()
    del session
    return int(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd)


def test_a_session_forgets_what_it_read(graph: Any, tmp_path: Path) -> None:
    moved = copy.deepcopy(graph)
    let_go_of_large_nodes(moved)
    for name, model in (("plain", graph), ("moved", moved)):
        onnx.save(model, tmp_path / name)
    held(tmp_path / "plain")  # what the first session of a process makes for all
    assert held(tmp_path / "moved") < 0.5 * held(tmp_path / "plain")
    rows = {"X": ROWS.astype(np.float32)}
    answers = [run(open_session(tmp_path / name), rows, ["label", "probabilities"]) for name in ("plain", "moved")]
    assert all((answers[0][name] == answers[1][name]).all() for name in answers[0])


def test_what_moves_and_what_is_left_out(graph: Any) -> None:
    moved = copy.deepcopy(graph)
    let_go_of_large_nodes(moved)
    (function,) = moved.functions
    (node,) = function.node
    names = {attribute.name for attribute in node.attribute}
    assert node.op_type == "TreeEnsembleClassifier"
    assert not {"nodes_hitrates", "nodes_missing_value_tracks_true"} & names
    assert {"nodes_modes", "nodes_values", "class_weights"} <= names
    assert [other.domain for other in moved.graph.node].count("trimtab") == 1
    assert moved.ir_version >= 8
    once = moved.SerializeToString(deterministic=True)
    let_go_of_large_nodes(moved)
    assert moved.SerializeToString(deterministic=True) == once


def test_gaps_that_go_left_are_kept(graph: Any) -> None:
    moved = copy.deepcopy(graph)
    for node in moved.graph.node:
        for attribute in node.attribute:
            if attribute.name == "nodes_missing_value_tracks_true":
                attribute.ints[0] = 1
    let_go_of_large_nodes(moved)
    assert "nodes_missing_value_tracks_true" in {attribute.name for attribute in moved.functions[0].node[0].attribute}


def test_a_small_model_keeps_its_bytes() -> None:
    small = RandomForestClassifier(3, max_depth=4, random_state=0).fit(ROWS, CLASSES)
    model = to_onnx(small, ROWS[:1].astype(np.float32))
    before = model.SerializeToString(deterministic=True)
    let_go_of_large_nodes(model)
    assert model.SerializeToString(deterministic=True) == before


def test_imports_move_them(
    importing: Callable[..., Any], forest: RandomForestClassifier, graph: Any, tmp_path: Path
) -> None:
    skops.io.dump(forest, tmp_path / "forest.skops")
    for done in (importing(tmp_path / "forest.skops", "forest.skops"), importing(graph.SerializeToString(), "f.onnx")):
        assert done.info.runtime == "onnx"
        model = onnx.load(done.directory / "model.onnx")
        assert [len(function.node) for function in model.functions] == [1]
        outputs = [tensor.name for tensor in done.info.outputs]
        request = json.loads((done.directory / "example.json").read_bytes())
        given = {
            one["name"]: ROWS[:100].astype({"FP32": "f4", "FP64": "f8"}[one["datatype"]]) for one in request["inputs"]
        }
        answer = run(open_session(done.directory / "model.onnx"), given, outputs)
        assert (answer[outputs[0]] == forest.predict(ROWS[:100])).all()
