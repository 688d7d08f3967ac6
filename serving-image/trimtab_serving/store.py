"""The model store: bundles by digest, in a directory, a bucket, or behind MLflow's artifact proxy.

`obstore` speaks to all of them, so this module only says what is ours: where a bundle lies, that its bytes
are hashed while they arrive, that a second upload changes nothing, and what each way to fail means to the
operator.
"""

from __future__ import annotations

import base64
import hashlib
import mmap
import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import HTTPStore, LocalStore

from trimtab_serving.buckets import in_words, is_refusal, open_bucket
from trimtab_serving.outcome import Failure, Reason

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

SCHEMES = ("file", "s3", "gs", "az", "http", "https")
DIGEST = re.compile(r"sha256:([0-9a-f]{64})\Z")
CHUNK_BYTES = 1 << 20

_CONNECT_TIMEOUT = timedelta(seconds=5)
_SILENCE_TIMEOUT = timedelta(seconds=30)
_TRANSFER_TIMEOUT = timedelta(hours=1)
_RETRY: RetryConfig = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=5)},
}

_T = TypeVar("_T")


def check_digest(digest: str) -> str:
    """The 64 hex digits of `digest`; Failure SettingsInvalid when it is not `sha256:<64 hex digits>`."""
    match = DIGEST.match(digest)
    if match is None:
        raise Failure(
            Reason.SETTINGS_INVALID,
            f"{digest!r} is not a digest; it must be sha256: and 64 lower-case hex digits",
        )
    return match.group(1)


