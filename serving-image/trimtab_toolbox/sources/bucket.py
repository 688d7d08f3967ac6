"""Files and folders in buckets: `s3://`, `gs://` and `az://`, through the client of the model store.

Credentials and endpoints are those of the buckets' own tools (`AWS_…`, `GOOGLE_…`, `AZURE_…`), so they pass through
no hand of ours. A transfer that breaks off goes on where it stopped, provided the object is still the one it was
(its ETag says so); what brings nothing for a few attempts in a row is unreachable.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, InvalidPathError, PreconditionError

from trimtab_serving.buckets import VARIABLES, in_words, is_absent, is_refusal, is_unsigned, open_bucket
from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.request import Request
from trimtab_toolbox.sources.limits import check_pin, check_total, inside, refuse_pin

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

MAX_FRUITLESS = 5
_CHUNK_BYTES = 1 << 20
_CLIENT: ClientConfig = {
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=30),
    "timeout": timedelta(hours=1),
    "user_agent": "trimtab",
}
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
        store = open_bucket(f"{parts.scheme}://{parts.netloc}", _CLIENT, _RETRY)
        return _fetch(store, request, key, into, pause)
    except (BaseError, OSError) as error:
        raise _failure(request, parts.scheme, error) from error


def _fetch(store: Any, request: Request, key: str, into: Path, pause: Callable[[float], None]) -> Path:
    into.mkdir(parents=True, exist_ok=True)
    found = _found(store, key)
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


def _found(store: Any, key: str) -> Sequence[Any]:
    """The object, or what lies below it. A bucket may allow to get what it does not allow to list."""
    try:
        entries = [entry for batch in obstore.list(store, prefix=key) for entry in batch]
    except BaseError as error:
        if not is_refusal(error):
            raise
        try:
            return [obstore.head(store, key)]
        except FileNotFoundError:
            raise error from None
    # Consoles and hierarchical accounts keep folders as empty objects.
    folders = {key} | {str(parent) for entry in entries for parent in PurePosixPath(entry["path"]).parents}
    return [entry for entry in entries if entry["size"] or entry["path"] not in folders] or [obstore.head(store, key)]


class _Transfer:
    """One object on its way into a file."""

    def __init__(self, store: Any, entry: Any, target: Path) -> None:
        self._store, self._path, self._target = store, str(entry["path"]), target
        self._size, self._etag = int(entry["size"]), _bare(entry.get("e_tag"))
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
                    raise self._changed() from error
                except (BaseError, OSError) as error:
                    if is_absent(error) or is_refusal(error) or fruitless >= MAX_FRUITLESS:
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
            # Azure lists what it later wants in quotes without them.
            options["if_match"] = f'"{self._etag}"'
        answer = obstore.get(self._store, self._path, options=options)
        # Not every server keeps to If-Match.
        found = _bare(answer.meta.get("e_tag"))
        if int(answer.meta["size"]) != self._size or self._etag not in ("", found):
            raise self._changed()
        self._etag = found
        for chunk in answer.stream(min_chunk_size=_CHUNK_BYTES):
            data = memoryview(chunk)
            if self._received + len(data) > self._size:
                raise self._changed()
            self._received += len(data)
            self._hasher.update(data)
            out.write(data)

    def _changed(self) -> Failure:
        message = f"{self._path} was changed while it was being fetched; it will be tried again"
        return Failure(Reason.SOURCE_UNREACHABLE, message)


def _bare(etag: str | None) -> str:
    return (etag or "").removeprefix("W/").strip('"')


def _failure(request: Request, scheme: str, error: BaseException) -> Failure:
    said = in_words(error)
    if is_absent(error) or isinstance(error, InvalidPathError):
        message = f"{request.uri} does not exist: there is no such object, and nothing below it; check bucket and path"
        return Failure(Reason.SOURCE_NOT_FOUND, message)
    if is_unsigned(error):
        message = (
            f"there are no credentials for {request.uri}, and this machine could not be asked for any: {said}; give "
            f"{VARIABLES[scheme]} in the Secret of spec.source.credentialsSecretName"
        )
        return Failure(Reason.SOURCE_NOT_FOUND if is_refusal(error) else Reason.SOURCE_UNREACHABLE, message)
    if is_refusal(error):
        message = (
            f"the bucket does not let the import read {request.uri}: {said}; check the credentials "
            "(spec.source.credentialsSecretName) and that they may list and get"
        )
        return Failure(Reason.SOURCE_NOT_FOUND, message)
    return Failure(Reason.SOURCE_UNREACHABLE, f"{request.uri} could not be fetched: {said}; it will be tried again")
