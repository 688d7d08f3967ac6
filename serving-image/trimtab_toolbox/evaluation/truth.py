"""What was true of each row, and what a model answered, in the one form that all metrics take.

Classes become codes: the models may have been trained on different ones, and a file knows 1, 1.0, true and "1".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Truth:
    """The target of each row: `codes` into `classes`, or for a regression `values`, with no classes at all."""

    codes: Codes
    values: Floats
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.codes) or len(self.values)

    def part(self, rows: NDArray[np.bool_]) -> Truth:
        """The truth of some of the rows."""
        return Truth(self.codes[rows] if len(self.codes) else self.codes, _part(self.values, rows), self.classes)


@dataclass(frozen=True, slots=True)
class Answers:
    """One model's answers: `labels` as codes, `scores` of shape [rows, classes], `values`; what it lacks is empty."""

    labels: Codes
    scores: Floats
    values: Floats

    def part(self, rows: NDArray[np.bool_]) -> Answers:
        """The answers to some of the rows."""
        return Answers(
            self.labels[rows] if len(self.labels) else self.labels, _part(self.scores, rows), _part(self.values, rows)
        )


def class_name(value: object) -> str:
    """The one spelling of a class: whole numbers without a fraction, false and true as 0 and 1, else the text."""
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def class_names(values: NDArray[np.generic] | Sequence[object]) -> NDArray[np.object_]:
    """The class of each value; each different value is looked at once."""
    import pandas as pd

    codes, found = pd.factorize(np.asarray(values, dtype=object))
    names: NDArray[np.object_] = np.array([class_name(value) for value in found], dtype=object)[codes]
    return names


def coded(names: NDArray[np.object_], classes: Sequence[str]) -> Codes:
    """The position of each name in `classes`, -1 for one that is not there."""
    import pandas as pd

    return np.asarray(pd.Index(list(classes)).get_indexer(list(names)), dtype=np.int64)


def _part(values: Floats, rows: NDArray[np.bool_]) -> Floats:
    return values[rows] if len(values) else values
