"""What opening a source gives, whatever its format: a graph that is served as it is, or an estimator.

Everything behind `formats` (description, conversion, parity, bundling) works on these two and never asks again
what the files looked like.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab_serving.bundle import Tensor

if TYPE_CHECKING:
    import onnx
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Schema:
    """The inputs of a model. `optional` names the columns in which values may be missing."""

    inputs: tuple[Tensor, ...]
    optional: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Graph:
    """An ONNX model: it needs no conversion, its inputs and outputs are written in it."""

    format: str
    model: onnx.ModelProto
    example: Any = None
    profile: bytes | None = None


@dataclass(frozen=True, slots=True)
class Estimator:
    """A model that predicts in this process.

    `schema` and `example` are what was logged with it, if anything. `files` is all the Python runtime needs to
    load it again: the path in the bundle's `model/` folder -> the file here, or its content. `profile` is the
    content of the drift profile that was logged with it.
    """

    format: str
    flavor: str
    model: Any
    schema: Schema | None = None
    example: pd.DataFrame | None = None
    files: Mapping[str, Path | bytes] = field(default_factory=dict)
    profile: bytes | None = None


Opened = Graph | Estimator
