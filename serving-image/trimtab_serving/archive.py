"""Bundles as bytes: a tar that is the same for the same files, and an unpacker that trusts nothing.

The digest of a model is the sha256 of this tar, so nothing of the machine or the moment may get into it:
names are sorted, times and owners are zero, only regular files exist. For the same reason a directory can be
checked against its digest after it was unpacked (`digest_of`): packing it again must give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from trimtab_serving.outcome import Failure, Reason

MAX_FILES = 10_000
MAX_BYTES = 16 << 30
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 2048
_COPY_BYTES = 1 << 20
_MOST_AT_ONCE = 2 * _COPY_BYTES


class _HashingSink:
    """A write-only file that hashes what passes and hands it on."""

    def __init__(self, into: IO[bytes] | None) -> None:
        self.hasher = hashlib.sha256()
        self._into = into
        self._position = 0

    def write(self, data: bytes) -> int:
        self.hasher.update(data)
        if self._into is not None:
            self._into.write(data)
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position


class _SparingSource:
    """A file read in pieces: a header of a tar says itself how long it is, and is read into memory whole."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if size > _MOST_AT_ONCE:
            message = f"the archive has a header of {size} bytes, where a name and little else belongs; archive it anew"
            raise Failure(Reason.UNSAFE_ARCHIVE, message)
        return self._file.read(size)


def pack(directory: str | os.PathLike[str], into: IO[bytes]) -> str:
    """Write the deterministic tar of all files below `directory` and return its digest, `sha256:<hex>`.

    Raises BundleInvalid for anything that is neither a regular file nor a directory (links, sockets).
    """
    return _pack(Path(directory), into)


def digest_of(directory: str | os.PathLike[str]) -> str:
    """The digest the files below `directory` have as a bundle, without writing anything."""
    return _pack(Path(directory), None)


def unpack(
    file: IO[bytes],
    directory: str | os.PathLike[str],
    *,
    max_bytes: int = MAX_BYTES,
    max_files: int = MAX_FILES,
) -> int:
    """Unpack an uncompressed tar into the empty `directory` and return the number of files.

    Only regular files (and directories) with plain relative names are taken. Raises UnsafeArchive for links,
    devices, absolute names, `..`, sparse files and names given twice; TooLarge beyond `max_bytes` of content
    or `max_files` members; BundleInvalid when it is not a whole tar.
    """
    root = Path(directory)
    count = total = 0
    try:
        with tarfile.open(fileobj=_SparingSource(file), mode="r:") as archive:  # type: ignore[call-overload]
            for member in archive:
                count, total = count + 1, total + member.size
                if count > max_files or total > max_bytes:
                    message = f"the archive has more than {max_files} files or {max_bytes} bytes"
                    raise Failure(Reason.TOO_LARGE, message)
                _extract(archive, member, root)
    except (tarfile.TarError, EOFError, ValueError) as error:
        message = f"the archive is damaged or not an uncompressed tar: {error}"
        raise Failure(Reason.BUNDLE_INVALID, message) from error
    return count


def _pack(root: Path, into: IO[bytes] | None) -> str:
    sink = _HashingSink(into)
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for name, path in sorted(_files(root)):
            header = tarfile.TarInfo(name)
            header.size = path.stat().st_size
            header.mode = 0o644
            with path.open("rb") as content:
                archive.addfile(header, content)
    return f"sha256:{sink.hasher.hexdigest()}"


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    for parent, directories, names in os.walk(root, onerror=_raise):
        for name in directories + names:
            path = Path(parent, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                message = f"{path.relative_to(root)} is a link or a special file; a bundle has regular files only"
                raise Failure(Reason.BUNDLE_INVALID, message)
            if path.is_file():
                yield path.relative_to(root).as_posix(), path


def _raise(error: OSError) -> None:
    raise error


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    target = root / _safe_name(member)
    try:
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        # "x" refuses a name given twice; nothing here is ever a link, so nothing can lead out of the root.
        with target.open("xb") as out:
            _copy(archive, member, out)
    except (FileExistsError, NotADirectoryError) as error:
        message = f"the archive names {member.name!r} twice, or as a file and as a directory"
        raise Failure(Reason.UNSAFE_ARCHIVE, message) from error


def _copy(archive: tarfile.TarFile, member: tarfile.TarInfo, out: IO[bytes]) -> None:
    source = archive.extractfile(member)
    remaining = member.size
    while remaining and source is not None:
        data = source.read(min(_COPY_BYTES, remaining))
        if not data:
            raise tarfile.ReadError(f"{member.name!r} ends {remaining} bytes early")
        out.write(data)
        remaining -= len(data)


def _safe_name(member: tarfile.TarInfo) -> PurePosixPath:
    path = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()) or member.issparse():
        problem = "is a link, a device or a sparse file"
    elif path.is_absolute() or ".." in path.parts:
        problem = "leads out of the directory"
    elif "\0" in member.name or "\\" in member.name or (member.isreg() and not path.name):
        problem = "is not a plain relative name"
    elif is_too_long(path):
        problem = "has a name too long for a file system"
    else:
        return path
    message = f"the archive's member {member.name[:200]!r} {problem}; it may hold regular, relative files only"
    raise Failure(Reason.UNSAFE_ARCHIVE, message)


def is_too_long(path: PurePosixPath) -> bool:
    """Whether a file system may refuse this relative name for its length."""
    whole = len(os.fsencode(path)) > MAX_PATH_BYTES
    return whole or any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in path.parts)
