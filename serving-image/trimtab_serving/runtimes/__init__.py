"""What computes predictions. A runtime is imported only when a bundle asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from trimtab_serving.bundle import BundleInfo
from trimtab_serving.protocol.datatypes import Array


class Runtime(Protocol):
    """A loaded model. `run` is called from several threads at once."""

    platform: str

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Predict: one array for each name in `outputs`; ModelRefused when the values are at fault."""
        ...


class ModelRefused(Exception):  # noqa: N818 - not an error of the server: the model's own verdict on an input
    """The model cannot take these values (an unknown category, say), though shape and type are right."""


def load(info: BundleInfo, directory: Path, processes: int, patience: float) -> Runtime:
    """Load the bundle's model, a Python one in so many processes that have `patience` seconds for each answer.

    Raises what the runtime raises, or Failure.
    """
    if info.runtime == "onnx":
        from trimtab_serving.runtimes.onnx import OnnxRuntime

        return OnnxRuntime(info, directory)
    from trimtab_serving.runtimes.remote import RemoteRuntime

    return RemoteRuntime(info, directory, processes, patience)
