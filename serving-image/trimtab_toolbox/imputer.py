"""Filling in missing numbers of FP64: ONNX Runtime has the operator `Imputer` for FP32 only.

A pipeline with trees behind a scaler is exact only where the scaler computes in FP64, and most such pipelines begin
with an imputer. `Where(IsNaN(x), fill, x)` is the same, in operators that every number type has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto

ALIAS = "SklearnSimpleImputer"


def with_doubles(known: Callable[[Any, Any, Any], None]) -> Callable[[Any, Any, Any], None]:
    """The converter `known`, and for NaN among numbers of FP64 our own."""

    def convert(scope: Any, operator: Any, container: Any) -> None:
        from skl2onnx.common.data_types import DoubleTensorType
        from skl2onnx.operator_converters.common import concatenate_variables

        imputer = operator.raw_operator
        plain = imputer.missing_values != imputer.missing_values and not imputer.add_indicator
        doubles = all(isinstance(variable.type, DoubleTensorType) for variable in operator.inputs)
        if not (plain and doubles and np.isfinite(imputer.statistics_).all()):
            known(scope, operator, container)
            return
        rows = concatenate_variables(scope, operator.inputs, container)
        fill, lacking = scope.get_unique_variable_name("fill"), scope.get_unique_variable_name("lacking")
        values = imputer.statistics_.astype(np.float64)
        container.add_initializer(fill, TensorProto.DOUBLE, [1, len(values)], values.tolist())
        container.add_node("IsNaN", rows, lacking, op_version=13, name=scope.get_unique_operator_name("IsNaN"))
        container.add_node(
            "Where",
            [lacking, fill, rows],
            operator.outputs[0].full_name,
            op_version=9,
            name=scope.get_unique_operator_name("Where"),
        )

    return convert
