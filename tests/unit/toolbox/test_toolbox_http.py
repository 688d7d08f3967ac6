"""The HTTP source against a server that breaks off, stalls, lies about lengths and changes its mind."""

import hashlib
import os
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.pki import Authority
from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.request import Request
from trimtab_toolbox.sources import http

CONTENT = os.urandom(300_000)
PIN = hashlib.sha256(CONTENT).hexdigest()


class Moody(ThreadingHTTPServer):
    """Serves `content` with ranges. `moods` are consumed one a request; without one it behaves."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = CONTENT
        self.etag = '"one"'
        self.moods: list[str] = []
        self.ranges: list[str | None] = []
        self.released = threading.Event()
        self.uri = f"http://127.0.0.1:{self.server_address[1]}/models/model.onnx"

    def handle_error(self, *arguments: object) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: Moody
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("range"))
        mood, _, value = (self.server.moods.pop(0) if self.server.moods else "well").partition(":")
        if mood == "change":
            self.server.content, self.server.etag = CONTENT[::-1], '"two"'
        if mood == "status":
            self.empty(int(value), self.path)
        elif mood == "redirect":
            self.empty(302, value or self.path)
        elif mood == "chunked":
            self.chunked()
        else:
            self.file(mood, int(value or len(CONTENT)))

    def file(self, mood: str, sent: int) -> None:
        start = self.start(mood)
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            told = start + 7 if mood == "elsewhere" else start
            self.send_header("Content-Range", f"bytes {told}-{len(CONTENT) - 1}/{len(CONTENT)}")
        if mood == "less":
            body = body[:sent]
        self.send_header("Content-Length", str(len(body)))
        if mood != "unnamed":
            self.send_header("ETag", self.server.etag)
        self.end_headers()
        self.wfile.write(body[:sent])
        self.wfile.flush()
        if mood == "stall":
            self.server.released.wait(10)
        self.close_connection = sent < len(body)

    def start(self, mood: str) -> int:
        asked = self.headers.get("range")
        if asked is None or mood == "whole" or self.headers.get("if-range") != self.server.etag:
            return 0
        return int(asked.removeprefix("bytes=").rstrip("-"))

    def empty(self, status: int, location: str) -> None:
        self.send_response(status)
        self.send_header("Location", location)
        self.send_header("Retry-After", "7")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def chunked(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(CONTENT), 50_000):
            self.wfile.write(b"%x\r\n%b\r\n" % (50_000, CONTENT[start : start + 50_000]))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Moody]:
    moody = Moody()
    threading.Thread(target=moody.serve_forever, args=(0.01,), daemon=True).start()
    yield moody
    moody.released.set()
    moody.shutdown()
    moody.server_close()


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Moody]:
    """The same behind TLS, with an authority that is trusted as a private one is in a cluster."""
    authority = Authority(tmp_path / "pki")
    pair = authority.server("files")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca.certificate))
    moody = Moody()
    moody.socket = context.wrap_socket(moody.socket, server_side=True)
    moody.uri = moody.uri.replace("http:", "https:")
    threading.Thread(target=moody.serve_forever, args=(0.01,), daemon=True).start()
    yield moody
    moody.shutdown()
    moody.server_close()


class Fetched:
    """One download; the pauses it wanted are noted and not taken."""

    def __init__(self, into: Path, uri: str, **fields: object) -> None:
        self.pauses: list[float] = []
        request = Request(uri=uri, store="file:///nowhere", **fields)  # type: ignore[arg-type]
        self.path = http.fetch(request, into, silence_seconds=0.3, pause=self.pauses.append)


def refused(into: Path, uri: str, **fields: object) -> Failure:
    with pytest.raises(Failure) as caught:
        Fetched(into, uri, **fields)
    return caught.value


def test_a_whole_file_keeps_its_name(server: Moody, tmp_path: Path) -> None:
    fetched = Fetched(tmp_path / "new", server.uri + "?token=secret", digest=PIN)
    assert fetched.path.name == "model.onnx"
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.pauses == []


def test_goes_on_where_it_broke_off(server: Moody, tmp_path: Path) -> None:
    server.moods = ["cut:100000", "cut:50000", "stall:20000"]
    fetched = Fetched(tmp_path, server.uri, digest=PIN)
    assert fetched.path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-", "bytes=170000-"]


def test_less_than_the_range_asked_for_is_not_the_end(server: Moody, tmp_path: Path) -> None:
    server.moods = ["cut:100000", "less:1000", "less:500"]
    assert Fetched(tmp_path, server.uri, digest=PIN).path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=101000-", "bytes=101500-"]


@pytest.mark.parametrize("mood", ["whole", "elsewhere", "status:416"])
def test_starts_anew_when_the_server_does_not_go_on(server: Moody, tmp_path: Path, mood: str) -> None:
    server.moods = ["cut:100000", mood]
    assert Fetched(tmp_path, server.uri).path.read_bytes() == CONTENT
    assert server.ranges[:2] == [None, "bytes=100000-"]


def test_never_mixes_two_versions_of_a_file(server: Moody, tmp_path: Path) -> None:
    server.moods = ["cut:100000", "change"]
    assert Fetched(tmp_path, server.uri).path.read_bytes() == CONTENT[::-1]


def test_without_a_validator_nothing_is_resumed(server: Moody, tmp_path: Path) -> None:
    server.moods = ["unnamed:100000", "unnamed:200000"]
    assert Fetched(tmp_path, server.uri).path.read_bytes() == CONTENT
    assert server.ranges == [None, None, None]


def test_gives_up_when_attempts_bring_nothing_new(server: Moody, tmp_path: Path) -> None:
    server.moods = ["unnamed:100", "unnamed:50"] * 10
    failure = refused(tmp_path, server.uri)
    assert failure.reason is Reason.SOURCE_UNREACHABLE
    assert "(5 attempts in a row brought nothing); it will be tried again" in failure.message
    assert len(server.ranges) == 6


def test_waits_as_long_as_the_server_asks(server: Moody, tmp_path: Path) -> None:
    server.moods = ["status:503", "status:429"]
    fetched = Fetched(tmp_path, server.uri)
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.pauses == [7.0, 7.0]


@pytest.mark.parametrize(
    ("mood", "says"),
    [
        ("status:404", "/models/model.onnx answered 404 Not Found; check the address"),
        ("status:410", "answered 410 Gone; check the address"),
        ("status:403", "answered 403 Forbidden; the import may not read it"),
    ],
)
def test_says_what_the_server_refuses(server: Moody, tmp_path: Path, mood: str, says: str) -> None:
    server.moods = [mood]
    failure = refused(tmp_path, server.uri)
    assert failure.reason is Reason.SOURCE_NOT_FOUND
    assert says in failure.message


def test_a_circle_of_redirects_is_no_file(server: Moody, tmp_path: Path) -> None:
    server.moods = ["redirect"] * 10
    failure = refused(tmp_path, server.uri)
    assert failure.reason is Reason.SOURCE_NOT_FOUND
    assert "leads to no file" in failure.message


def test_over_tls(secure: Moody, tmp_path: Path) -> None:
    secure.moods = ["cut:1000", "redirect"]
    assert Fetched(tmp_path, secure.uri, digest=PIN).path.read_bytes() == CONTENT


def test_an_authority_nobody_trusts(secure: Moody, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    failure = refused(tmp_path, secure.uri)
    assert failure.reason is Reason.SOURCE_UNREACHABLE
    assert "CERTIFICATE_VERIFY_FAILED" in failure.message


def test_a_redirect_must_not_give_up_encryption(secure: Moody, server: Moody, tmp_path: Path) -> None:
    secure.moods = [f"redirect:{server.uri}?signature=secret"]
    failure = refused(tmp_path, secure.uri)
    assert failure.reason is Reason.SOURCE_NOT_FOUND
    assert f"leads to {server.uri}, which is not encrypted" in failure.message
    assert "secret" not in failure.message
    assert server.ranges == []


def test_too_large_is_known_before_the_first_byte(server: Moody, tmp_path: Path) -> None:
    failure = refused(tmp_path, server.uri, max_bytes=299_999)
    assert failure.reason is Reason.TOO_LARGE
    assert "has 300000 bytes, and 299999 are allowed" in failure.message


def test_too_large_is_noticed_on_the_way_when_no_length_is_told(server: Moody, tmp_path: Path) -> None:
    server.moods = ["chunked"]
    failure = refused(tmp_path, server.uri, max_bytes=100_000)
    assert failure.reason is Reason.TOO_LARGE
    assert "has more than 100000 bytes" in failure.message
    assert (tmp_path / "model.onnx").stat().st_size <= 100_000


def test_a_chunked_file_arrives(server: Moody, tmp_path: Path) -> None:
    server.moods = ["chunked"]
    assert Fetched(tmp_path, server.uri).path.read_bytes() == CONTENT


def test_another_file_than_the_pinned_one(server: Moody, tmp_path: Path) -> None:
    failure = refused(tmp_path, server.uri, digest="0" * 64)
    assert failure.reason is Reason.DIGEST_MISMATCH
    assert f"has the digest sha256:{PIN} (300000 bytes), but sha256:{'0' * 64} is pinned" in failure.message


def test_nobody_there(tmp_path: Path) -> None:
    failure = refused(tmp_path, "http://user:secret@127.0.0.1:1/model.onnx?signature=secret")
    assert failure.reason is Reason.SOURCE_UNREACHABLE
    assert failure.message.startswith("http://127.0.0.1:1/model.onnx could not be downloaded: ")
    assert "secret" not in failure.message


def test_silence_ends_an_attempt(server: Moody, tmp_path: Path) -> None:
    server.moods = ["stall:0"]
    started = time.monotonic()
    assert Fetched(tmp_path, server.uri).path.read_bytes() == CONTENT
    assert time.monotonic() - started < 5
