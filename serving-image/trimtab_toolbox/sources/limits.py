"""What every source keeps to: how much it may bring, and where it may put a file by the name it was given."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.request import Request

MAX_FILES = 10_000


def check_total(request: Request, name: str, sizes: list[int]) -> None:
    """TooLarge for more files or bytes than allowed, known before a byte is fetched."""
    if len(sizes) > MAX_FILES or sum(sizes) > request.max_bytes:
        message = (
            f"{name} has {sum(sizes)} bytes in {len(sizes)} files, and {request.max_bytes} bytes in {MAX_FILES} files "
            "are allowed; publish a smaller model or raise the limit (TRIMTAB_MAX_BYTES)"
        )
        raise Failure(Reason.TOO_LARGE, message)


def refuse_pin(request: Request) -> None:
    """UnsupportedFormat for a digest where a folder is: it pins one file."""
    if request.digest:
        message = (
            f"a digest pins one file, and {request.uri} is a folder of files; name the file, or archive the folder, "
            "or remove the digest"
        )
        raise Failure(Reason.UNSUPPORTED_FORMAT, message)


def check_pin(request: Request, name: str, found: str, size: int) -> None:
    """DigestMismatch when the file's sha256 `found` is not the one that was asked for."""
    if request.digest and found != request.digest:
        message = (
            f"{name} has the digest sha256:{found} ({size} bytes), but sha256:{request.digest} is pinned: the file was "
            "changed; find out why, then pin the new digest"
        )
        raise Failure(Reason.DIGEST_MISMATCH, message)


def inside(root: Path, name: str) -> Path:
    """The path for the file `name` below `root`; UnsafeArchive when the name leads elsewhere."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or any(part in ("..", ".") or "\\" in part for part in parts):
        message = f"the source has a file named {name[:200]!r}, which is no plain relative path; rename it"
        raise Failure(Reason.UNSAFE_ARCHIVE, message)
    path = root.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
