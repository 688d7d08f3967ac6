"""Models in an OCI registry: `oci://REGISTRY/REPOSITORY:TAG` or `…@sha256:DIGEST`.

An artifact is a manifest and its layers, as ORAS and others push them: a layer with a title is a file of that name, a
layer marked for unpacking is a folder as tar. Each layer's digest is in the manifest and is checked while it comes
in, and the manifest's digest is checked when it is pinned. `OCI_USERNAME` and `OCI_PASSWORD` are the credentials, for
registries that ask for them directly (Basic) and for those that want a token of another server (Bearer). Registries
on the same machine are spoken to without encryption, and others that `OCI_PLAIN_HTTP` lists (hosts, with commas).
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.request import Request
from trimtab_toolbox.sources import http, web
from trimtab_toolbox.sources.archive import unpack_tar
from trimtab_toolbox.sources.limits import check_pin, check_total, inside

_URI = re.compile(
    r"oci://(?P<host>[^/@?#]+)/(?P<repository>[a-z0-9][a-z0-9._/-]*?)"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64})|:(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]*))?\Z"
)
_ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
_TITLE, _UNPACK = "org.opencontainers.image.title", "io.deis.oras.content.unpack"
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_MAX_MANIFEST = 4 << 20


def fetch(request: Request, into: Path) -> Path:
    """Download the artifact and return its one file, or the folder of all its files."""
    match = _URI.match(request.uri)
    if match is None:
        message = f"{request.uri} is no artifact; write oci://REGISTRY/REPOSITORY:TAG or …@sha256:DIGEST"
        raise Failure(Reason.SOURCE_NOT_FOUND, message)
    reference = match["digest"] or match["tag"] or "latest"
    root = f"{_scheme(match['host'])}://{match['host']}/v2/{match['repository']}"
    with httpx.Client(timeout=30, headers={"user-agent": "trimtab", "accept": _ACCEPT}) as client:
        url = f"{root}/manifests/{reference}"
        headers = _authorization(client, url, request)
        client.headers.update(headers)
        content = web.get(client, url, request.uri).content
    layers = _layers(request, content, match["digest"])
    check_total(request, request.uri, [int(layer["size"]) for layer in layers])
    return _download(request, root, layers, headers, into)


def _scheme(host: str) -> str:
    name = host.rpartition(":")[0] or host
    plain = {"localhost", "127.0.0.1", "[::1]", *os.environ.get("OCI_PLAIN_HTTP", "").split(",")}
    return "http" if {name, host} & plain else "https"


def _authorization(client: httpx.Client, url: str, request: Request) -> dict[str, str]:
    """The header the registry asks for; empty when it asks for none."""
    response = web.attempt(client, url, request.uri)
    if response.status_code != 401:
        return {}
    kind, _, rest = response.headers.get("www-authenticate", "").partition(" ")
    user, password = os.environ.get("OCI_USERNAME", ""), os.environ.get("OCI_PASSWORD", "")
    basic = {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()} if user else {}
    if kind.lower() != "bearer":
        return basic
    asked = dict(_CHALLENGE.findall(rest))
    realm = httpx.URL(asked.pop("realm", ""))
    if basic and realm.scheme != "https" and httpx.URL(url).scheme == "https":
        message = (
            f"{request.uri}: the registry wants the password sent to {realm.host} without encryption; it was not sent"
        )
        raise Failure(Reason.SOURCE_NOT_FOUND, message)
    with httpx.Client(timeout=30, headers={"user-agent": "trimtab", **basic}) as tokens:
        answer = web.get(tokens, str(realm.copy_merge_params(asked)), request.uri).json()
    return {"authorization": f"Bearer {answer.get('token') or answer.get('access_token')}"}


def _layers(request: Request, content: bytes, digest: str | None) -> Sequence[dict[str, Any]]:
    found = hashlib.sha256(content).hexdigest()
    check_pin(replace(request, digest=(digest or "").removeprefix("sha256:")), request.uri, found, len(content))
    check_pin(request, request.uri, found, len(content))
    try:
        layers = httpx.Response(200, content=content).json()["layers"] if len(content) <= _MAX_MANIFEST else []
        checked = [
            layer for layer in layers if re.fullmatch(r"sha256:[0-9a-f]{64}", layer["digest"]) and layer["size"] >= 0
        ]
    except (ValueError, KeyError, TypeError) as error:
        message = f"{request.uri} is no artifact with layers; push the model's files as one (not an index of several)"
        raise Failure(Reason.UNSUPPORTED_FORMAT, message) from error
    if not checked or len(checked) != len(layers):
        message = (
            f"{request.uri} has no layers, or some without a sha256 digest; push the model's files as one artifact"
        )
        raise Failure(Reason.UNSUPPORTED_FORMAT, message)
    return checked


def _download(
    request: Request, root: str, layers: Sequence[dict[str, Any]], headers: dict[str, str], into: Path
) -> Path:
    into.mkdir(parents=True, exist_ok=True)
    files = []
    for index, layer in enumerate(layers):
        notes = layer.get("annotations") or {}
        packed = notes.get(_UNPACK) == "true"
        target = inside(into, f"layer-{index}.tar" if packed else notes.get(_TITLE) or f"layer-{index}")
        digest = str(layer["digest"]).removeprefix("sha256:")
        part = replace(request, uri=f"{root}/blobs/sha256:{digest}", digest=digest)
        http.fetch(part, target.parent, name=target.name, headers=headers)
        if packed:
            unpack_tar(target, into, request.max_bytes)
            target.unlink()
        else:
            files.append(target)
    return files[0] if len(files) == len(layers) == 1 else _model_folder(into)


def _model_folder(into: Path) -> Path:
    """The folder with the MLmodel: the top, or the one folder in it that a packed layer brought."""
    folders = [into, *sorted(path for path in into.iterdir() if path.is_dir())]
    return next((folder for folder in folders if (folder / "MLmodel").is_file()), into)
