"""A store with one packed bundle in it, and an HTTP server that behaves like an artifact proxy, or does not."""

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from trimtab_serving.bundle import BundleInfo, Tensor, pack, write_info


class Proxy(ThreadingHTTPServer):
    """GET, HEAD and PUT below one prefix; `faults` are consumed one a request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.objects: dict[str, bytes] = {}
        self.faults: list[int | str] = []
        self.requests: list[tuple[str, str, str | None]] = []
        self.uri = f"http://127.0.0.1:{self.server_address[1]}/artifacts/trimtab"


class ProxyHandler(BaseHTTPRequestHandler):
    server: Proxy

    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Sat, 21 Nov 2026 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, self.headers.get("Authorization")))
        fault = self.server.faults.pop(0) if self.server.faults else None
        if isinstance(fault, int):
            return self.answer(fault, b"fault")
        if self.command == "PUT":
            self.server.objects[self.path] = content
            return self.answer(200)
        found = self.server.objects.get(self.path)
        if found is None:
            return self.answer(404, b"no such artifact")
        if fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found[: len(found) // 2])
            self.close_connection = True
            return None
        return self.answer(200, found)

    do_GET = do_HEAD = do_PUT = handle_any  # noqa: N815


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    server = Proxy()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def archive(tmp_path: Path) -> tuple[str, Path]:
    """The digest and the tar of a small bundle."""
    source = tmp_path / "source"
    source.mkdir()
    info = BundleInfo(
        format="ONNX",
        flavor="onnx",
        runtime="onnx",
        inputs=(Tensor("x", "FP32", (-1, 2)),),
        outputs=(Tensor("y", "FP32", (-1,)),),
    )
    write_info(info, source)
    (source / "model.onnx").write_bytes(bytes(range(256)) * 100)
    (source / "example.json").write_text("{}")
    content = io.BytesIO()
    digest = pack(source, content)
    tar = tmp_path / "bundle.tar"
    tar.write_bytes(content.getvalue())
    return digest, tar
