"""Writing the bundle's folder: the model beside `bundle.json` and `example.json`, and nothing else.

What changes from one logging of the same model to the next (run ids, dates, environments) stays behind: only
files that a server needs to load the model are copied.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from trimtab_serving.bundle import EXAMPLE_FILE, ONNX_FILE, PYTHON_MODEL, BundleInfo, Tensor, write_info
from trimtab_serving.counting.dated import decode_dated
from trimtab_serving.counting.profile import PROFILE_FILE, digest_of_profile, encode
from trimtab_toolbox.convert import Conversion
from trimtab_toolbox.describe import Described
from trimtab_toolbox.opened import Graph, Opened
from trimtab_toolbox.profiling.profile import fits


def copy_model(files: Mapping[str, Path | bytes], directory: Path) -> None:
    """Copy what the Python runtime needs into the bundle's `model/` folder."""
    for name, source in files.items():
        target = directory / PYTHON_MODEL / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, bytes):
            target.write_bytes(source)
        else:
            shutil.copyfile(source, target)


def write_profile(content: bytes | None, inputs: Sequence[Tensor], directory: Path) -> str | None:
    """Write the drift profile that was logged with a model and return its digest; None without one.

    Raises ValueError for a profile that contradicts itself or the model's inputs.
    """
    if content is None:
        return None
    profile = decode_dated(content)
    if not fits(profile, inputs):
        raise ValueError("its features are not the columns of the model's inputs")
    written = encode(profile)
    (directory / PROFILE_FILE).write_bytes(written)
    return digest_of_profile(written)


def write_description(
    directory: Path, opened: Opened, described: Described, conversion: Conversion, profile: str | None
) -> BundleInfo:
    """Write `bundle.json` and `example.json`; the runtime is that of the model that lies in the folder."""
    info = BundleInfo(
        format=opened.format,
        flavor="onnx" if isinstance(opened, Graph) else opened.flavor,
        runtime="onnx" if (directory / ONNX_FILE).exists() else "python",
        inputs=described.inputs,
        outputs=described.outputs,
        parity=conversion.parity,
        fallback=conversion.fallback,
        classes=described.classes,
        profile=profile,
    )
    write_info(info, directory)
    (directory / EXAMPLE_FILE).write_bytes(described.example)
    return info
