"""Archives of an MLflow model folder (zip, tar, tar.gz), unpacked without trusting a word of them.

Names, links, sizes and counts in an archive are what its author wants us to believe: names are checked, links
refused, and bytes counted while they come out.
"""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, cast

from trimtab_serving.archive import is_too_long, unpack
from trimtab_serving.outcome import Failure, Reason

MAX_FILES = 10_000
_CHUNK = 1 << 20


def unpack_if_archive(source: Path, into: Path, max_bytes: int) -> Path:
    """`source` itself, or, when it is an archive, the folder in it that has an MLmodel file.

    Raises UnsafeArchive, TooLarge (more than `max_bytes` unpacked) or UnsupportedFormat (no MLmodel inside).
    """
    if not source.is_file():
        return source
    if zipfile.is_zipfile(source):
        # A skops file is a zip too, but one that is a model itself.
        with zipfile.ZipFile(source) as archive:
            if "schema.json" in archive.namelist():
                return source
            _unpack_zip(archive, into, max_bytes)
    elif _is_tar(source):
        unpack_tar(source, into, max_bytes)
    else:
        return source
    return _model_folder(into, source.name)


def _is_tar(source: Path) -> bool:
    """Also true for a damaged tar.gz, which must be refused as such; a joblib file may be gzip too."""
    with source.open("rb") as file:
        head = file.read(tarfile.BLOCKSIZE)
    compressed = head.startswith(b"\x1f\x8b")
    if compressed and source.name.endswith((".joblib", ".pkl", ".pickle")):
        return False
    try:
        tarfile.TarInfo.frombuf(head, tarfile.ENCODING, "surrogateescape")
        return True
    except tarfile.TarError:
        return compressed


def unpack_tar(source: Path, into: Path, max_bytes: int) -> None:
    """Unpack the tar or tar.gz `source`; UnsafeArchive, TooLarge, or LoadFailed for a damaged one."""
    into.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            with cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if compressed else raw as file:
                unpack(file, into, max_bytes=max_bytes, max_files=MAX_FILES)
        except Failure as failure:
            if failure.reason is not Reason.BUNDLE_INVALID:
                raise
            raise _damaged(source, failure.message) from failure
        except (OSError, EOFError, zlib.error) as error:
            raise _damaged(source, error) from error


def _unpack_zip(archive: zipfile.ZipFile, into: Path, max_bytes: int) -> None:
    members = archive.infolist()
    if len(members) > MAX_FILES:
        message = f"the archive has {len(members)} members, and {MAX_FILES} are allowed; archive the model alone"
        raise Failure(Reason.TOO_LARGE, message)
    left = max_bytes
    try:
        for member in members:
            target = into / _safe_name(member)
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as content, target.open("xb") as out:
                left = _copy(content, out, left, max_bytes)
    except (FileExistsError, NotADirectoryError) as error:
        message = f"the archive names {member.filename!r} twice, or as a file and as a directory; archive it anew"
        raise Failure(Reason.UNSAFE_ARCHIVE, message) from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise _damaged(Path(archive.filename or "archive"), error) from error


def _copy(content: IO[bytes], out: IO[bytes], left: int, max_bytes: int) -> int:
    while data := content.read(_CHUNK):
        left -= len(data)
        if left < 0:
            message = (
                f"the archive holds more than the {max_bytes} bytes allowed once it is unpacked; "
                "log a smaller model or raise the limit (TRIMTAB_MAX_BYTES)"
            )
            raise Failure(Reason.TOO_LARGE, message)
        out.write(data)
    return left


def _safe_name(member: zipfile.ZipInfo) -> PurePosixPath:
    path = PurePosixPath(member.filename)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        problem = "is a link or a special file"
    elif path.is_absolute() or ".." in path.parts:
        problem = "leads out of the directory"
    elif "\\" in member.filename or ":" in member.filename or not path.name:
        problem = "is not a plain relative name"
    elif is_too_long(path):
        problem = "has a name too long for a file system"
    else:
        return path
    message = f"the archive's member {member.filename[:200]!r} {problem}; it may hold regular, relative files only"
    raise Failure(Reason.UNSAFE_ARCHIVE, message)


def _model_folder(root: Path, name: str) -> Path:
    candidates = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    folders = [path for path in candidates if (path / "MLmodel").is_file()]
    if len(folders) != 1:
        message = (
            f"the archive {name} has {len(folders)} MLmodel files at its top or one folder below; "
            "it must hold exactly one MLflow model folder"
        )
        raise Failure(Reason.UNSUPPORTED_FORMAT, message)
    return folders[0]


def _damaged(source: Path, error: object) -> Failure:
    return Failure(Reason.LOAD_FAILED, f"the archive {source.name} is damaged or encrypted: {error}; upload it again")
