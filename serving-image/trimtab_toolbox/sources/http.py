"""One file over HTTP: resumed where it broke off, counted, and checked against its pin.

A model is large and the way to it may be poor, so a broken or silent transfer goes on at the byte where it
stopped, provided the server says (`If-Range`) that it is still the same file. Each attempt that brings no new
byte counts; after a few of them the source is unreachable.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

import httpx

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.request import Request

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
MAX_FRUITLESS = 5
"""How many attempts in a row may bring nothing before the source counts as unreachable."""

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)\Z")


@dataclass
class _Transfer:
    """What is known about the file so far."""

    request: Request
    path: Path
    received: int = 0
    total: int | None = None
    validator: str = ""
    hasher: hashlib._Hash = field(default_factory=hashlib.sha256)

    @property
    def name(self) -> str:
        return redact(self.request.uri)

    def restart(self) -> None:
        self.received, self.total, self.validator = 0, None, ""
        self.hasher = hashlib.sha256()
        self.path.write_bytes(b"")


class _BrokenOff(Exception):  # noqa: N818 - it is an event of a transfer, not an error of ours
    """This attempt is over, another may bring more. `wait` is what the server asked for, in seconds."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


def fetch(
    request: Request,
    into: Path,
    *,
    name: str = "",
    headers: Mapping[str, str] = MappingProxyType({}),
    silence_seconds: float = SILENCE_SECONDS,
    pause: Callable[[float], None] = time.sleep,
) -> Path:
    """Download the file at `request.uri` into `into`, as `name` if one is given, and return its path.

    Headers with credentials go to the address itself and not to where it redirects on another host.
    Raises SourceNotFound (4xx), SourceUnreachable, TooLarge or DigestMismatch.
    """
    into.mkdir(parents=True, exist_ok=True)
    transfer = _Transfer(request, into / (name or _file_name(request.uri)))
    transfer.restart()
    timeout = httpx.Timeout(silence_seconds, connect=CONNECT_SECONDS)
    # Asking for the bytes as they are: a length or a range of compressed bytes would mean something else.
    sent = {"accept-encoding": "identity", "user-agent": "trimtab", **headers}
    with httpx.Client(timeout=timeout, headers=sent, follow_redirects=True, max_redirects=5) as client:
        client.event_hooks["request"].append(lambda request: _keep_encrypted(transfer, request))
        _until_whole(client, transfer, pause)
    _check_pin(transfer)
    return transfer.path


def _keep_encrypted(transfer: _Transfer, request: httpx.Request) -> None:
    """Called for each request, those that follow a redirect too."""
    if transfer.request.uri.startswith("https:") and request.url.scheme != "https":
        message = (
            f"{transfer.name} leads to {redact(str(request.url))}, which is not encrypted, so anybody on the way could "
            "change the model; give that address itself, with a digest, if it must be"
        )
        raise Failure(Reason.SOURCE_NOT_FOUND, message)


def _until_whole(client: httpx.Client, transfer: _Transfer, pause: Callable[[float], None]) -> None:
    furthest = fruitless = 0
    while True:
        try:
            return _attempt(client, transfer)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
            message = f"{transfer.name} leads to no file: {error}; check the address"
            raise Failure(Reason.SOURCE_NOT_FOUND, message) from error
        except (httpx.TransportError, _BrokenOff) as error:
            # Compared with the furthest ever, or a server that cannot resume would keep us here for good.
            fruitless = 0 if transfer.received > furthest else fruitless + 1
            furthest = max(furthest, transfer.received)
            if fruitless >= MAX_FRUITLESS:
                raise _unreachable(transfer, error) from error
            asked = error.wait if isinstance(error, _BrokenOff) else 0.0
            pause(max(asked, min(0.5 * 2**fruitless, 10.0)))


