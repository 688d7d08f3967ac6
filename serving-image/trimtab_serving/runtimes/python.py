"""Models that could not be converted, in the toolbox image: scikit-learn objects, boosters, MLflow's pyfunc.

The libraries and pandas are imported here and nowhere else in the server, and only when a bundle needs them: the
slim image does not have them. Whether a file may be loaded at all was decided by the import Job, which refuses
pickles and types unknown to it unless the owner allows them. The digest says that these are the bytes it saw.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trimtab_serving.bundle import PYTHON_MODEL, BundleInfo, Tensor
from trimtab_serving.outcome import Failure, Reason
from trimtab_serving.protocol.datatypes import DATATYPES, Array
from trimtab_serving.runtimes import ModelRefused
from trimtab_serving.runtimes.boosters import load_booster
from trimtab_serving.runtimes.pyfunc import MLMODEL, Pyfunc

SKOPS_FILE = "model.skops"
PICKLE_FILE = "model.pkl"
CODE_DIRECTORY = "code"
PROBABILITIES = "probabilities"


class PythonRuntime:
    """A Python object with `predict`, and `predict_proba` for the output named `probabilities`."""

    platform = "trimtab_python"

    def __init__(self, info: BundleInfo, directory: Path) -> None:
        self._model = _load(directory / PYTHON_MODEL)
        self._inputs = info.inputs
        self._outputs = {tensor.name: tensor for tensor in info.outputs}
        for name in self._outputs:
            if not hasattr(self._model, _method(name)):
                message = (
                    f"bundle.json declares the output {name!r}, but {type(self._model).__name__} has no "
                    f"{_method(name)}; import the model again"
                )
                raise Failure(Reason.BUNDLE_INVALID, message)

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Predict; ModelRefused for the ValueError and TypeError with which Python models reject values."""
        features = self._features(inputs)
        # Several outputs may come from one call: the columns of a table.
        answers: dict[str, Any] = {}
        for method in dict.fromkeys(map(_method, outputs)):
            try:
                answers[method] = getattr(self._model, method)(features)
            except (ValueError, TypeError) as error:
                raise ModelRefused(str(error)) from error
        return [self._answer(self._outputs[name], answers[_method(name)]) for name in outputs]

    def _answer(self, tensor: Tensor, answer: Any) -> Array:
        array = np.asarray(answer[tensor.name] if tensor.name in getattr(answer, "columns", ()) else answer)
        if array.ndim == len(tensor.shape) + 1 and array.shape[-1] == 1:
            array = array[..., 0]
        return array.astype(DATATYPES[tensor.datatype].dtype, copy=False)

    def _features(self, inputs: Mapping[str, Array]) -> Any:
        first = self._inputs[0]
        if len(self._inputs) == 1 and first.columns is None:
            return inputs[first.name]
        import pandas as pd

        if len(self._inputs) == 1:
            return pd.DataFrame(inputs[first.name], columns=list(first.columns or ()))
        # In the model's order and not the request's: scikit-learn checks it.
        columns = {tensor.name: inputs[tensor.name] for tensor in self._inputs}
        return pd.DataFrame({name: array.reshape(array.shape[0]) for name, array in columns.items()})


def _method(output: str) -> str:
    return "predict_proba" if output == PROBABILITIES else "predict"


def _load(directory: Path) -> Any:
    # Fitted with names and asked without, or the other way round: harmless, and said again on every row.
    warnings.filterwarnings("ignore", message="X (has|does not have|does not contain) ", category=UserWarning)
    if (directory / CODE_DIRECTORY).is_dir():
        sys.path.insert(0, str(directory / CODE_DIRECTORY))
    if (directory / SKOPS_FILE).exists():
        import skops.io

        types = skops.io.get_untrusted_types(file=directory / SKOPS_FILE)
        return skops.io.load(directory / SKOPS_FILE, trusted=types)
    if (directory / PICKLE_FILE).exists():
        import joblib  # type: ignore[import-untyped]

        return joblib.load(directory / PICKLE_FILE)
    if (directory / MLMODEL).exists():
        return Pyfunc(directory)
    booster = load_booster(directory)
    if booster is not None:
        return booster
    message = f"the bundle has neither {PYTHON_MODEL}/{SKOPS_FILE} nor another model in {PYTHON_MODEL}/"
    raise Failure(Reason.BUNDLE_INVALID, f"{message}; import the model again")
