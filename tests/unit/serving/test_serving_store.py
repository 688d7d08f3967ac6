"""Stores: what is put comes back verified, twice is once, and each way to fail has its reason."""

import base64
import io
from pathlib import Path
from typing import Any

import pytest

from trimtab_serving.outcome import Failure, Reason
from trimtab_serving.store import Store, open_store

NOBODY = {"PATH": "/bin"}
OTHER = "sha256:" + "0" * 64


@pytest.fixture(params=["file", "http"])
def store(request: pytest.FixtureRequest, tmp_path: Path, proxy: Any) -> Store:
    uri = (tmp_path / "the store").as_uri() if request.param == "file" else proxy.uri
    return open_store(uri, NOBODY)


def test_put_get_and_put_again(store: Store, archive: tuple[str, Path]) -> None:
    digest, tar = archive
    assert not store.exists(digest)
    assert store.put(digest, tar)
    assert store.exists(digest)
    assert not store.put(digest, tar)
    into = io.BytesIO()
    assert store.get(digest, into) == tar.stat().st_size
    assert into.getvalue() == tar.read_bytes()


def test_objects_lie_where_the_contract_says(tmp_path: Path, proxy: Any, archive: tuple[str, Path]) -> None:
    digest, tar = archive
    open_store(tmp_path.as_uri(), NOBODY).put(digest, tar)
    open_store(proxy.uri, NOBODY).put(digest, tar)
    name = digest.removeprefix("sha256:")
    assert (tmp_path / "sha256" / name).read_bytes() == tar.read_bytes()
    assert list(proxy.objects) == [f"/artifacts/trimtab/sha256/{name}"]


def test_an_unfinished_upload_is_replaced(store: Store, archive: tuple[str, Path], proxy: Any) -> None:
    digest, tar = archive
    store.put(digest, tar)
    if store.uri == proxy.uri:
        proxy.objects = {path: content[:100] for path, content in proxy.objects.items()}
        assert store.put(digest, tar)
    assert store.get(digest, io.BytesIO()) == tar.stat().st_size


def test_a_file_is_not_put_under_the_name_of_another(store: Store, archive: tuple[str, Path]) -> None:
    with pytest.raises(Failure, match=f"DigestMismatch: .* is not {OTHER}; pack it again"):
        store.put(OTHER, archive[1])
    assert not store.exists(OTHER)


def test_a_missing_bundle_is_named_with_its_store(store: Store) -> None:
    with pytest.raises(Failure) as failure:
        store.get(OTHER, io.BytesIO())
    assert failure.value.reason is Reason.BUNDLE_MISSING
    assert failure.value.message == (f"the store {store.uri} has no bundle {OTHER}; import the model into this store")


def test_changed_bytes_are_found_out(proxy: Any, archive: tuple[str, Path]) -> None:
    digest, tar = archive
    store = open_store(proxy.uri, NOBODY)
    store.put(digest, tar)
    proxy.objects = {path: content[:-1] + b"!" for path, content in proxy.objects.items()}
    with pytest.raises(Failure, match=r"DigestMismatch: the object sha256/.* not sha256:") as failure:
        store.get(digest, io.BytesIO())
    assert not failure.value.retriable


def test_too_large(store: Store, archive: tuple[str, Path]) -> None:
    digest, tar = archive
    store.put(digest, tar)
    with pytest.raises(Failure, match=r"TooLarge: .* is larger than the 1000 bytes allowed"):
        store.get(digest, io.BytesIO(), max_bytes=1000)


def test_a_passing_fault_is_tried_again(proxy: Any, archive: tuple[str, Path]) -> None:
    digest, tar = archive
    store = open_store(proxy.uri, NOBODY)
    store.put(digest, tar)
    proxy.faults = [503, 500]
    assert store.get(digest, io.BytesIO()) == tar.stat().st_size


@pytest.mark.parametrize("fault", [401, 403])
def test_refused_credentials_are_said_so(proxy: Any, fault: int) -> None:
    proxy.faults = [fault]
    with pytest.raises(Failure, match=r"refused access: .*; check its credentials") as failure:
        open_store(proxy.uri, NOBODY).get(OTHER, io.BytesIO())
    assert failure.value.reason is Reason.STORE_UNREACHABLE


def test_a_cut_transfer_is_never_taken_for_a_bundle(proxy: Any, archive: tuple[str, Path]) -> None:
    digest, tar = archive
    store = open_store(proxy.uri, NOBODY)
    store.put(digest, tar)
    proxy.faults = ["cut"] * 10
    with pytest.raises(Failure) as failure:
        store.get(digest, io.BytesIO())
    assert failure.value.reason is Reason.STORE_UNREACHABLE


@pytest.mark.parametrize(
    ("environment", "header"),
    [
        ({"MLFLOW_TRACKING_TOKEN": "t0"}, "Bearer t0"),
        (
            {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "s"},
            "Basic " + base64.b64encode(b"me:s").decode(),
        ),
        ({}, None),
    ],
)
def test_credentials_come_from_the_environment(proxy: Any, environment: dict[str, str], header: str | None) -> None:
    open_store(proxy.uri, environment).exists(OTHER)
    assert proxy.requests == [("HEAD", f"/artifacts/trimtab/sha256/{'0' * 64}", header)]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ftp://host/x", "the store 'ftp://host/x' is not understood; use one of file://, s3://"),
        ("/data", "the store '/data' is not understood"),
        ("http://me:secret@host/x", "the store's URI for host holds credentials; give them in the environment"),
    ],
)
def test_uris_that_cannot_be_stores(uri: str, message: str) -> None:
    with pytest.raises(Failure) as failure:
        open_store(uri)
    assert message in failure.value.message
    assert "secret" not in failure.value.message
    assert failure.value.reason is Reason.SETTINGS_INVALID
