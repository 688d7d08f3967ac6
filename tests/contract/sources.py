"""What the tests of sources share: a server that runs meanwhile, and one import of what lies on it."""

import http.client
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.request import Request
from trimtab_toolbox.sources import fetch

READY_SECONDS = 60


@contextmanager
def running(command: list[Any], port: int, log: Path, environ: Mapping[str, str]) -> Iterator[None]:
    """Run a server of HTTP on `port` until the body ends, which begins when it answers anything."""
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, env={"PATH": os.environ["PATH"], **environ})
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not answers(port):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        server.kill()
        server.wait(10)


def answers(port: int) -> bool:
    """Whether a server of HTTP listens there, whatever it says."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def fetched(tmp_path: Path, uri: str, **fields: Any) -> Path:
    """The file or folder that a source brings."""
    into = tmp_path / f"into-{len(list(tmp_path.iterdir()))}"
    into.mkdir()
    return fetch(Request(uri=uri, store="file:///nowhere", **fields), into)


def refused(tmp_path: Path, uri: str, **fields: Any) -> tuple[Reason, str]:
    """Why a source brings nothing."""
    with pytest.raises(Failure) as caught:
        fetched(tmp_path, uri, **fields)
    return caught.value.reason, caught.value.message
