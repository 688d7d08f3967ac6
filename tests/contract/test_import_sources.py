"""Registries, hubs and volumes: what lies there arrives, and each way to fail has its reason.

The registry is Debian's docker-registry, a server that other people wrote.
"""

import base64
import hashlib
import io
import json
import os
import shutil
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.contract.sources import fetched, refused, running
from tests.processes import free_port
from trimtab_serving.outcome import Reason

CONTENT = os.urandom(3_000_000)
PIN = hashlib.sha256(CONTENT).hexdigest()


class Registry(NamedTuple):
    """A registry, and what it was told of."""

    host: str
    authorization: dict[str, str]

    def push(self, repository: str, tag: str, layers: list[tuple[bytes, dict[str, str]]]) -> str:
        """Push an artifact; returns its digest."""
        entries = [
            {**self._blob(repository, content), "mediaType": "application/octet-stream", "annotations": notes}
            for content, notes in layers
        ]
        config = {**self._blob(repository, b"{}"), "mediaType": "application/vnd.oci.empty.v1+json"}
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": entries}).encode()
        self._ask("PUT", f"{repository}/manifests/{tag}", manifest, kind)
        return "sha256:" + hashlib.sha256(manifest).hexdigest()

    def _blob(self, repository: str, content: bytes) -> dict[str, Any]:
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        location = self._ask("POST", f"{repository}/blobs/uploads/", b"").headers["location"]
        self._ask("PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}", content)
        return {"digest": digest, "size": len(content)}

    def _ask(self, method: str, path: str, body: bytes, kind: str = "application/octet-stream") -> Any:
        url = path if path.startswith("http") else f"http://{self.host}/v2/{path}"
        headers = {"content-type": kind, **self.authorization}
        return urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=10)


@pytest.fixture(scope="module", params=["open", "basic"])
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    home = tmp_path_factory.mktemp("oci")
    host = f"127.0.0.1:{free_port()}"
    settings = f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {home}/data}}}}\nhttp: {{addr: '{host}'}}\n"
    authorization = {}
    if request.param == "basic":
        # The password "letmein", as htpasswd -B writes it.
        (home / "users").write_text("reader:$2y$05$abcdefghijklmnopqrstuuKwWV7ESJpzKzf9FQg57dBvMuv92X9HS\n")
        settings += f"auth: {{htpasswd: {{realm: models, path: {home}/users}}}}\n"
        authorization = {"authorization": "Basic " + base64.b64encode(b"reader:letmein").decode()}
    (home / "config.yml").write_text(settings)
    command = ["docker-registry", "serve", home / "config.yml"]
    with running(command, int(host.rpartition(":")[2]), home / "log", {"OTEL_TRACES_EXPORTER": "none"}):
        yield Registry(host, authorization)


