"""The converters of skl2onnx, with those of XGBoost and LightGBM among them, and what they need to work here.

skl2onnx 1.20 hands booleans of HistGradientBoosting to onnx as integers, which it refuses; the two models are among the
most used of scikit-learn, so their nodes are given plain Python integers on the way. That is harmless where it is no
more needed.

LightGBM and HistGradientBoosting compare in FP64. Rounded to FP32 their thresholds send values that lie on them the
other way, so they stay FP64 in the graph wherever its input is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import numpy_helper

from trimtab_toolbox import imputer

_ALIASES = ("SklearnHistGradientBoostingClassifier", "SklearnHistGradientBoostingRegressor")
_CLASSIFIER_OPTIONS = {"nocl": [True, False], "zipmap": [True, False, "columns"]}

_NUMBERS = ("nodes_values", "nodes_hitrates", "class_weights", "target_weights", "base_values")

Converter = Callable[[Any, Any, Any], None]
Change = Callable[[str, Any, dict[str, Any]], dict[str, Any]]


@functools.cache
def complete_converters() -> None:
    """Repair and register, once a process."""
    from skl2onnx.common._registration import (
        get_converter,
        get_shape_calculator,
        register_converter,
        register_shape_calculator,
    )

    for alias in _ALIASES:
        known = get_converter(alias)
        changed = _changing(_changing(known, _doubles_for_doubles), _plain_integers)
        register_shape_calculator(alias, _narrow(get_shape_calculator(alias)), overwrite=True)
        register_converter(alias, changed, overwrite=True, options=known.get_allowed_options())
    known = get_converter(imputer.ALIAS)
    register_converter(imputer.ALIAS, imputer.with_doubles(known), overwrite=True, options=known.get_allowed_options())
    _register_boosters()
    _register_balanced_forest()


def _register_boosters() -> None:
    import lightgbm
    import xgboost
    from onnxmltools.convert.common._registration import register_converter
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost

    exact = _changing(convert_lightgbm, _doubles_for_doubles)
    _register(lightgbm.LGBMClassifier, "LightGbmLGBMClassifier", exact, classifies=True)
    _register(lightgbm.LGBMRegressor, "LightGbmLGBMRegressor", exact, classifies=False)
    # And with the converter's own package, for bare boosters.
    for kind in ("LgbmClassifier", "LgbmRegressor", "LgbmRanker"):
        register_converter(kind, _changing(convert_lightgbm, _doubles), overwrite=True)
    for name, classifies in (
        ("XGBClassifier", True),
        ("XGBRFClassifier", True),
        ("XGBRegressor", False),
        ("XGBRFRegressor", False),
    ):
        _register(getattr(xgboost, name), f"XGBoost{name}", convert_xgboost, classifies=classifies)


def _register(kind: type, alias: str, converter: Converter, *, classifies: bool) -> None:
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    shapes = calculate_linear_classifier_output_shapes if classifies else calculate_linear_regressor_output_shapes
    options = _CLASSIFIER_OPTIONS if classifies else {"split": None}
    update_registered_converter(kind, alias, _narrow(shapes), converter, overwrite=True, options=options)


def _narrow(shapes: Callable[[Any], None]) -> Callable[[Any], None]:
    """Trees answer in FP32 even where they compare in FP64."""

    def narrow_shapes(operator: Any) -> None:
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

        shapes(operator)
        for output in operator.outputs:
            if isinstance(output.type, DoubleTensorType):
                output.set_type(FloatTensorType(output.type.shape))

    return narrow_shapes


def _register_balanced_forest() -> None:
    """imbalanced-learn's forest draws its rows in another way, and predicts as scikit-learn's does."""
    from imblearn.ensemble import BalancedRandomForestClassifier
    from skl2onnx import update_registered_converter
    from skl2onnx.common._registration import get_converter, get_shape_calculator

    alias = "SklearnRandomForestClassifier"
    known = get_converter(alias)

    def convert(scope: Any, operator: Any, container: Any) -> None:
        known(scope, operator, container)

    update_registered_converter(
        BalancedRandomForestClassifier,
        "ImblearnBalancedRandomForestClassifier",
        get_shape_calculator(alias),
        convert,
        overwrite=True,
        options=known.get_allowed_options(),
    )


def _changing(converter: Converter, change: Change) -> Converter:
    """The converter, with the attributes of each node it adds changed on the way."""

    def convert(scope: Any, operator: Any, container: Any) -> None:
        add_node = container.add_node

        def add_changed_node(kind: str, *arguments: Any, **attributes: Any) -> Any:
            return add_node(kind, *arguments, **change(kind, operator, attributes))

        container.add_node = add_changed_node
        try:
            converter(scope, operator, container)
        finally:
            container.add_node = add_node

    return convert


def _plain_integers(_kind: str, _operator: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in attributes.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [int(item) if isinstance(item, (bool, np.bool_, np.integer)) else item for item in value]
    return value


def _doubles_for_doubles(kind: str, operator: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    from skl2onnx.common.data_types import DoubleTensorType

    doubles = isinstance(operator.inputs[0].type, DoubleTensorType)
    return _doubles(kind, operator, attributes) if doubles else attributes


def _doubles(kind: str, _operator: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    if not kind.startswith("TreeEnsemble"):
        return attributes
    numbers = {name: attributes[name] for name in _NUMBERS if name in attributes}
    others = {name: value for name, value in attributes.items() if name not in numbers}
    tensors = {
        f"{name}_as_tensor": numpy_helper.from_array(np.array(values, dtype=np.float64), name)
        for name, values in numbers.items()
    }
    return others | tensors | {"op_version": 3}
