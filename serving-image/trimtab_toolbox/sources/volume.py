"""Files and folders of a volume that the Job has mounted: `pvc://CLAIM/PATH`.

The claim is mounted by the operator, read-only, at `TRIMTAB_PVC_DIR`; here it is a directory. What is imported is
copied, so that nobody can change it between two looks, and links that lead out of the volume are not followed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.request import Request
from trimtab_toolbox.sources.limits import check_pin, check_total, inside, refuse_pin


def fetch(request: Request, into: Path) -> Path:
    """Copy the file or folder into `into` and return it; SourceNotFound, TooLarge, UnsafeArchive, DigestMismatch."""
    root = Path(os.environ.get("TRIMTAB_PVC_DIR", ""))
    if not root.is_absolute() or not root.is_dir():
        message = "TRIMTAB_PVC_DIR names no directory; a pvc:// source needs the claim to be mounted there"
        raise Failure(Reason.SETTINGS_INVALID, message)
    source = (root / unquote(urlsplit(request.uri).path).strip("/")).resolve()
    if not source.is_relative_to(root.resolve()) or not source.exists():
        message = f"{request.uri} does not exist in the volume; write pvc://CLAIM/PATH with the path below its top"
        raise Failure(Reason.SOURCE_NOT_FOUND, message)
    into.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        check_total(request, request.uri, [source.stat().st_size])
        copied = Path(shutil.copyfile(source, into / source.name))
        with copied.open("rb") as file:
            check_pin(request, request.uri, hashlib.file_digest(file, "sha256").hexdigest(), copied.stat().st_size)
        return copied
    refuse_pin(request)
    return _copied_folder(request, source, into)


def _copied_folder(request: Request, source: Path, into: Path) -> Path:
    files = [path for path in sorted(source.rglob("*")) if path.is_file()]
    for path in files:
        if not path.resolve().is_relative_to(source):
            message = (
                f"{request.uri} holds the link {path.relative_to(source)}, which leads out of the folder; remove it"
            )
            raise Failure(Reason.UNSAFE_ARCHIVE, message)
    if not files:
        message = f"{request.uri} is an empty folder; name the model's file or its MLflow folder"
        raise Failure(Reason.SOURCE_NOT_FOUND, message)
    check_total(request, request.uri, [path.stat().st_size for path in files])
    for path in files:
        shutil.copyfile(path, inside(into, path.relative_to(source).as_posix()))
    return into
