"""Models that could not be converted: skops files and MLflow model folders, in the toolbox image.

scikit-learn, pandas and MLflow are imported here and nowhere else in the server, and only when a bundle needs
them: the slim image does not have them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trimtab_serving.bundle import PYTHON_MODEL, BundleInfo, Tensor
from trimtab_serving.outcome import Failure, Reason
from trimtab_serving.protocol.datatypes import DATATYPES, Array
from trimtab_serving.runtimes import ModelRefused

SKOPS_FILE = "model.skops"
PROBABILITIES = frozenset({"predict_proba", "probabilities"})


class PythonRuntime:
    """A Python object with `predict`, and `predict_proba` where it has one."""

    platform = "trimtab_python"

    def __init__(self, info: BundleInfo, directory: Path) -> None:
        self._model = _load(directory / PYTHON_MODEL)
        self._inputs = info.inputs
        self._outputs = {tensor.name: tensor for tensor in info.outputs}
        self._prediction_names = [name for name in self._outputs if name not in PROBABILITIES]
        if len(self._prediction_names) < len(self._outputs) and not hasattr(self._model, "predict_proba"):
            message = f"{type(self._model).__name__} has no predict_proba, but bundle.json declares it"
            raise Failure(Reason.BUNDLE_INVALID, message)

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Predict; ModelRefused for the ValueError and TypeError with which Python models reject values."""
        frame = self._frame(inputs)
        results: dict[str, Array] = {}
        for method, names in self._calls(outputs):
            results.update(self._named(self._call(method, frame), names))
        return [results[name] for name in outputs]

    def _calls(self, outputs: Sequence[str]) -> list[tuple[Callable[[Any], Any], list[str]]]:
        calls: list[tuple[Callable[[Any], Any], list[str]]] = []
        if any(name in self._prediction_names for name in outputs):
            calls.append((self._model.predict, self._prediction_names))
        calls += [(self._model.predict_proba, [name]) for name in outputs if name in PROBABILITIES]
        return calls

    def _call(self, method: Callable[[Any], Any], frame: Any) -> Any:
        try:
            return method(frame)
        except (ValueError, TypeError) as error:
            raise ModelRefused(str(error)) from error

    def _frame(self, inputs: Mapping[str, Array]) -> Any:
        first = self._inputs[0]
        if len(self._inputs) == 1 and first.columns is None:
            return inputs[first.name]
        import pandas as pd

        if first.columns is not None and len(self._inputs) == 1:
            return pd.DataFrame(inputs[first.name], columns=list(first.columns))
        return pd.DataFrame({name: array.reshape(array.shape[0]) for name, array in inputs.items()})

    def _named(self, result: Any, names: Sequence[str]) -> dict[str, Array]:
        if len(names) == 1:
            return {names[0]: self._typed(result, self._outputs[names[0]])}
        return {name: self._typed(result[name], self._outputs[name]) for name in names}

    def _typed(self, result: Any, tensor: Tensor) -> Array:
        array = np.asarray(result)
        if array.ndim == len(tensor.shape) + 1 and array.shape[-1] == 1:
            array = array[..., 0]
        return array.astype(DATATYPES[tensor.datatype].dtype, copy=False)


def _load(path: Path) -> Any:
    if (path / SKOPS_FILE).exists():
        return _load_skops(path / SKOPS_FILE)
    import mlflow.pyfunc
    import mlflow.sklearn
    from mlflow.models import Model

    if "sklearn" in Model.load(str(path)).flavors:
        return mlflow.sklearn.load_model(str(path))
    return mlflow.pyfunc.load_model(str(path))


def _load_skops(path: Path) -> Any:
    import skops.io

    untrusted = skops.io.get_untrusted_types(file=path)
    if untrusted:
        message = f"{path.name} holds types that are not known to be safe: {', '.join(sorted(untrusted)[:8])}"
        raise Failure(Reason.PICKLE_REFUSED, message)
    return skops.io.load(path)
