"""Writes files so that a reader, or the next run after a kill, sees the old text or the new one, never a part."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Put `text` into `path` with the given permissions; leaves a file that already says so untouched."""
    if path.exists() and path.read_text() == text and path.stat().st_mode & 0o777 == mode:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        os.fchmod(handle, mode)
        file.write(text)
    Path(name).replace(path)
