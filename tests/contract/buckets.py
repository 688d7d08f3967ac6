"""Bucket servers that other people wrote, each behind a proxy that can cut answers off and refuse.

S3 is spoken by versitygw, Google Cloud Storage by fake-gcs-server, Azure's blobs by Azurite. fake-gcs-server believes
everybody, so for it the proxy checks that a request is signed with the service account's key.
"""

import base64
import hashlib
import hmac
import http.client
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import obstore
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from obstore.store import from_url

from hack.cluster import binaries, nodejs
from hack.cluster.catalog import AZURITE
from tests.contract.sources import running
from tests.processes import free_port

NAME = "models"
SECRET = base64.b64encode(b"a-long-secret-of-an-account").decode()
WRONG = base64.b64encode(b"another-secret-of-nobody").decode()
_ERROR = "<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>You may not do this.</Message></Error>"


@dataclass
class Proxy:
    """What lies between the import and a server. `refuse` and `before` look at a method and a path with its query."""

    upstream: str
    port: int
    allows: Callable[[Mapping[str, str]], bool] = lambda headers: True
    refuse: Callable[[str, str], bool] = lambda method, path: False
    before: Callable[[str, str], None] = lambda method, path: None
    cuts: int = 0
    cut_after: int = 0
    ranges: list[str] = field(default_factory=list)

    def reset(self) -> None:
        """Let everything through again."""
        self.refuse, self.before, self.cuts, self.ranges = lambda *_: False, lambda *_: None, 0, []


@dataclass
class Bucket:
    """A server with one bucket, `models`. `keys` and `wrong_keys` are what a Secret would hold."""

    scheme: str
    proxy: Proxy
    keys: dict[str, str]
    wrong_keys: dict[str, str]
    secrets: tuple[str, ...]

    def put(self, key: str, content: bytes) -> None:
        """Upload an object past the proxy's faults. fake-gcs-server takes uploads in Google's JSON API alone."""
        if self.scheme == "gs":
            url = (
                f"http://{self.proxy.upstream}/upload/storage/v1/b/{NAME}/o?uploadType=media&name={quote(key, safe='')}"
            )
            urllib.request.urlopen(urllib.request.Request(url, content, method="POST"), timeout=10).close()
        else:
            store = from_url(
                f"{self.scheme}://{NAME}", config=_settings(self.keys), client_options={"allow_http": True}
            )
            obstore.put(store, key, content)


@contextmanager
def bucket(scheme: str, home: Path) -> Iterator[Bucket]:
    """Start the server of `s3`, `gs` or `az` behind its proxy, with an empty bucket."""
    port, server = free_port(), free_port()
    command, environ, make = _SERVERS[scheme](home, port, server)
    found = make(Proxy(f"127.0.0.1:{server}", port))
    with running(command, server, home / "log", environ), _serving(found.proxy):
        if scheme == "az":
            _make_container(server)
        yield found


