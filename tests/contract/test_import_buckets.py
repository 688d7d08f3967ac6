"""Buckets of all three kinds, on servers that other people wrote: what lies there arrives whole, and each way to fail
has its reason, without a secret in any message."""

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.buckets import SECRET, Bucket, bucket
from tests.contract.sources import fetched, refused
from tests.processes import free_port
from trimtab_serving.outcome import Failure, Reason
from trimtab_serving.store import open_store

CONTENT = os.urandom(3_000_000)
PIN = hashlib.sha256(CONTENT).hexdigest()
FOLDER = {"MLmodel": b"flavors: {}\n", "data/model.bin": CONTENT, "code/package/__init__.py": b""}
TOTAL = sum(map(len, FOLDER.values()))


@pytest.fixture(scope="module", params=["s3", "gs", "az"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with bucket(request.param, tmp_path_factory.mktemp(request.param)) as found:
        found.put("one/model.onnx", CONTENT)
        for name, content in FOLDER.items():
            found.put(f"folder/{name}", content)
        yield found


@pytest.fixture
def keyed(served: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    served.proxy.reset()
    give(monkeypatch, served.keys)
    return served


def give(monkeypatch: pytest.MonkeyPatch, keys: dict[str, str]) -> None:
    """What a container has whose Secret holds `keys`, and nothing of the machine's own."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    for name, value in keys.items():
        monkeypatch.setenv(name, value)


def test_an_object_and_its_pin(keyed: Bucket, tmp_path: Path) -> None:
    uri = f"{keyed.scheme}://models/one/model.onnx"
    path = fetched(tmp_path, uri, digest=PIN)
    assert (path.name, path.read_bytes() == CONTENT) == ("model.onnx", True)
    reason, message = refused(tmp_path, uri, digest="0" * 64)
    assert reason is Reason.DIGEST_MISMATCH
    assert f"has the digest sha256:{PIN} (3000000 bytes), but sha256:{'0' * 64} is pinned" in message


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_folder_with_all_its_files(keyed: Bucket, tmp_path: Path, slash: str) -> None:
    path = fetched(tmp_path, f"{keyed.scheme}://models/folder{slash}")
    files = {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    assert files == FOLDER


def test_a_folder_that_is_an_object_itself(keyed: Bucket, tmp_path: Path) -> None:
    for key, content in {"kept": b"", "kept/data": b"", "kept/data/model.bin": CONTENT}.items():
        if keyed.scheme != "s3" or content:  # the S3 gateway keeps files in folders, which cannot be both
            keyed.put(key, content)
    path = fetched(tmp_path, f"{keyed.scheme}://models/kept")
    assert [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()] == ["data/model.bin"]


@pytest.mark.parametrize(
    ("path", "fields", "reason", "says"),
    [
        ("models/none", {}, Reason.SOURCE_NOT_FOUND, "there is no such object, and nothing below it; check bucket"),
        ("models", {}, Reason.SOURCE_NOT_FOUND, "names no object; write {scheme}://BUCKET/PATH"),
        ("models/folder", {"digest": PIN}, Reason.UNSUPPORTED_FORMAT, "a digest pins one file"),
        ("models/folder", {"max_bytes": 10_000}, Reason.TOO_LARGE, f"has {TOTAL} bytes in 3 files, and 10000"),
        ("models/one/model.onnx", {"max_bytes": 2_999_999}, Reason.TOO_LARGE, "has 3000000 bytes in 1 files"),
    ],
)
def test_what_a_bucket_does_not_give(
    keyed: Bucket, tmp_path: Path, path: str, fields: dict[str, Any], reason: Reason, says: str
) -> None:
    found = refused(tmp_path, f"{keyed.scheme}://{path}", **fields)
    assert found[0] is reason
    assert says.format(scheme=keyed.scheme) in found[1]


# fake-gcs-server answers 500 where Google answers 404.
@pytest.mark.parametrize("served", ["s3", "az"], indirect=True)
def test_a_bucket_that_does_not_exist(keyed: Bucket, tmp_path: Path) -> None:
    reason, message = refused(tmp_path, f"{keyed.scheme}://nobodys/one/model.onnx")
    assert (reason, "nobodys/one/model.onnx does not exist" in message) == (Reason.SOURCE_NOT_FOUND, True)


def test_wrong_keys_are_no_reason_to_try_again(
    keyed: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, keyed.wrong_keys)
    reason, message = refused(tmp_path, f"{keyed.scheme}://models/one/model.onnx")
    assert reason is Reason.SOURCE_NOT_FOUND
    assert f"the bucket does not let the import read {keyed.scheme}://models/one/model.onnx" in message
    assert "403 Forbidden" in message
    assert "check the credentials (spec.source.credentialsSecretName) and that they may list and get" in message
    said = message + "".join(capfd.readouterr())
    assert [secret for secret in keyed.secrets if secret in said] == []


def test_getting_is_enough_where_listing_is_not_allowed(keyed: Bucket, tmp_path: Path) -> None:
    keyed.proxy.refuse = lambda method, path: "list" in path.partition("?")[2]
    assert fetched(tmp_path, f"{keyed.scheme}://models/one/model.onnx").read_bytes() == CONTENT
    reason, message = refused(tmp_path, f"{keyed.scheme}://models/folder")
    assert (reason, "that they may list and get" in message) == (Reason.SOURCE_NOT_FOUND, True)


def test_a_download_that_breaks_off_goes_on_where_it_stopped(keyed: Bucket, tmp_path: Path) -> None:
    keyed.proxy.cuts, keyed.proxy.cut_after = 6, 400_000
    path = fetched(tmp_path, f"{keyed.scheme}://models/one/model.onnx", digest=PIN)
    assert path.read_bytes() == CONTENT
    first, *later = keyed.proxy.ranges
    assert (first, len(later)) == ("", 6)
    starts = [int(part.removeprefix("bytes=").partition("-")[0]) for part in later]
    assert starts == sorted(set(starts))
    assert starts[-1] >= 1_000_000


@pytest.mark.parametrize("cuts", [1, 6])
def test_an_object_that_is_replaced_meanwhile(keyed: Bucket, tmp_path: Path, cuts: int) -> None:
    key, seen = "moving/model.onnx", list[str]()
    keyed.put(key, CONTENT)

    def replace(method: str, path: str) -> None:
        if method == "GET" and "model" in path.rpartition("/")[2]:
            seen.append(path)
            if len(seen) == 2:
                keyed.put(key, bytes(len(CONTENT)))

    keyed.proxy.before, keyed.proxy.cuts, keyed.proxy.cut_after = replace, cuts, 400_000
    reason, message = refused(tmp_path, f"{keyed.scheme}://models/moving/model.onnx")
    assert (reason, message.endswith("; it will be tried again")) == (Reason.SOURCE_UNREACHABLE, True)
    assert len(seen) < 6


def test_a_bucket_nobody_serves(keyed: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{keyed.proxy.port}"
    nobody = f"127.0.0.1:{free_port()}"
    give(monkeypatch, {name: value.replace(address, nobody) for name, value in keyed.keys.items()})
    reason, message = refused(tmp_path, f"{keyed.scheme}://models/one/model.onnx")
    assert reason is Reason.SOURCE_UNREACHABLE
    assert message.endswith("; it will be tried again")


@pytest.mark.parametrize("served", ["az"], indirect=True)
def test_azure_by_a_connection_string(keyed: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = keyed.keys["AZURE_STORAGE_ENDPOINT"]
    string = f"DefaultEndpointsProtocol=http;AccountName=trimtab;AccountKey={SECRET};BlobEndpoint={endpoint}/;"
    give(monkeypatch, {"AZURE_STORAGE_CONNECTION_STRING": string})
    assert fetched(tmp_path, "az://models/one/model.onnx", digest=PIN).read_bytes() == CONTENT


# The address at which Google's machines are asked who they are cannot be changed.
@pytest.mark.parametrize("served", ["s3", "az"], indirect=True)
def test_nobody_gave_keys(keyed: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    endpoints = {name: value for name, value in keyed.keys.items() if name.endswith(("ENDPOINT", "_URL", "_NAME"))}
    give(monkeypatch, endpoints | {"AZURE_MSI_ENDPOINT": nobody, "AWS_METADATA_ENDPOINT": nobody})
    reason, message = refused(tmp_path, f"{keyed.scheme}://models/one/model.onnx")
    assert reason is Reason.SOURCE_UNREACHABLE  # a node that starts may not know its identity yet
    assert f"there are no credentials for {keyed.scheme}://models/one/model.onnx" in message
    assert "in the Secret of spec.source.credentialsSecretName" in message


def test_the_model_store_in_a_bucket(keyed: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundle.tar").write_bytes(CONTENT)
    digest, store = f"sha256:{PIN}", open_store(f"{keyed.scheme}://models/store")
    if keyed.scheme == "gs":
        keyed.put(f"store/sha256/{PIN}", CONTENT)  # it takes no uploads in Google's XML API, which real buckets do
    else:
        assert not store.exists(digest)
        assert store.put(digest, tmp_path / "bundle.tar")
    assert not store.put(digest, tmp_path / "bundle.tar")
    into = io.BytesIO()
    assert (store.get(digest, into), into.getvalue() == CONTENT) == (len(CONTENT), True)
    give(monkeypatch, keyed.wrong_keys)
    with pytest.raises(
        Failure, match=rf"the store {keyed.scheme}://models/store refused access: .*; check its"
    ) as said:
        open_store(f"{keyed.scheme}://models/store").exists(digest)
    assert [secret for secret in keyed.secrets if secret in said.value.message] == []
