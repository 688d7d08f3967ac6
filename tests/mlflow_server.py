"""A real MLflow server in a process of its own, and a way to it on which single calls can be lost."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import mlflow

from tests.processes import free_port

START_SECONDS = 90


@contextmanager
def mlflow_server(home: Path) -> Iterator[str]:
    """The address of a server with a database and artifacts in `home`."""
    with mlflow_process(home) as (uri, _):
        yield uri


@contextmanager
def mlflow_process(home: Path) -> Iterator[tuple[str, int]]:
    """Its address, and the id of its process group."""
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination", f"{home}/artifacts"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), **quiet}
    with (home / "mlflow.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        await_answer(f"{uri}/health", server, home / "mlflow.log")
        yield uri, server.pid
    finally:
        os.killpg(server.pid, 9)
        server.wait(10)


@contextmanager
def tracking_at(uri: str) -> Iterator[None]:
    """Let MLflow's client in this process talk to `uri`, and afterwards again to whomever the environment names.

    Without the last step MLflow holds on to an address for good, and tests that come later talk to a server that is
    gone.
    """
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # it forgets the address, and takes it from nowhere
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def await_answer(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until somebody answers at `url`; AssertionError with the log when the process ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} did not answer within {START_SECONDS} s:\n{log.read_text()}")


class LossyWay(ThreadingHTTPServer):
    """A proxy to `uri`. `refuse` says of each call whether it is cut before it arrives, `lose` whether its answer is.

    Both get the number of the call (from 1) and "METHOD /path"; `calls` are all of them in their order.
    """

    daemon_threads = True

    def __init__(self, uri: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(uri).netloc
        self.calls: list[str] = []
        self.refuse: Callable[[int, str], bool] = lambda number, call: False
        self.lose: Callable[[int, str], bool] = lambda number, call: False
        self.lock = threading.Lock()
        self.uri = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def heal(self) -> None:
        """Let everything through, and count from the beginning."""
        self.refuse = self.lose = lambda number, call: False
        self.calls = []

    def __exit__(self, *arguments: object) -> None:
        self.shutdown()
        super().__exit__(*arguments)

    def handle_error(self, *arguments: object) -> None:
        """Connections are cut on purpose here."""


class _Handler(BaseHTTPRequestHandler):
    server: LossyWay
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = f"{self.command} {self.path.partition('?')[0]}"
        with self.server.lock:
            self.server.calls.append(call)
            number = len(self.server.calls)
        if self.server.refuse(number, call):
            return self._cut()
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        if self.server.lose(number, call):
            return self._cut()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        return None

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _pass  # noqa: N815

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.close()

    def log_message(self, *arguments: object) -> None:
        pass
