"""The model store behind a real MLflow server's artifact proxy."""

import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimtab_serving.outcome import Failure
from trimtab_serving.store import open_store


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("mlflow")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{home}/mlflow.db",
        "--artifacts-destination",
        str(home / "artifacts"),
    ]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "HOME": str(home)}
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(f"http://127.0.0.1:{port}/health", server, home / "log")
        yield f"http://127.0.0.1:{port}/api/2.0/mlflow-artifacts/artifacts/trimtab"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(10)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"MLflow did not start within 90 s:\n{log.read_text()}")


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