class Store:
    """Bundles of one store. Methods block; every failure is a `Failure` with a reason of the contract."""

    def __init__(self, uri: str, connect: Callable[[bool], Any]) -> None:
        """`connect(writing)` opens the client that reads or, if asked to, the one that writes."""
        self.uri = uri
        self._connect = connect

    def exists(self, digest: str) -> bool:
        """Whether the store has an object of this digest (its bytes are not read)."""
        return self._size(digest) is not None

    def get(self, digest: str, into: IO[bytes], max_bytes: int | None = None) -> int:
        """Stream the bundle into `into` and return its size in bytes.

        Raises BundleMissing, DigestMismatch (the bytes are not those the digest names), TooLarge (more than
        `max_bytes`) or StoreUnreachable, and lets through the OSError of a failing `into`. After a failure
        `into` holds bytes that must not be used.
        """
        path = _path(digest)
        hasher, size = hashlib.sha256(), 0
        for chunk in self._chunks(path, digest):
            size += len(chunk)
            if max_bytes is not None and size > max_bytes:
                message = f"bundle {digest} in {self.uri} is larger than the {max_bytes} bytes allowed"
                raise Failure(Reason.TOO_LARGE, message)
            hasher.update(chunk)
            into.write(chunk)
        if f"sha256:{hasher.hexdigest()}" != digest:
            message = (
                f"the object {path} in {self.uri} has the digest sha256:{hasher.hexdigest()} ({size} bytes), "
                f"not {digest}; it was changed or damaged: delete the object and import the model again"
            )
            raise Failure(Reason.DIGEST_MISMATCH, message)
        return size

    def put(self, digest: str, file: str | os.PathLike[str]) -> bool:
        """Upload `file` under `digest`; False when the store already has it with the same size.

        The file's bytes are hashed first: DigestMismatch when they are not what `digest` names.
        """
        path = _path(digest)
        size = os.path.getsize(file)
        if _hash(file) != digest:
            raise Failure(Reason.DIGEST_MISMATCH, f"{os.fspath(file)} is not {digest}; pack it again")
        if self._size(digest) == size:
            return False
        self._guard(digest, lambda: _upload(self._connect(True), path, file))
        return True

    def _size(self, digest: str) -> int | None:
        path = _path(digest)
        try:
            return int(self._guard(digest, lambda: obstore.head(self._connect(False), path))["size"])
        except Failure as failure:
            if failure.reason is Reason.BUNDLE_MISSING:
                return None
            raise

    def _chunks(self, path: str, digest: str) -> Iterator[memoryview]:
        # The guard is around the store's part only: what the reader does with a chunk is not the store's fault.
        stream = self._guard(
            digest, lambda: iter(obstore.get(self._connect(False), path).stream(min_chunk_size=CHUNK_BYTES))
        )
        while (chunk := self._guard(digest, lambda: next(stream, None))) is not None:
            yield memoryview(chunk)

    def _guard(self, digest: str, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except FileNotFoundError as error:
            message = f"the store {self.uri} has no bundle {digest}; import the model into this store"
            raise Failure(Reason.BUNDLE_MISSING, message) from error
        except (BaseError, OSError) as error:
            message = f"the store {self.uri} cannot be reached: {in_words(error)}"
            if is_refusal(error):
                message = f"the store {self.uri} refused access: {in_words(error)}; check its credentials"
            raise Failure(Reason.STORE_UNREACHABLE, message) from error


def open_store(uri: str, environ: Mapping[str, str] = os.environ) -> Store:
    """The store at `uri`; nothing is contacted yet. Failure SettingsInvalid for a URI that cannot be a store.

    Buckets take credentials from the variables of their own tools (`AWS_…`, `GOOGLE_…`, `AZURE_…`), http
    stores from `MLFLOW_TRACKING_TOKEN` or `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`.
    """
    parts = urlsplit(uri)
    if parts.scheme not in SCHEMES:
        message = f"the store {uri!r} is not understood; use one of {', '.join(f'{s}://' for s in SCHEMES)}"
        raise Failure(Reason.SETTINGS_INVALID, message)
    if parts.username or parts.password:
        message = f"the store's URI for {parts.hostname} holds credentials; give them in the environment instead"
        raise Failure(Reason.SETTINGS_INVALID, message)
    if parts.scheme == "file":
        return Store(uri, lambda writing: _local(Path(unquote(parts.path)), writing))
    if parts.scheme in ("http", "https"):
        headers = _authorization(environ)
        return Store(
            uri,
            lambda writing: HTTPStore(uri, client_options=_client(uri, writing, headers), retry_config=_RETRY),
        )
    return Store(uri, lambda writing: open_bucket(uri, _client(uri, writing, {}), _RETRY, environ))


def _local(root: Path, writing: bool) -> LocalStore:
    # A directory nobody has written to yet is an empty store.
    if not writing and not root.is_dir():
        raise FileNotFoundError(root)
    return LocalStore(root, mkdir=writing)


def _client(address: str, writing: bool, headers: Mapping[str, str]) -> ClientConfig:
    options: ClientConfig = {
        "connect_timeout": _CONNECT_TIMEOUT,
        "timeout": _TRANSFER_TIMEOUT,
        "user_agent": "trimtab",
        "allow_http": address.startswith("http://"),
    }
    if headers:
        options["default_headers"] = dict(headers)
    if not writing:
        # An upload hears nothing until its last byte is sent, so only reads may be cut for silence.
        options["read_timeout"] = _SILENCE_TIMEOUT
    return options


def _authorization(environ: Mapping[str, str]) -> dict[str, str]:
    token = environ.get("MLFLOW_TRACKING_TOKEN")
    if token:
        return {"authorization": f"Bearer {token}"}
    user, password = environ.get("MLFLOW_TRACKING_USERNAME"), environ.get("MLFLOW_TRACKING_PASSWORD")
    if user and password:
        return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
    return {}


def _path(digest: str) -> str:
    return f"sha256/{check_digest(digest)}"


def _hash(file: str | os.PathLike[str]) -> str:
    with open(file, "rb") as source:
        return f"sha256:{hashlib.file_digest(source, 'sha256').hexdigest()}"


def _upload(client: Any, path: str, file: str | os.PathLike[str]) -> None:
    if not isinstance(client, HTTPStore):
        obstore.put(client, path, Path(file))
        return
    # Plain HTTP has no multipart: the mapped file goes as one body, without a copy of it in memory.
    with open(file, "rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as content:
        obstore.put(client, path, content, use_multipart=False)
