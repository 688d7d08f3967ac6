"""ONNX Runtime: the fast path.

One thread a session. A model of one row takes microseconds, less than it costs to wake another thread, and
pods scale by processes and replicas. The session's own thread pools would only contend with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnxruntime as ort

from trimtab_serving.bundle import ONNX_FILE, BundleInfo
from trimtab_serving.outcome import Failure, Reason
from trimtab_serving.protocol.datatypes import DATATYPES, Array
from trimtab_serving.runtimes import ModelRefused

_TENSOR_TYPES = {
    "tensor(bool)": "BOOL",
    "tensor(string)": "BYTES",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    **{f"tensor({name.lower()})": name for name in DATATYPES if "INT" in name},
}
_FATAL_ONLY = 4
_UNKNOWN_CATEGORY = "Unknown Category"
"""What the operator OneHotEncoder says of a value it was not told to overlook."""


class OnnxRuntime:
    """A session on `model.onnx` of a bundle."""

    platform = "onnx_onnxv1"

    def __init__(self, info: BundleInfo, directory: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _FATAL_ONLY
        self._session = ort.InferenceSession(str(directory / ONNX_FILE), options, providers=["CPUExecutionProvider"])
        self._invalid, self._failed = _faults()
        self._check(info)

    def _check(self, info: BundleInfo) -> None:
        for side, declared, actual in (
            ("input", info.inputs, self._session.get_inputs()),
            ("output", info.outputs, self._session.get_outputs()),
        ):
            types = {node.name: _TENSOR_TYPES.get(node.type, node.type) for node in actual}
            for tensor in declared:
                if types.get(tensor.name) != tensor.datatype:
                    message = (
                        f"bundle.json declares the {side} {tensor.name!r} as {tensor.datatype}, "
                        f"{ONNX_FILE} has {types.get(tensor.name, 'no such ' + side)}; import the model again"
                    )
                    raise Failure(Reason.BUNDLE_INVALID, message)
        known = {tensor.name for tensor in info.inputs}
        for node in self._session.get_inputs():
            if node.name not in known:
                message = (
                    f"bundle.json declares no input {node.name!r}, but {ONNX_FILE} needs it; import the model again"
                )
                raise Failure(Reason.BUNDLE_INVALID, message)

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Predict; ModelRefused for what ONNX Runtime calls an invalid argument, and for an unknown category."""
        try:
            results: list[Array] = self._session.run(outputs, inputs)
        except self._invalid as error:
            raise ModelRefused(str(error)) from error
        except self._failed as error:
            if _UNKNOWN_CATEGORY not in str(error):
                raise
            raise ModelRefused("a value is in no category that the model was fitted with") from error
        return results


def _faults() -> tuple[type[Exception], type[Exception]]:
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument

    return InvalidArgument, Fail
