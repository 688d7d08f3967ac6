"""Archives that lie about their names, their links and their sizes."""

import gzip
import io
import stat
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.sources.archive import unpack_if_archive

MEMBERS = {"MLmodel": b"flavors: {}\n", "model.skops": b"model", "code/a.py": b"A = 1\n"}


def zipped(path: Path, members: dict[str, bytes], mode: int = stat.S_IFREG | 0o644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def tarred(path: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith(("gz", "tgz")) else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content) if kind == tarfile.REGTYPE else 0
            info.linkname = "/etc/passwd" if kind != tarfile.REGTYPE else ""
            archive.addfile(info, io.BytesIO(content))
    return path


def refused(source: Path, max_bytes: int = 1 << 20) -> Failure:
    with pytest.raises(Failure) as caught:
        unpack_if_archive(source, source.parent / "out", max_bytes)
    return caught.value


@pytest.mark.parametrize(("make", "name"), [(zipped, "m.zip"), (tarred, "m.tar"), (tarred, "m.tar.gz"), (tarred, "m")])
@pytest.mark.parametrize("below", ["", "model/"])
def test_finds_the_model_folder(tmp_path: Path, make: Callable[..., Path], name: str, below: str) -> None:
    source = make(tmp_path / name, {below + member: content for member, content in MEMBERS.items()})
    folder = unpack_if_archive(source, tmp_path / "out", 1 << 20)
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == MEMBERS


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "a/../../b", "a\\..\\b", "C:/b"])
@pytest.mark.parametrize("make", [zipped, tarred])
def test_names_that_lead_out(tmp_path: Path, make: Callable[..., Path], name: str) -> None:
    if make is tarred and name == "C:/b":
        name = "/C:/b"  # a colon is an ordinary character in a tar
    failure = refused(make(tmp_path / "m", {name: b"x", **MEMBERS}))
    assert failure.reason is Reason.UNSAFE_ARCHIVE
    assert "it may hold regular, relative files only" in failure.message
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.parametrize("name", ["n" * 256, "/".join(["deep"] * 1000)])
@pytest.mark.parametrize("make", [zipped, tarred])
def test_names_that_no_file_system_takes(tmp_path: Path, make: Callable[..., Path], name: str) -> None:
    failure = refused(make(tmp_path / "m", {name: b"x", **MEMBERS}))
    assert failure.reason is Reason.UNSAFE_ARCHIVE
    assert "has a name too long for a file system" in failure.message


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("name", ["m.tar", "m.tar.gz"])
def test_headers_are_not_taken_into_memory_however_long_they_say_they_are(
    tmp_path: Path, kind: bytes, name: str
) -> None:
    header = tarfile.TarInfo("header")
    header.type, header.size = kind, 64 << 20
    with gzip.open(tmp_path / name, "wb", 1) if name.endswith("gz") else (tmp_path / name).open("wb") as archive:
        archive.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(64):
            archive.write(b"\0" * (1 << 20))
    tracemalloc.start()
    failure = refused(tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert failure.reason is Reason.UNSAFE_ARCHIVE
    assert "a header of 67108864 bytes" in failure.message
    assert peak < 16 << 20


@pytest.mark.parametrize(
    "source",
    [
        lambda path: zipped(path, {"link": b"/etc/passwd"}, stat.S_IFLNK | 0o777),
        lambda path: tarred(path, {"link": b""}, tarfile.SYMTYPE),
        lambda path: tarred(path, {"link": b""}, tarfile.LNKTYPE),
        lambda path: tarred(path, {"pipe": b""}, tarfile.FIFOTYPE),
    ],
)
def test_links_and_devices(tmp_path: Path, source: Callable[[Path], Path]) -> None:
    failure = refused(source(tmp_path / "m"))
    assert failure.reason is Reason.UNSAFE_ARCHIVE
    assert "is a link" in failure.message


@pytest.mark.parametrize(("make", "name"), [(zipped, "m.zip"), (tarred, "m.tar.gz")])
def test_bombs(tmp_path: Path, make: Callable[..., Path], name: str) -> None:
    source = make(tmp_path / name, {"MLmodel": b"\0" * 3_000_000})
    assert source.stat().st_size < 10_000
    failure = refused(source)
    assert failure.reason is Reason.TOO_LARGE
    assert "1048576 bytes" in failure.message
    written = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert written <= 1 << 20


def test_a_zip_that_understates_its_size(tmp_path: Path) -> None:
    """The sizes of the directory are changed; what comes out is counted all the same."""
    source = zipped(tmp_path / "m.zip", {"MLmodel": b"\0" * 3_000_000})
    content = source.read_bytes().replace((3_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    source.write_bytes(content)
    assert refused(source).reason in (Reason.TOO_LARGE, Reason.LOAD_FAILED)
    written = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert written <= 1 << 20


def test_too_many_files(tmp_path: Path) -> None:
    failure = refused(zipped(tmp_path / "m.zip", {f"f{index}": b"" for index in range(10_001)}))
    assert failure.reason is Reason.TOO_LARGE
    assert "10001 members, and 10000 are allowed" in failure.message


def test_a_name_given_twice(tmp_path: Path) -> None:
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MLmodel", b"one")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("MLmodel", b"two")
    failure = refused(path)
    assert failure.reason is Reason.UNSAFE_ARCHIVE
    assert "names 'MLmodel' twice" in failure.message


@pytest.mark.parametrize("cut", [40, 200])
def test_a_damaged_tar(tmp_path: Path, cut: int) -> None:
    source = tarred(tmp_path / "m.tar.gz", {**MEMBERS, "weights": bytes(range(256)) * 40})
    source.write_bytes(source.read_bytes()[:-cut])
    failure = refused(source)
    assert failure.reason is Reason.LOAD_FAILED
    assert "the archive m.tar.gz is damaged or encrypted" in failure.message


def test_a_damaged_zip(tmp_path: Path) -> None:
    source = zipped(tmp_path / "m.zip", {"MLmodel": bytes(range(256)) * 40})
    content = bytearray(source.read_bytes())
    content[60:70] = b"\xff" * 10
    source.write_bytes(content)
    failure = refused(source)
    assert failure.reason is Reason.LOAD_FAILED
    assert "the archive m.zip is damaged" in failure.message


@pytest.mark.parametrize(
    ("members", "count"),
    [({"README": b""}, 0), ({"a/b/MLmodel": b""}, 0), ({"a/MLmodel": b"", "b/MLmodel": b""}, 2)],
)
def test_not_exactly_one_model(tmp_path: Path, members: dict[str, bytes], count: int) -> None:
    failure = refused(zipped(tmp_path / "m.zip", members))
    assert failure.reason is Reason.UNSUPPORTED_FORMAT
    assert f"the archive m.zip has {count} MLmodel files" in failure.message


def test_other_compressions_are_no_archives_we_know(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "m.tar.xz", "w:xz") as archive:
        archive.addfile(tarfile.TarInfo("MLmodel"))
    assert unpack_if_archive(tmp_path / "m.tar.xz", tmp_path / "out", 100) == tmp_path / "m.tar.xz"


def test_files_that_are_no_archives_are_left_alone(tmp_path: Path) -> None:
    skops = zipped(tmp_path / "model.skops", {"schema.json": b"{}"})
    compressed = tmp_path / "model.joblib"
    compressed.write_bytes(gzip.compress(b"pickle"))
    for source in (skops, compressed, tmp_path):
        assert unpack_if_archive(source, tmp_path / "out", 100) == source
