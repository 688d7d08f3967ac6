"""Fetches official releases, each checked against the sha256 its publisher lists.

Many machines cannot reach the release sites at all. That is found out once, within seconds, and remembered for the
rest of the run; building from Go modules is the answer then, not a dozen timeouts.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from hack.cluster.catalog import Program, Release
from hack.command import Failure
from hack.progress import say, step

CONNECT_SECONDS = 4
READ_SECONDS = 60

_unreachable: list[str] = []


def fetch(program: Program, into: Path) -> Path | None:
    """Download a program into a folder; None when it has no release or the release sites cannot be reached."""
    if program.release is None or _unreachable:
        return None
    try:
        listed = _text(program.release.checksums)
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        _unreachable.append(program.release.checksums)
        say(f"release sites cannot be reached ({error}): building from Go modules instead")
        return None
    with step(f"download {program.name} {program.version}"):
        return _verified(program, program.release, expected_digest(listed, program.release.url), into)


def expected_digest(listed: str, url: str) -> str:
    """Pick a file's sha256 out of a checksum file: either `digest  name` lines, or nothing but the digest."""
    name = url.rsplit("/", 1)[-1]
    for line in listed.splitlines():
        digest, _, file = line.strip().partition(" ")
        if re.fullmatch(r"[0-9a-f]{64}", digest) and (not file or Path(file.strip(" *")).name == name):
            return digest
    raise Failure(f"the checksum file for {url} does not list {name}")


def _verified(program: Program, release: Release, digest: str, into: Path) -> Path:
    fetched = into / f"{program.name}.download"
    with urllib.request.urlopen(release.url, timeout=READ_SECONDS) as answer, fetched.open("wb") as out:  # noqa: S310
        shutil.copyfileobj(answer, out)
    with fetched.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest:
        raise Failure(f"{release.url} has sha256 {found}, its publisher lists {digest}: not used")
    if not release.member:
        return fetched
    unpacked = into / program.name
    with tarfile.open(fetched) as archive, _member(archive, release) as source, unpacked.open("wb") as out:
        shutil.copyfileobj(source, out)
    return unpacked


def _member(archive: tarfile.TarFile, release: Release) -> IO[bytes]:
    try:
        member = archive.extractfile(release.member)
    except KeyError:
        member = None
    if member is None:
        raise Failure(f"{release.url} does not contain {release.member}")
    return member


def _text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as answer:  # noqa: S310 - the catalog has only https
        return bytes(answer.read()).decode()