def _attempt(client: httpx.Client, transfer: _Transfer) -> None:
    headers = {}
    if transfer.received and transfer.validator:
        headers = {"range": f"bytes={transfer.received}-", "if-range": transfer.validator}
    elif transfer.received:
        transfer.restart()
    with client.stream("GET", transfer.request.uri, headers=headers) as response:
        _check_status(transfer, response)
        _prepare(transfer, response)
        with transfer.path.open("ab") as out:
            # Without a chunk size: with one, what has arrived of a chunk is lost when the connection breaks.
            for chunk in response.iter_raw():
                transfer.received += len(chunk)
                _check_size(transfer, transfer.received)
                transfer.hasher.update(chunk)
                out.write(chunk)
    # httpx holds each answer to its own length, but a server may answer with less than the range asked for.
    if transfer.total is not None and transfer.received < transfer.total:
        raise _BrokenOff(f"the answer ended after {transfer.received} of {transfer.total} bytes")


def _check_status(transfer: _Transfer, response: httpx.Response) -> None:
    code = response.status_code
    if code in (200, 206):
        return
    if code in _AGAIN:
        raise _BrokenOff(f"it answered {code} {response.reason_phrase}", _retry_after(response))
    if code == 416:
        transfer.restart()
        raise _BrokenOff("it has no more the range asked for")
    advice = "check the address"
    if code in (401, 403):
        advice = "the import may not read it: make it readable or give an address that carries the permission"
    message = f"{transfer.name} answered {code} {response.reason_phrase}; {advice}"
    raise Failure(Reason.SOURCE_NOT_FOUND, message)


def _prepare(transfer: _Transfer, response: httpx.Response) -> None:
    """Decide whether the body goes on where we stopped or starts anew, and learn the whole length."""
    length = response.headers.get("content-length", "")
    expected = int(length) if length.isdigit() else None
    if response.status_code == 206:
        match = _CONTENT_RANGE.match(response.headers.get("content-range", ""))
        if match is None or int(match.group(1)) != transfer.received:
            transfer.restart()
            raise _BrokenOff("it answered with another range than the one asked for")
        transfer.total = int(match.group(2)) if match.group(2) != "*" else transfer.total
    else:
        transfer.restart()
        transfer.total = expected
        # A weak ETag does not promise the same bytes, so it cannot vouch for a resumed transfer.
        etag = response.headers.get("etag", "")
        transfer.validator = etag if etag.startswith('"') else response.headers.get("last-modified", "")
    _check_size(transfer, transfer.total or 0)


def _check_size(transfer: _Transfer, size: int) -> None:
    limit = transfer.request.max_bytes
    if size > limit:
        known = f"{transfer.total} bytes" if transfer.total is not None else f"more than {limit} bytes"
        message = (
            f"{transfer.name} has {known}, and {limit} are allowed; "
            "publish a smaller model or raise the limit (TRIMTAB_MAX_BYTES)"
        )
        raise Failure(Reason.TOO_LARGE, message)


def _check_pin(transfer: _Transfer) -> None:
    found, wanted = transfer.hasher.hexdigest(), transfer.request.digest
    if wanted and found != wanted:
        message = (
            f"{transfer.name} has the digest sha256:{found} ({transfer.received} bytes), but sha256:{wanted} is "
            "pinned: the file was changed; find out why, then pin the new digest"
        )
        raise Failure(Reason.DIGEST_MISMATCH, message)


def _unreachable(transfer: _Transfer, error: Exception) -> Failure:
    why = " ".join(str(error).split())[:300] or type(error).__name__
    so_far = f" after {transfer.received} bytes" if transfer.received else ""
    message = (
        f"{transfer.name} could not be downloaded{so_far}: {why} ({MAX_FRUITLESS} attempts in a row brought "
        "nothing); it will be tried again"
    )
    return Failure(Reason.SOURCE_UNREACHABLE, message)


def _retry_after(response: httpx.Response) -> float:
    value = response.headers.get("retry-after", "")
    return min(float(value), 30.0) if value.isdigit() else 0.0


def _file_name(uri: str) -> str:
    """The last part of the path: its ending tells the format when the content cannot."""
    name = unquote(urlsplit(uri).path).rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[-100:].lstrip(".") or "model"


def redact(uri: str) -> str:
    """`uri` without user, password and query, which may hold a permission; fit for messages."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
