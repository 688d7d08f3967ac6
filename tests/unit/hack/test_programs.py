"""Where the cluster's programs come from: versions, cache, checked downloads."""

import hashlib
import io
import tarfile
import urllib.error
from pathlib import Path

import pytest

from hack.cluster import binaries, download, paths
from hack.cluster.catalog import Program, Release, catalog, pinned
from hack.command import Failure

GO_MOD = """\
module example
require go.etcd.io/etcd/server/v3 v3.6.4
require (
	k8s.io/kubernetes v1.34.4 // indirect
)
replace k8s.io/api => k8s.io/api v0.34.4
"""


def test_versions_are_those_that_the_tools_module_pins() -> None:
    assert pinned("k8s.io/kubernetes", GO_MOD) == "v1.34.4"
    assert pinned("go.etcd.io/etcd/server/v3", GO_MOD) == "v3.6.4"
    with pytest.raises(Failure, match=r"helm\.sh/helm/v3.*go mod tidy"):
        pinned("helm.sh/helm/v3", GO_MOD)


def test_a_new_version_is_another_place_in_the_cache() -> None:
    old, new = (Program("etcd", version, "go.etcd.io/etcd/server/v3", True) for version in ("v3.6.4", "v3.6.5"))
    assert binaries.path_of(old) != binaries.path_of(new)
    assert binaries.path_of(old).name == binaries.path_of(new).name == "etcd"


def test_go_names_a_program_after_its_package_and_not_its_major_version() -> None:
    built = {name: program.built_as for name, program in catalog().items()}
    assert built["etcd"] == "server"
    assert built["helm"] == "helm"
    assert built["coredns"] == "coredns"


def test_an_unknown_program_is_answered_with_those_there_are() -> None:
    with pytest.raises(Failure, match=r"no program 'kubeadm'.*kubelet"):
        binaries.ensure("kubeadm")


@pytest.mark.parametrize(
    "listed",
    [
        "{digest}",
        "{digest}\n",
        "{digest}  tool.tgz\n",
        "{digest} *release/tool.tgz",
        "{other}  tool.zip\n{digest}  tool.tgz",
    ],
)
def test_the_digest_is_found_in_every_usual_form(listed: str) -> None:
    digest, other = "a" * 64, "b" * 64
    text = listed.format(digest=digest, other=other)
    assert download.expected_digest(text, "https://example.com/v1/tool.tgz") == digest


def test_a_checksum_file_without_our_file_is_an_error() -> None:
    with pytest.raises(Failure, match=r"does not list tool\.tgz"):
        download.expected_digest(f"{'b' * 64}  other.tgz", "https://example.com/tool.tgz")


def _published(folder: Path, digest: str | None = None) -> Program:
    archive = folder / "tool.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        entry = tarfile.TarInfo("linux/tool")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"hello"))
    found = digest or hashlib.sha256(archive.read_bytes()).hexdigest()
    (folder / "sums").write_text(f"{found}  tool.tgz\n")
    release = Release(archive.as_uri(), (folder / "sums").as_uri(), "linux/tool")
    return Program("tool", "v1", "example.com/tool", False, release)


@pytest.fixture(autouse=True)
def _reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_unreachable", [])


def test_a_release_is_checked_and_unpacked(tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    fetched = download.fetch(_published(tmp_path), into)
    assert fetched is not None
    assert fetched.read_bytes() == b"hello"


def test_a_release_with_another_digest_is_not_used(tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(Failure, match="not used"):
        download.fetch(_published(tmp_path, "c" * 64), into)
    assert not (into / "tool").exists()


def test_unreachable_release_sites_are_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refuse(url: str) -> str:
        tried.append(url)
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(download, "_text", refuse)
    program = _published(tmp_path)
    assert [download.fetch(program, tmp_path) for _ in range(3)] == [None, None, None]
    assert len(tried) == 1


def test_a_finished_program_appears_in_the_cache_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "BIN", tmp_path / "bin")
    built = tmp_path / "server"
    built.write_bytes(b"program")
    program = catalog()["etcd"]
    binaries.install(program, built)
    assert binaries.ensure("etcd") == {"etcd": binaries.path_of(program)}
    assert binaries.path_of(program).stat().st_mode & 0o111
