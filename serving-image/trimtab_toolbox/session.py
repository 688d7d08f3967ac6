"""ONNX Runtime in this process, set up so that the same graph and rows give the same answer every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from trimtab_toolbox.table import Tensors


def open_session(path: Path) -> Any:
    """A session for the graph at `path`, on one thread: with more, sums come in any order."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(session: Any, rows: Mapping[str, Any], outputs: Sequence[str]) -> Tensors:
    """The named outputs for the given inputs."""
    return {
        name: np.asarray(value) for name, value in zip(outputs, session.run(list(outputs), dict(rows)), strict=True)
    }
