"""The init container: bring one bundle from the store to this pod, whole and verified, or not at all.

The bundle directory is often the mount point itself, which cannot be renamed. So the tar is received and
unpacked in a hidden place inside it, and its entries move up only after the digest was found right;
`bundle.json`, without which nobody takes a directory for a bundle, comes last. A container that is killed
half way and started again begins anew, one that had finished finds its work done.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from trimtab_serving import logs
from trimtab_serving.bundle import INFO_FILE, digest_of, read_info, unpack
from trimtab_serving.outcome import Failure, Reason, report
from trimtab_serving.settings import required, result_path
from trimtab_serving.store import Store, check_digest, open_store

log = logging.getLogger("trimtab.fetch")

_INCOMING = ".incoming"
_ARCHIVE = "bundle.tar"


def fetch(store: Store, digest: str, directory: Path) -> None:
    """Leave the bundle `digest` unpacked in `directory`; nothing that looks like a bundle after a failure."""
    check_digest(digest)
    try:
        if _is_whole(directory, digest):
            log.info("the bundle is already in place", extra={"digest": digest})
            return
        _clear(directory)
        size = _receive(store, digest, directory)
    except OSError as error:
        message = f"cannot write the bundle to {directory}: {error.strerror}; check the volume and its size"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise Failure(Reason.TOO_LARGE if full else Reason.STORE_UNREACHABLE, message) from error
    log.info("fetched", extra={"digest": digest, "store": store.uri, "bytes": size})


def _is_whole(directory: Path, digest: str) -> bool:
    return (directory / INFO_FILE).exists() and digest_of(directory) == digest


def _clear(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / INFO_FILE).unlink(missing_ok=True)
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _receive(store: Store, digest: str, directory: Path) -> int:
    incoming = directory / _INCOMING
    incoming.mkdir()
    try:
        with (incoming / _ARCHIVE).open("w+b") as archive:
            size = store.get(digest, archive)
            archive.seek(0)
            unpacked = incoming / "unpacked"
            unpacked.mkdir()
            unpack(archive, unpacked)
        read_info(unpacked)
        # bundle.json last: it is what makes the directory a bundle.
        for entry in sorted(unpacked.iterdir(), key=lambda path: path.name == INFO_FILE):
            entry.rename(directory / entry.name)
    finally:
        shutil.rmtree(incoming)
    return size


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Run the step from the contract's environment and return the exit code."""
    logs.configure()
    try:
        store = open_store(required(environ, "TRIMTAB_STORE"), environ)
        fetch(store, required(environ, "TRIMTAB_DIGEST"), Path(required(environ, "TRIMTAB_BUNDLE_DIR")))
    except Failure as failure:
        report(result_path(environ), failure.result())
        log.error(failure.message, extra={"reason": failure.reason.value})
        return failure.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
