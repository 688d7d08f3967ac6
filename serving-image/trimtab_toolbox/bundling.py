"""Writing the bundle's folder: the model beside `bundle.json` and `example.json`, and nothing else.

What changes from one logging of the same model to the next (run ids, dates, environments) stays behind: only
files that a server needs to load the model are copied.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from trimtab_serving.bundle import EXAMPLE_FILE, ONNX_FILE, PYTHON_MODEL, BundleInfo, write_info
from trimtab_toolbox.convert import Conversion
from trimtab_toolbox.describe import Described


def copy_model(files: Mapping[str, Path | bytes], directory: Path) -> None:
    """Copy what the Python runtime needs into the bundle's `model/` folder."""
    for name, source in files.items():
        target = directory / PYTHON_MODEL / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, bytes):
            target.write_bytes(source)
        else:
            shutil.copyfile(source, target)


def write_description(
    directory: Path, model_format: str, flavor: str, described: Described, conversion: Conversion
) -> BundleInfo:
    """Write `bundle.json` and `example.json`; the runtime is that of the model that lies in the folder."""
    info = BundleInfo(
        format=model_format,
        flavor=flavor,
        runtime="onnx" if (directory / ONNX_FILE).exists() else "python",
        inputs=described.inputs,
        outputs=described.outputs,
        parity=conversion.parity,
        fallback=conversion.fallback,
        classes=described.classes,
    )
    write_info(info, directory)
    (directory / EXAMPLE_FILE).write_bytes(described.example)
    return info
