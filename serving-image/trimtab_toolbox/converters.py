"""A repair to skl2onnx 1.20: its HistGradientBoosting converters hand booleans to onnx as integers, which it refuses.

The two models are among the most used of scikit-learn, so their nodes are given plain Python integers on the way. The
repair is harmless where it is no more needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

_ALIASES = ("SklearnHistGradientBoostingClassifier", "SklearnHistGradientBoostingRegressor")


@functools.cache
def repair_converters() -> None:
    """Wrap the two converters, once a process."""
    from skl2onnx.common._registration import get_converter, register_converter

    for alias in _ALIASES:
        known = get_converter(alias)
        register_converter(alias, _with_plain_integers(known), overwrite=True, options=known.get_allowed_options())


def _with_plain_integers(converter: Callable[[Any, Any, Any], None]) -> Callable[[Any, Any, Any], None]:
    def convert(scope: Any, operator: Any, container: Any) -> None:
        add_node = container.add_node

        def add_plain_node(*arguments: Any, **attributes: Any) -> Any:
            return add_node(*arguments, **{name: _plain(value) for name, value in attributes.items()})

        container.add_node = add_plain_node
        try:
            converter(scope, operator, container)
        finally:
            container.add_node = add_node

    return convert


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [int(item) if isinstance(item, (bool, np.bool_, np.integer)) else item for item in value]
    return value