@pytest.fixture
def login(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    if registry.authorization:
        monkeypatch.setenv("OCI_USERNAME", "reader")
        monkeypatch.setenv("OCI_PASSWORD", "letmein")
    return registry


def test_an_artifact_of_one_file(login: Registry, tmp_path: Path) -> None:
    digest = login.push("team/one", "v1", [(CONTENT, {"org.opencontainers.image.title": "model.onnx"})])
    for reference in (":v1", f"@{digest}"):
        path = fetched(tmp_path, f"oci://{login.host}/team/one{reference}")
        assert (path.name, path.read_bytes() == CONTENT) == ("model.onnx", True)
    fetched(tmp_path, f"oci://{login.host}/team/one:v1", digest=digest.removeprefix("sha256:"))
    reason, message = refused(tmp_path, f"oci://{login.host}/team/one:v1", digest="0" * 64)
    assert reason is Reason.DIGEST_MISMATCH
    assert f"has the digest {digest}" in message


def test_an_artifact_of_files_and_of_a_packed_folder(login: Registry, tmp_path: Path) -> None:
    titles = [(b"flavors: {}\n", "MLmodel"), (CONTENT, "data/model.bin")]
    login.push("team/files", "v1", [(data, {"org.opencontainers.image.title": name}) for data, name in titles])
    path = fetched(tmp_path, f"oci://{login.host}/team/files:v1")
    assert (path / "data" / "model.bin").read_bytes() == CONTENT
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for data, name in titles:
            entry = tarfile.TarInfo(f"model/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    login.push("team/packed", "v1", [(packed.getvalue(), {"io.deis.oras.content.unpack": "true"})])
    path = fetched(tmp_path, f"oci://{login.host}/team/packed:v1")
    assert (path.name, (path / "data" / "model.bin").read_bytes() == CONTENT) == ("model", True)


@pytest.mark.parametrize(
    ("uri", "fields", "reason", "says"),
    [
        ("team/one:none", {}, Reason.SOURCE_NOT_FOUND, "/manifests/none answered 404"),
        ("Team/one", {}, Reason.SOURCE_NOT_FOUND, "is no artifact; write oci://REGISTRY/REPOSITORY:TAG"),
        ("team/one:v1", {"max_bytes": 1000}, Reason.TOO_LARGE, "has 3000000 bytes in 1 files"),
        ("team/evil:v1", {}, Reason.UNSAFE_ARCHIVE, "'../evil', which is no plain relative path"),
    ],
)
def test_what_a_registry_does_not_give(
    login: Registry, tmp_path: Path, uri: str, fields: dict[str, Any], reason: Reason, says: str
) -> None:
    login.push("team/one", "v1", [(CONTENT, {"org.opencontainers.image.title": "model.onnx"})])
    login.push("team/evil", "v1", [(b"x", {"org.opencontainers.image.title": "../evil"})])
    found = refused(tmp_path, f"oci://{login.host}/{uri}", **fields)
    assert found[0] is reason
    assert says in found[1]


def test_a_registry_that_wants_a_password(registry: Registry, tmp_path: Path) -> None:
    registry.push("team/secret", "v1", [(CONTENT, {})])
    if not registry.authorization:
        assert fetched(tmp_path, f"oci://{registry.host}/team/secret:v1").read_bytes() == CONTENT
        return
    reason, message = refused(tmp_path, f"oci://{registry.host}/team/secret:v1")
    assert reason is Reason.SOURCE_NOT_FOUND
    assert "answered 401 Unauthorized; the import may not read it: check the credentials" in message


class _Pages(BaseHTTPRequestHandler):
    """A hub, and a registry behind a token server; `pages` are answers by path."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.seen.append((self.path, self.headers.get("authorization")))
        status, body, headers = server.pages.get(self.path, lambda _: (404, b"", {}))(self.headers.get("authorization"))
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def pages() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    server.pages, server.seen, server.host = {}, [], f"127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def told(body: Any, needs: str | None = None, **headers: str) -> Callable[[str | None], Any]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda given: (200, content, headers) if needs in (None, given) else (401, b"", headers)


def test_a_token_of_another_server(pages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = {"digest": f"sha256:{PIN}", "size": len(CONTENT), "annotations": {}}
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{pages.host}/token",service="models",scope="pull"'}
    basic = "Basic " + base64.b64encode(b"me:mine").decode()
    pages.pages = {
        "/v2/a/b/manifests/v1": told({"layers": [layer]}, "Bearer t0ken", **challenge),
        "/token?service=models&scope=pull": told({"token": "t0ken"}, basic),
        f"/v2/a/b/blobs/sha256:{PIN}": told(CONTENT, "Bearer t0ken"),
    }
    monkeypatch.setenv("OCI_USERNAME", "me")
    monkeypatch.setenv("OCI_PASSWORD", "mine")
    assert fetched(tmp_path, f"oci://{pages.host}/a/b:v1").read_bytes() == CONTENT


def test_a_manifest_that_is_not_the_one_named(pages: Any, tmp_path: Path) -> None:
    pages.pages = {f"/v2/a/b/manifests/sha256:{PIN}": told({"layers": []})}
    reason, message = refused(tmp_path, f"oci://{pages.host}/a/b@sha256:{PIN}")
    assert reason is Reason.DIGEST_MISMATCH
    assert f"but sha256:{PIN} is pinned" in message


def test_a_hub(pages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://{pages.host}")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    needs = "Bearer hf_secret"
    entries = [{"type": "directory", "path": "m/data"}, {"type": "file", "path": "m/MLmodel", "size": 12}]
    more = [{"type": "file", "path": "m/data/model.bin", "size": len(CONTENT)}]
    following = f'<http://{pages.host}/api/models/me/it/tree/c0ffee/m?recursive=true&cursor=2>; rel="next"'
    pages.pages = {
        "/api/models/me/it/revision/v1.0": told({"sha": "c0ffee"}, needs),
        "/api/models/me/it/tree/c0ffee/m?recursive=true": told(entries, needs, Link=following),
        "/api/models/me/it/tree/c0ffee/m?recursive=true&cursor=2": told(more, needs),
        "/me/it/resolve/c0ffee/m/MLmodel": told(b"flavors: {}\n", needs),
        "/me/it/resolve/c0ffee/m/data/model.bin": told(CONTENT, needs),
    }
    folder = fetched(tmp_path, "hf://me/it@v1.0/m")
    assert (folder / "data" / "model.bin").read_bytes() == CONTENT
    assert fetched(tmp_path, "hf://me/it@v1.0/m/data/model.bin", digest=PIN).read_bytes() == CONTENT
    assert refused(tmp_path, "hf://me/it@v1.0/m", digest=PIN)[0] is Reason.UNSUPPORTED_FORMAT
    assert refused(tmp_path, "hf://me/it@v1.0/m", max_bytes=50)[0] is Reason.TOO_LARGE
    reason, message = refused(tmp_path, "hf://me/it/m")
    assert reason is Reason.SOURCE_NOT_FOUND
    assert "/api/models/me/it/revision/main answered 404" in message
    assert "hf_secret" not in message


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "volume"
    (root / "m" / "data").mkdir(parents=True)
    (root / "m" / "MLmodel").write_bytes(b"flavors: {}\n")
    (root / "m" / "data" / "model.bin").write_bytes(CONTENT)
    monkeypatch.setenv("TRIMTAB_PVC_DIR", str(root))
    return root


def test_a_volume(volume: Path, tmp_path: Path) -> None:
    folder = fetched(tmp_path, "pvc://models/m")
    shutil.rmtree(volume / "m" / "data")
    assert (folder / "data" / "model.bin").read_bytes() == CONTENT
    assert fetched(tmp_path, "pvc://models/m/MLmodel").read_bytes() == b"flavors: {}\n"


@pytest.mark.parametrize(
    ("path", "fields", "reason", "says"),
    [
        ("none", {}, Reason.SOURCE_NOT_FOUND, "does not exist in the volume"),
        ("../outside", {}, Reason.SOURCE_NOT_FOUND, "does not exist in the volume"),
        ("m", {"max_bytes": 10}, Reason.TOO_LARGE, "has 3000012 bytes in 2 files"),
        ("linked", {}, Reason.UNSAFE_ARCHIVE, "holds the link away, which leads out of the folder"),
        ("m/MLmodel", {"digest": PIN}, Reason.DIGEST_MISMATCH, "is pinned"),
        ("empty", {}, Reason.SOURCE_NOT_FOUND, "is an empty folder"),
    ],
)
def test_what_a_volume_does_not_give(
    volume: Path, tmp_path: Path, path: str, fields: dict[str, Any], reason: Reason, says: str
) -> None:
    (tmp_path / "outside").write_text("secret")
    for name in ("linked", "empty"):
        (volume / name).mkdir()
    (volume / "linked" / "away").symlink_to(tmp_path / "outside")
    found = refused(tmp_path, f"pvc://models/{path}", **fields)
    assert found[0] is reason
    assert says in found[1]