def _s3(home: Path, port: int, server: int) -> Any:
    (home / "data" / NAME).mkdir(parents=True)
    (home / "sidecar").mkdir()
    program = [binaries.ensure("versitygw")["versitygw"], "--port", f"127.0.0.1:{server}"]
    command = [*program, "--access", "trimtab", "--secret", SECRET, "posix", "--sidecar", home / "sidecar"]
    keys = {"AWS_ACCESS_KEY_ID": "trimtab", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
    keys["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
    wrong = keys | {"AWS_SECRET_ACCESS_KEY": WRONG}
    return [*command, home / "data"], {}, lambda proxy: Bucket("s3", proxy, keys, wrong, (SECRET, WRONG))


def _gs(home: Path, port: int, server: int) -> Any:
    (home / "data" / NAME).mkdir(parents=True)
    program = binaries.ensure("fake-gcs-server")["fake-gcs-server"]
    command = [program, "-backend", "memory", "-data", home / "data", "-scheme", "http", "-host", "127.0.0.1"]
    command += ["-port", str(server), "-public-host", f"127.0.0.1:{port}"]
    right, wrong = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    first, second = _service_account(right), _service_account(wrong)

    def made(proxy: Proxy) -> Bucket:
        proxy.allows = lambda headers: _is_signed(headers, right.public_key())
        keys = {"GOOGLE_BASE_URL": f"http://127.0.0.1:{port}", "GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(first)}
        other = keys | {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(second)}
        lines = tuple(key["private_key"].splitlines()[1] for key in (first, second))
        return Bucket("gs", proxy, keys, other, lines)

    return command, {}, made


def _az(home: Path, port: int, server: int) -> Any:
    program = nodejs.ensure(AZURITE, "azurite-blob")
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(server), "--location", home / "data"]
    command += ["--disableTelemetry"]
    keys = {"AZURE_STORAGE_ACCOUNT_NAME": "trimtab", "AZURE_STORAGE_ACCOUNT_KEY": SECRET}
    keys["AZURE_STORAGE_ENDPOINT"] = f"http://127.0.0.1:{port}/trimtab"
    wrong = keys | {"AZURE_STORAGE_ACCOUNT_KEY": WRONG}
    environ = {"AZURITE_ACCOUNTS": f"trimtab:{SECRET}"}
    return command, environ, lambda proxy: Bucket("az", proxy, keys, wrong, (SECRET, WRONG))


_SERVERS: dict[str, Callable[[Path, int, int], Any]] = {"s3": _s3, "gs": _gs, "az": _az}


def _settings(keys: Mapping[str, str]) -> Any:
    """Variables as obstore's settings, so that a test's environment stays as it is."""
    return {name.lower(): value for name, value in keys.items()}


def _service_account(key: rsa.RSAPrivateKey) -> dict[str, str]:
    form = serialization.PrivateFormat.PKCS8
    text = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    name = "reader@project.iam.gserviceaccount.com"
    return {"type": "service_account", "client_email": name, "private_key_id": "1", "private_key": text}


def _is_signed(headers: Mapping[str, str], key: rsa.RSAPublicKey) -> bool:
    """Whether the bearer token is a JWT (RFC 7519) signed with the account's key, as Google checks it."""
    content, _, signature = headers.get("authorization", "").removeprefix("Bearer ").rpartition(".")
    try:
        given = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        key.verify(given, content.encode(), padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def _make_container(server: int) -> None:
    """Azure's Create Container, signed with the account's key (its Shared Key scheme)."""
    date, version = formatdate(usegmt=True), "2021-08-06"
    text = f"PUT{12 * chr(10)}x-ms-date:{date}\nx-ms-version:{version}\n/trimtab/trimtab/{NAME}\nrestype:container"
    digest = hmac.new(base64.b64decode(SECRET), text.encode(), hashlib.sha256).digest()
    headers = {"x-ms-date": date, "x-ms-version": version, "content-length": "0"}
    headers["authorization"] = f"SharedKey trimtab:{base64.b64encode(digest).decode()}"
    url = f"http://127.0.0.1:{server}/trimtab/{NAME}?restype=container"
    urllib.request.urlopen(urllib.request.Request(url, headers=headers, method="PUT"), timeout=10).close()


@contextmanager
def _serving(proxy: Proxy) -> Iterator[None]:
    front: Any = ThreadingHTTPServer(("127.0.0.1", proxy.port), _Relay)
    front.daemon_threads, front.proxy = True, proxy
    threading.Thread(target=front.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        front.shutdown()
        front.server_close()


class _Relay(BaseHTTPRequestHandler):
    """One connection of a client. Headers go both ways as they are: signatures are over them."""

    protocol_version = "HTTP/1.1"
    server: Any

    def _pass(self) -> None:
        proxy: Proxy = self.server.proxy
        body = self._body()
        proxy.before(self.command, self.path)
        if not proxy.allows(self.headers) or proxy.refuse(self.command, self.path):  # type: ignore[arg-type]
            self._answer(403, [("content-type", "application/xml")], _ERROR.encode())
            return
        upstream = http.client.HTTPConnection(proxy.upstream, timeout=30)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        kept = [pair for pair in answer.getheaders() if pair[0].lower() not in ("transfer-encoding", "connection")]
        self._answer(answer.status, kept, content)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        del self.headers["transfer-encoding"]
        return body

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        proxy: Proxy = self.server.proxy
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command == "GET" and len(content) > proxy.cut_after > 0:
            proxy.ranges.append(self.headers.get("range", ""))
            if proxy.cuts > 0:
                proxy.cuts -= 1
                content, self.close_connection = content[: proxy.cut_after], True
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass  # noqa: N815 - the names of BaseHTTPRequestHandler

    def log_message(self, *arguments: object) -> None:
        pass
