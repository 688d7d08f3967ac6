"""Models of a Hugging Face hub: `hf://OWNER/REPOSITORY[@REVISION][/PATH]`.

A path with an ending names a file, any other a folder, and no path the whole repository. The revision is looked up
once, so that all files are of one commit. `HF_TOKEN` is sent as the hub's own tools do, `HF_ENDPOINT` names another.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import httpx

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.request import Request
from trimtab_toolbox.sources import http
from trimtab_toolbox.sources.limits import check_total, inside, refuse_pin
from trimtab_toolbox.sources.web import get

ENDPOINT = "https://huggingface.co"
_URI = re.compile(r"hf://(?P<repository>[^/@?#]+/[^/@?#]+)(?:@(?P<revision>[^/?#]+))?(?P<path>/[^?#]*)?\Z")


def fetch(request: Request, into: Path) -> Path:
    """Download the file or folder and return it; raises as `http.fetch` does."""
    match = _URI.match(request.uri)
    if match is None:
        message = f"{request.uri} is no model of a hub; write hf://OWNER/REPOSITORY@REVISION/PATH"
        raise Failure(Reason.SOURCE_NOT_FOUND, message)
    endpoint = os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")
    token = os.environ.get("HF_TOKEN", "")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    repository, path = match["repository"], (match["path"] or "").strip("/")
    with httpx.Client(timeout=30, headers={"user-agent": "trimtab", **headers}, follow_redirects=True) as client:
        api = f"{endpoint}/api/models/{repository}"
        revision = quote(match["revision"] or "main", safe="")
        commit = str(get(client, f"{api}/revision/{revision}", request.uri).json()["sha"])
        files = {path: 0} if PurePosixPath(path).suffix else dict(_files(client, f"{api}/tree/{commit}", path, request))
    root = f"{endpoint}/{repository}/resolve/{commit}"
    if list(files) == [path]:
        return http.fetch(replace(request, uri=f"{root}/{quote(path)}"), into, headers=headers)
    refuse_pin(request)
    check_total(request, request.uri, list(files.values()))
    return _folder(request, root, path, files, headers, into)


def _files(client: httpx.Client, tree: str, path: str, request: Request) -> Iterator[tuple[str, int]]:
    url = f"{tree}/{quote(path)}?recursive=true" if path else f"{tree}?recursive=true"
    while url:
        answer = get(client, url, request.uri)
        entries: list[dict[str, Any]] = answer.json()
        yield from ((str(entry["path"]), int(entry["size"])) for entry in entries if entry.get("type") == "file")
        url = answer.links.get("next", {}).get("url", "")


def _folder(
    request: Request, root: str, path: str, files: Mapping[str, int], headers: Mapping[str, str], into: Path
) -> Path:
    if not files:
        message = f"{request.uri} has no files; name a file or a folder of the repository"
        raise Failure(Reason.SOURCE_NOT_FOUND, message)
    left = request.max_bytes
    for file in files:
        target = inside(into, file.removeprefix(f"{path}/") if path else file)
        part = replace(request, uri=f"{root}/{quote(file)}", max_bytes=left)
        left -= http.fetch(part, target.parent, name=target.name, headers=headers).stat().st_size
    return into
