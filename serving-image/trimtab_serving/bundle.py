"""What is inside a bundle: `bundle.json`, the model, and an example request.

`bundle.json` says what a server must know before it loads the model, and nothing about where the model came
from or when: two imports of the same model are the same bytes and so the same digest.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from trimtab_serving.archive import digest_of, pack, unpack
from trimtab_serving.outcome import Failure, Reason

__all__ = [
    "BundleInfo",
    "Parity",
    "Tensor",
    "digest_of",
    "pack",
    "read_example",
    "read_info",
    "unpack",
    "write_info",
]

INFO_FILE = "bundle.json"
EXAMPLE_FILE = "example.json"
ONNX_FILE = "model.onnx"
PYTHON_MODEL = "model"

Datatype = Literal[
    "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP32", "FP64", "BYTES"
]


class Tensor(msgspec.Struct, frozen=True, omit_defaults=True):
    """One input or output. `shape` has -1 where any length will do; `columns` names the last axis.

    `missing` says where values may be missing: nowhere, anywhere (true), or in the columns it names.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    columns: tuple[str, ...] | None = None
    missing: bool | tuple[str, ...] = False


class Parity(msgspec.Struct, frozen=True, rename="camel"):
    """How closely the converted model agreed with the original; the figures are decimal strings."""

    rows: int
    max_abs_diff: str
    mismatch_percent: str


class BundleInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of `bundle.json`. Unknown fields are let through: an older server reads a newer bundle."""

    format: str
    flavor: str
    runtime: Literal["onnx", "python"]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    schema: Literal[1] = msgspec.field(default=1)
    parity: Parity | None = None
    fallback: str | None = None
    classes: tuple[str | int | float | bool, ...] | None = None
    profile: str | None = None
    """The digest of profile.json, when there is one."""


def write_info(info: BundleInfo, directory: str | os.PathLike[str]) -> None:
    """Write `bundle.json` into `directory`, always the same bytes for the same content."""
    content = {"schema": info.schema, **msgspec.to_builtins(info)}
    encoded = msgspec.json.format(msgspec.json.encode(content, order="sorted"), indent=2)
    Path(directory, INFO_FILE).write_bytes(encoded + b"\n")


def read_info(directory: str | os.PathLike[str]) -> BundleInfo:
    """Read and check `bundle.json`; BundleInvalid names the wrong field, BundleMissing says there is none."""
    path = Path(directory, INFO_FILE)
    try:
        info = msgspec.json.decode(path.read_bytes(), type=BundleInfo)
    except FileNotFoundError as error:
        message = f"there is no {INFO_FILE} in {path.parent}; fetch the bundle first"
        raise Failure(Reason.BUNDLE_MISSING, message) from error
    except (msgspec.DecodeError, OSError) as error:
        raise Failure(Reason.BUNDLE_INVALID, f"{path} cannot be read: {error}; import the model again") from error
    for side, tensors in (("inputs", info.inputs), ("outputs", info.outputs)):
        names = [tensor.name for tensor in tensors]
        if not names or len(set(names)) != len(names):
            raise Failure(Reason.BUNDLE_INVALID, f"{path} has no {side}, or two of one name; import the model again")
    return info


def read_example(directory: str | os.PathLike[str]) -> bytes:
    """The bundle's example: a V2 inference request. BundleInvalid when there is none."""
    path = Path(directory, EXAMPLE_FILE)
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}; import the model again"
        raise Failure(Reason.BUNDLE_INVALID, message) from error
