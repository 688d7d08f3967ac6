"""JSON has no NaN and no infinity, so an answer must not need them.

The encoder writes null in their place. Looking for that word in the finished bytes costs next to nothing, where
asking numpy about every array would cost as much as the prediction. Only if it is found are the arrays looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trimtab_serving.protocol.datatypes import Array
from trimtab_serving.protocol.errors import RequestError

SUSPECT = b"null"


def check(names: Sequence[str], results: Sequence[Array], inputs: Mapping[str, Array]) -> None:
    """Raise when a result is not finite: 400 if the row lacked a value, 500 if the model alone is to blame."""
    for name, array in zip(names, results, strict=True):
        if array.dtype.kind != "f" or np.isfinite(array).all():
            continue
        row = int(np.argwhere(~np.isfinite(array))[0][0]) if array.ndim else 0
        if _lacks(inputs, row):
            message = f"the model has no finite answer for row {row}, in which a value is missing"
            raise RequestError(f"{message} (output {name!r}); send the value")
        message = f"the model's output {name!r} is not finite in row {row}, which JSON cannot say"
        raise RequestError(f"{message}; ask for it with binary_data, or mend the model", 500)


def _lacks(inputs: Mapping[str, Array], row: int) -> bool:
    rows = [array[row] for array in inputs.values() if array.ndim and row < array.shape[0]]
    return any(bool(np.any(np.not_equal(values, values))) for values in rows)
