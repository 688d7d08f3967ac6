"""Bare boosters of XGBoost and LightGBM as ONNX graphs.

The converters make classifiers of them, with labels and probabilities, where the library itself answers one number a
row or one a class. So the graph is cut back to what the library says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from trimtab_serving.runtimes.boosters import LightgbmBooster, XgboostBooster

OPSET = 15
"""The newest core opset that the converter of XGBoost knows."""

Limits = tuple[NDArray[np.float64], NDArray[np.float64]]


def is_bare(model: Any) -> bool:
    """Whether `model` is a booster without scikit-learn's interface."""
    return isinstance(model, (XgboostBooster, LightgbmBooster))


def nameless(booster: Any) -> Any:
    """A copy of a booster of XGBoost without its features' names: the converter knows f0, f1, … only."""
    copied = booster.copy()
    copied.feature_names = None
    return copied


def bare_graph(model: Any) -> onnx.ModelProto:
    """The graph, of one matrix, whose first output is what `Booster.predict` answers.

    It takes FP32 for XGBoost, which computes in FP32 itself, and FP64 for LightGBM, which does not.
    """
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType

    types = [("matrix", FloatTensorType([None, model.n_features_in_]))]
    if isinstance(model, XgboostBooster):
        graph: onnx.ModelProto = onnxmltools.convert_xgboost(
            nameless(model.booster), initial_types=types, target_opset=OPSET
        )
        takes_label = "multi:softmax" in _objective(model)
    else:
        # The converter knows no FP64, but the thresholds in its graph are FP64 (see `converters`).
        graph = onnxmltools.convert_lightgbm(model.booster, initial_types=types, target_opset=OPSET, zipmap=False)
        graph.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
        next(opset for opset in graph.opset_import if opset.domain == "ai.onnx.ml").version = 3
        takes_label = False
    if len(graph.graph.output) > 1:
        _keep(graph, 0 if takes_label else 1)
    return graph


def _keep(graph: onnx.ModelProto, index: int) -> None:
    """Keep one of the outputs label and probabilities; of two probabilities the second."""
    kept = onnx.ValueInfoProto()
    kept.CopyFrom(graph.graph.output[index])
    if index == 1 and kept.type.tensor_type.shape.dim[1].dim_value == 2:
        second = numpy_helper.from_array(np.array([1], dtype=np.int64), "trimtab.second")
        graph.graph.initializer.append(second)
        graph.graph.node.append(
            helper.make_node("Gather", [kept.name, second.name], ["trimtab.positive"], name="trimtab.positive", axis=1)
        )
        kept = helper.make_tensor_value_info("trimtab.positive", TensorProto.FLOAT, [None, 1])
    del graph.graph.output[:]
    graph.graph.output.append(kept)


def _objective(model: XgboostBooster) -> str:
    return str(json.loads(model.booster.save_config())["learner"]["objective"]["name"])


def split_limits(model: Any, count: int) -> Iterator[Limits]:
    """For each of `count` features the lowest and highest threshold in the trees; nothing for other models."""
    found = _splits(model)
    if found is None or not len(found[0]):
        return
    features, thresholds = found
    lows, highs = np.full(count, np.nan), np.full(count, np.nan)
    inner = (features >= 0) & (features < count)
    np.fmin.at(lows, features[inner], thresholds[inner])
    np.fmax.at(highs, features[inner], thresholds[inner])
    yield lows, highs


def _splits(model: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    module = type(model).__module__.split(".")[0]
    if isinstance(model, XgboostBooster) or (module == "xgboost" and hasattr(model, "get_booster")):
        booster = model.booster if is_bare(model) else model.get_booster()
        return _xgboost_splits(booster)
    if isinstance(model, LightgbmBooster) or (module == "lightgbm" and hasattr(model, "booster_")):
        booster = model.booster if is_bare(model) else model.booster_
        return _table_splits(booster.trees_to_dataframe(), list(booster.feature_name()), "split_feature", "threshold")
    return None


def _xgboost_splits(booster: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    names = booster.feature_names or [f"f{index}" for index in range(booster.num_features())]
    return _table_splits(booster.trees_to_dataframe(), names, "Feature", "Split")


def _table_splits(
    table: Any, names: list[str], feature: str, threshold: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    import pandas as pd

    places = {name: index for index, name in enumerate(names)}
    values = pd.to_numeric(table[threshold], errors="coerce")
    known = table[feature].isin(list(places)) & values.notna()
    features = table[feature][known].map(places).to_numpy(dtype=np.int64)
    return features, values[known].to_numpy(dtype=np.float64)
