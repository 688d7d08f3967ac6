"""Rows as a model pod counts them, by the server's own code: a profile from the toolbox, and counts by its cells."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.evidence.drift.reference import Reference, read_reference
from trimtab.evidence.drift.window import Window, read_counts
from trimtab_serving.bundle import BundleInfo, Tensor
from trimtab_serving.counting.document import describe_counts
from trimtab_serving.counting.fold import Folder
from trimtab_serving.counting.layout import KIND, KIND_ROW, Layout
from trimtab_serving.counting.profile import decode
from trimtab_serving.counting.recorder import FOLD_AT
from trimtab_toolbox.profiling.profile import build_profile


class Pod:
    """A pod that serves one matrix of numbers, and was trained on these rows, seen at these hours of the day."""

    def __init__(self, training: NDArray[np.float32], hours: NDArray[np.int64] | None = None) -> None:
        tensor = Tensor("X", "FP32", (-1, training.shape[1]))
        output = Tensor("y", "FP32", (-1,))
        info = BundleInfo(format="Python", flavor="sklearn", runtime="onnx", inputs=(tensor,), outputs=(output,))
        self.profile = build_profile(None, {"X": training}, [tensor], None, None, hours)
        self._layout = Layout(info, decode(self.profile))
        self._folder = Folder(self._layout)

    def reference(self) -> Reference:
        """What the operator reads of the profile."""
        return read_reference(json.loads(self.profile))

    def count(self, rows: NDArray[np.float32]) -> dict[str, Any]:
        """The answer to GET /trimtab/v1/counts after these rows."""
        counts = self._folder.empty()
        head = self._layout.width - rows.shape[1]
        for start in range(0, len(rows), FOLD_AT):
            part = rows[start : start + FOLD_AT]
            block = np.zeros((len(part), self._layout.width))
            block[:, KIND] = KIND_ROW
            block[:, head:] = part
            counts.add(self._folder.fold(block))
        return describe_counts(self._layout, counts)

    def window(self, rows: NDArray[np.float32], hour: int | None = None) -> Window:
        """What the operator reads of these counts."""
        return read_counts(self.reference(), self.count(rows), hour)
