"""Files and folders in buckets: `s3://`, `gs://` and `az://`, through the client of the model store.

Credentials and endpoints are those of the buckets' own tools (`AWS_…`, `GOOGLE_…`, `AZURE_…`), so they pass through
no hand of ours. A transfer that breaks off goes on where it stopped, provided the object is still the one it was
(its ETag says so); what brings nothing for a few attempts in a row is unreachable.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import from_url

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.request import Request
from trimtab_toolbox.sources.limits import check_pin, check_total, inside, refuse_pin

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

MAX_FRUITLESS = 5
_CHUNK_BYTES = 1 << 20
_RETRY: RetryConfig = {"max_retries": 2, "retry_timeout": timedelta(seconds=30)}


def fetch(request: Request, into: Path, *, pause: Callable[[float], None] = time.sleep) -> Path:
    """Download the object, or all objects below the prefix, and return the file or folder.

    Raises SourceNotFound, SourceUnreachable, TooLarge, DigestMismatch or UnsupportedFormat.
    """
    parts = urlsplit(request.uri)
    key = unquote(parts.path).strip("/")
    if not parts.netloc or not key:
        message = f"{request.uri} names no object; write {parts.scheme}://BUCKET/PATH"
        raise Failure(Reason.SOURCE_NOT_FOUND, message)
    try:
        store = from_url(f"{parts.scheme}://{parts.netloc}", client_options=_client(), retry_config=_RETRY)
        return _fetch(store, request, key, into, pause)
    except Failure:
        raise
    except (FileNotFoundError, InvalidPathError) as error:
        raise _absent(request) from error
    except (BaseError, OSError) as error:
        if _is_refusal(error):
            message = (
                f"the bucket does not let the import read {request.uri}: {_short(error)}; check the credentials "
                "(spec.source.credentialsSecretName) and that they may list and get"
            )
            raise Failure(Reason.SOURCE_NOT_FOUND, message) from error
        message = f"{request.uri} could not be fetched: {_short(error)}; it will be tried again"
        raise Failure(Reason.SOURCE_UNREACHABLE, message) from error


def _fetch(store: Any, request: Request, key: str, into: Path, pause: Callable[[float], None]) -> Path:
    into.mkdir(parents=True, exist_ok=True)
    found: Sequence[Any] = [entry for batch in obstore.list(store, prefix=key) for entry in batch if entry["size"]]
    if not found:
        # A bucket may allow to get what it does not allow to list.
        found = [obstore.head(store, key)]
    if [entry["path"] for entry in found] != [key]:
        refuse_pin(request)
    check_total(request, request.uri, [int(entry["size"]) for entry in found])
    for entry in found:
        path = str(entry["path"])
        name = path.rpartition("/")[2] if path == key else path.removeprefix(f"{key}/")
        target = inside(into, name)
        digest = _Transfer(store, entry, target).run(pause)
        if path == key:
            check_pin(request, request.uri, digest, int(entry["size"]))
            return target
    return into


class _Transfer:
    """One object on its way into a file."""

    def __init__(self, store: Any, entry: Any, target: Path) -> None:
        self._store, self._path, self._target = store, str(entry["path"]), target
        self._size, self._etag = int(entry["size"]), entry.get("e_tag")
        self._hasher = hashlib.sha256()
        self._received = 0

    def run(self, pause: Callable[[float], None]) -> str:
        """Bring all bytes; returns their sha256 as hex digits."""
        fruitless = 0
        with self._target.open("wb") as out:
            while self._received < self._size:
                before = self._received
                try:
                    self._attempt(out)
                except PreconditionError as error:
                    message = f"{self._path} was changed while it was being fetched; it will be tried again"
                    raise Failure(Reason.SOURCE_UNREACHABLE, message) from error
                except (BaseError, OSError) as error:
                    if isinstance(error, (FileNotFoundError, PermissionError)) or fruitless >= MAX_FRUITLESS:
                        raise
                if self._received < self._size:
                    fruitless = 0 if self._received > before else fruitless + 1
                    if fruitless > MAX_FRUITLESS:
                        raise OSError(f"{self._path} ends after {self._received} of {self._size} bytes")
                    pause(min(0.5 * 2**fruitless, 10.0))
        return self._hasher.hexdigest()

    def _attempt(self, out: Any) -> None:
        options: Any = {"range": {"offset": self._received}} if self._received else {}
        if self._etag:
            options["if_match"] = self._etag
        answer = obstore.get(self._store, self._path, options=options)
        for chunk in answer.stream(min_chunk_size=_CHUNK_BYTES):
            data = memoryview(chunk)
            self._received += len(data)
            if self._received > self._size:
                raise OSError(f"{self._path} has more than the {self._size} bytes it was listed with")
            self._hasher.update(data)
            out.write(data)


def _client() -> ClientConfig:
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
    return {
        "connect_timeout": timedelta(seconds=5),
        "read_timeout": timedelta(seconds=30),
        "timeout": timedelta(hours=1),
        "user_agent": "trimtab",
        "allow_http": endpoint.startswith("http://"),
    }


def _absent(request: Request) -> Failure:
    message = f"{request.uri} does not exist: there is no such object, and nothing below it; check bucket and path"
    return Failure(Reason.SOURCE_NOT_FOUND, message)


def _is_refusal(error: BaseException) -> bool:
    # Listings say so in their text alone.
    kinds = (PermissionError, PermissionDeniedError, UnauthenticatedError)
    return isinstance(error, kinds) or re.search(r"\b(401 Unauthorized|403 Forbidden)\b", str(error)) is not None


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
