"""Values that no encoder of a model has seen: what the model refuses or answers, its graph must refuse or answer too.

An encoder of scikit-learn refuses such a value unless it was told otherwise, but not every operator of ONNX does: a
graph would go on with some code, and answer with a number that looks like any other. The sample holds known
categories alone, because a single unknown one would make such a model refuse all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from trimtab_serving.bundle import Tensor
from trimtab_toolbox.evidence import observed_categories
from trimtab_toolbox.table import Tensors, column_datatypes, column_names, is_matrix

MAX_COLUMNS = 128
_TEXT = "in no category"


class Unseen(NamedTuple):
    """One row [1, …] with a value in `column` that is none of its categories."""

    column: str
    row: Tensors


def unseen_rows(model: Any, inputs: tuple[Tensor, ...], rows: Tensors) -> Iterator[Unseen]:
    """For each column whose categories the model remembers, the first of `rows` with a value that is none of them."""
    names = column_names(inputs)
    kinds = dict(zip(names, column_datatypes(inputs), strict=True))
    for column, values in list(observed_categories(model, names).items())[:MAX_COLUMNS]:
        value = _stranger(values, kinds[column])
        if value is None:
            continue
        row = {name: array[:1].copy() for name, array in rows.items()}
        if is_matrix(inputs):
            row[inputs[0].name][0, names.index(column)] = value
        else:
            row[column][0, 0] = value
        yield Unseen(column, row)


def disagreement(
    unseen: Iterator[Unseen],
    original: Callable[[Tensors], Tensors],
    converted: Callable[[Tensors], Tensors],
    alike: Callable[[Tensors, Tensors], bool],
) -> str | None:
    """What the two make differently of an unseen value, in words; None when they agree on each."""
    for column, row in unseen:
        expected, given = _answer(original, row), _answer(converted, row)
        if expected is None and given is not None:
            return f"it answers values that the model refuses, those in no category of column {column!r}"
        if expected is not None and (given is None or not alike(expected, given)):
            return f"it answers otherwise than the model to values in no category of column {column!r}, or refuses them"
    return None


def _answer(ask: Callable[[Tensors], Tensors], row: Tensors) -> Tensors | None:
    try:
        return ask(row)
    except Exception:  # each library refuses in its own way
        return None


def _stranger(values: list[Any], kind: str) -> Any | None:
    """A text or number that is none of `values`; None where they leave no room for one."""
    if kind == "BYTES":
        return None if _TEXT in values else _TEXT
    numbers = [value for value in values if isinstance(value, (int, float, np.number)) and np.isfinite(value)]
    return None if kind == "BOOL" or not numbers or len(numbers) < len(values) else max(numbers) + 1
