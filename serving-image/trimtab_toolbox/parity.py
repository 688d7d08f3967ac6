"""Whether a converted model answers as the original does, in figures.

Labels must be the same on every row. Probabilities may differ by 1e-5, other numbers by 1e-5 of the largest
one: what FP32 loses, and no more. The difference is reported rounded up to a power of ten, because processors
differ in the last digits and a bundle must not depend on the one that made it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab_serving.bundle import Parity, Tensor
from trimtab_toolbox.table import Tensors

TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Agreement:
    """The comparison over `rows` rows: `mismatched` of them differ in a label or whole number."""

    rows: int
    mismatched: int
    max_abs_diff: float
    excess: float
    """The largest difference as a multiple of what is allowed; above 1 is too much."""

    @property
    def holds(self) -> bool:
        """Whether the converted model may stand in for the original."""
        return self.mismatched == 0 and self.excess <= 1.0

    def parity(self) -> Parity:
        """The figures for the bundle."""
        percent = f"{100 * self.mismatched / self.rows:.2f}".rstrip("0").rstrip(".")
        return Parity(rows=self.rows, max_abs_diff=rounded_up(self.max_abs_diff), mismatch_percent=percent)

    def __str__(self) -> str:
        return (
            f"labels differ on {self.mismatched} of {self.rows} rows, numbers by up to "
            f"{rounded_up(self.max_abs_diff)}, which is {'more than' if self.excess > 1 else 'within'} the tolerance"
        )


def compare(expected: Tensors, given: Tensors, outputs: Sequence[Tensor]) -> Agreement:
    """Compare the answers of two runtimes to the same rows; a missing or misshapen output is a mismatch of all."""
    rows = len(expected[outputs[0].name])
    differs = np.zeros(rows, dtype=bool)
    worst = excess = 0.0
    for tensor in outputs:
        left, right = expected[tensor.name], given[tensor.name]
        if left.shape != right.shape:
            return Agreement(rows, rows, math.inf, math.inf)
        if tensor.datatype in ("FP32", "FP64"):
            difference, scale = _distance(left, right)
            allowed = TOLERANCE if tensor.name == "probabilities" else TOLERANCE * scale
            worst = max(worst, difference)
            excess = max(excess, difference / allowed if allowed else math.inf * difference if difference else 0.0)
        else:
            differs |= (left != right).reshape(rows, -1).any(axis=1)
    return Agreement(rows, int(differs.sum()), worst, excess)


def rounded_up(difference: float) -> str:
    """The next power of ten that is not below `difference`, as a short decimal string; `0` for none at all."""
    if difference == 0:
        return "0"
    if not math.isfinite(difference):
        return "Infinity"
    return f"1e{math.ceil(math.log10(difference)):+03d}"


def _distance(left: NDArray[Any], right: NDArray[Any]) -> tuple[float, float]:
    """The largest difference (infinite where only one side is a number) and the largest finite magnitude."""
    left, right = left.astype(np.float64), right.astype(np.float64)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(left - right))
    finite = np.abs(left[np.isfinite(left)])
    worst = np.nan_to_num(difference, nan=np.inf).max(initial=0.0)
    return float(worst), float(finite.max(initial=0.0))
