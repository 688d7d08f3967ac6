"""Bundles as bytes: the same files give the same digest, and no tar can write outside its directory."""

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from trimtab_serving.archive import digest_of, pack, unpack
from trimtab_serving.outcome import Failure, Reason

CONTENT = {"bundle.json": b"{}", "model/deep/weights.bin": bytes(range(256)) * 700, "model/é ü": b""}


def write(directory: Path, names: list[str]) -> Path:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT[name])
    return directory


def packed(directory: Path) -> tuple[str, bytes]:
    into = io.BytesIO()
    return pack(directory, into), into.getvalue()


def test_digest_depends_on_content_alone(tmp_path: Path) -> None:
    first = write(tmp_path / "a", list(CONTENT))
    second = write(tmp_path / "b", list(reversed(CONTENT)))
    os.utime(second / "bundle.json", (1, 1))
    (second / "bundle.json").chmod(0o700)
    (second / "empty").mkdir()
    assert packed(first) == packed(second)
    (second / "bundle.json").write_bytes(b"{ }")
    assert packed(first)[0] != packed(second)[0]


def test_the_digest_of_known_content_never_changes(tmp_path: Path) -> None:
    digest, _ = packed(write(tmp_path, list(CONTENT)))
    assert digest == "sha256:83a3e1a9408782608b0bb529fe0b6672a8a96849f63093dde03af900569e08bf"


def test_unpacking_gives_back_the_files_and_the_digest(tmp_path: Path) -> None:
    digest, content = packed(write(tmp_path / "a", list(CONTENT)))
    (tmp_path / "b").mkdir()
    assert unpack(io.BytesIO(content), tmp_path / "b") == 3
    assert {name: (tmp_path / "b" / name).read_bytes() for name in CONTENT} == CONTENT
    assert digest_of(tmp_path / "b") == digest


def test_links_are_not_packed(tmp_path: Path) -> None:
    write(tmp_path, ["bundle.json"])
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(Failure, match="BundleInvalid: link is a link or a special file"):
        digest_of(tmp_path)


def member(name: str, kind: bytes = tarfile.REGTYPE, linkname: str = "", **pax: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.pax_headers = kind, linkname, pax
    return info


def archive(*members: tarfile.TarInfo) -> io.BytesIO:
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    into.seek(0)
    return into


@pytest.mark.parametrize(
    "members",
    [
        [member("../out")],
        [member("model/../../out")],
        [member("/tmp/out")],
        [member("link", tarfile.SYMTYPE, "/etc")],
        [member("link", tarfile.SYMTYPE, "/tmp"), member("link/out")],
        [member("link", tarfile.LNKTYPE, "/etc/passwd")],
        [member("null", tarfile.CHRTYPE)],
        [member("disk", tarfile.BLKTYPE)],
        [member("pipe", tarfile.FIFOTYPE)],
        [member("a\\..\\b")],
        [member("twice"), member("twice")],
        [member("file"), member("file/below")],
        [member("sparse", **{"GNU.sparse.map": "0,0", "GNU.sparse.size": "9999"})],
        [member(".")],
        [member("é" * 128)],
    ],
)
def test_unsafe_archives_are_refused(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(Failure) as failure:
        unpack(archive(*members), root)
    assert failure.value.reason is Reason.UNSAFE_ARCHIVE
    assert [path for path in tmp_path.rglob("*") if path.name == "out" or path.is_symlink()] == []


def big(size: int) -> tarfile.TarInfo:
    info = member("big")
    info.size = size
    return info


@pytest.mark.parametrize(
    "limits", [{"max_bytes": 9}, {"max_files": 1}], ids=["more bytes than allowed", "more files than allowed"]
)
def test_large_archives_are_refused(tmp_path: Path, limits: dict[str, int]) -> None:
    with pytest.raises(Failure, match="TooLarge: the archive has more than") as failure:
        unpack(archive(member("small"), big(10)), tmp_path, **limits)
    assert failure.value.exit_code == 10


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"not a tar at all" * 100,
        lambda content: content[:700],
        gzip.compress,
    ],
    ids=["empty", "no tar", "cut", "compressed"],
)
def test_damaged_archives_are_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    content = archive(big(5000)).getvalue()
    with pytest.raises(Failure, match="BundleInvalid: the archive is damaged or not an uncompressed tar"):
        unpack(io.BytesIO(damage(content)), tmp_path)
