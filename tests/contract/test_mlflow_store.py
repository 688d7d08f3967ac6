"""The model store behind a real MLflow server's artifact proxy."""

import hashlib
import io
import os
from pathlib import Path

import pytest

from trimtab_serving.outcome import Failure
from trimtab_serving.store import open_store


@pytest.fixture(scope="module")
def proxy(mlflow_uri: str) -> str:
    return f"{mlflow_uri}/api/2.0/mlflow-artifacts/artifacts/trimtab"


def test_put_twice_get_and_missing(proxy: str, tmp_path: Path) -> None:
    content = os.urandom(8 << 20)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    (tmp_path / "bundle.tar").write_bytes(content)
    store = open_store(proxy)
    assert not store.exists(digest)
    assert store.put(digest, tmp_path / "bundle.tar")
    assert not store.put(digest, tmp_path / "bundle.tar")
    into = io.BytesIO()
    assert store.get(digest, into) == len(content)
    assert into.getvalue() == content
    with pytest.raises(Failure, match=r"BundleMissing: the store .* has no bundle sha256:0000"):
        store.get("sha256:" + "0" * 64, io.BytesIO())
