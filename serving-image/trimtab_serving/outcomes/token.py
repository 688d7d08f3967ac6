"""The prediction token: all the server must know of a prediction later, signed, so that it need not remember it.

30 bytes in 40 characters of URL-safe base64: 20 bytes of content and the first 10 of their HMAC-SHA256. Whoever
holds the token can read it (it says no more than the answer did) and cannot change it: 80 bits cannot be guessed
against a server. The replicas of a model share the key, so any of them takes what any of them has signed.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import math
import secrets
import struct
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import b2a_base64
from collections.abc import Callable, Iterable
from typing import NamedTuple

_CONTENT = struct.Struct(">II4sfHH")
_pack = _CONTENT.pack
_CONTENT_BYTES = 20
_BLOCK_BYTES = 64
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_TAG_BYTES = 10
_TEXT_BYTES = 40
_NONE = 0xFFFF
CLOCK_SKEW_SECONDS = 300
MIN_KEY_BYTES = 16


class TokenRefused(Exception):  # noqa: N818 - the token's fault
    """The token cannot be taken; `why` is forged or expired."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Token(NamedTuple):
    """What a token says."""

    issued: int
    """Unix seconds."""
    nonce: int
    revision: str
    """The first 8 hex digits of the bundle's digest."""
    score: float
    """NaN when the model gave none."""
    label: int
    """The index of the predicted class, -1 when there is none."""
    bucket: int
    """The user's bucket, -1 when there is none."""
    tag: bytes

    @property
    def fingerprint(self) -> int:
        """63 bits that tell this token from every other."""
        return int.from_bytes(self.tag[:8], "big") >> 1


class Signer:
    """Signs and verifies tokens with one key."""

    def __init__(self, key: bytes, revision: str, clock: Callable[[], float] = time.time) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise ValueError(f"the token key has {len(key)} bytes; at least {MIN_KEY_BYTES} are needed")
        # HMAC-SHA256 with the key already taken in on both sides: a copy of each state costs a quarter of hmac.digest.
        self._inner = hashlib.sha256(_padded(key, 0x36))
        self._outer = hashlib.sha256(_padded(key, 0x5C))
        self._revision = bytes.fromhex(revision[:8])
        self._clock = clock
        # Tokens of one second differ in this number even when all else is the same, over all replicas.
        self._nonces = itertools.count(secrets.randbits(32))

    def sign(self, score: float, label: int, bucket: int) -> bytes:
        """A new token, 40 ASCII bytes. `score` may be NaN, `label` and `bucket` -1."""
        return b2a_base64(self._raw(int(self._clock()), score, label, bucket), newline=False).translate(_URL_SAFE)

    def sign_all(self, scores: Iterable[float], labels: Iterable[int], buckets: Iterable[int]) -> list[bytes]:
        """A new token for each score, label and bucket."""
        raw = b"".join(map(self._raw, itertools.repeat(int(self._clock())), scores, labels, buckets))
        # Each takes 40 characters without padding, so all can be spelled at once.
        text = b2a_base64(raw, newline=False).translate(_URL_SAFE)
        return [text[start : start + _TEXT_BYTES] for start in range(0, len(text), _TEXT_BYTES)]

    def _raw(self, now: int, score: float, label: int, bucket: int) -> bytes:
        nonce = next(self._nonces) & 0xFFFFFFFF
        try:
            content = _pack(now, nonce, self._revision, score, label & _NONE, bucket & _NONE)
        except OverflowError:  # more than four bytes hold
            infinite = math.copysign(math.inf, score)
            content = _pack(now, nonce, self._revision, infinite, label & _NONE, bucket & _NONE)
        return content + self._tag(content)

    def _tag(self, content: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(content)
        outer.update(inner.digest())
        return outer.digest()[:_TAG_BYTES]

    def verify(self, text: str, lifetime: float) -> Token:
        """Read a token; TokenRefused when its signature is not ours or it is older than `lifetime` seconds."""
        try:
            raw = urlsafe_b64decode(text.encode("ascii"))
        except ValueError:
            raise TokenRefused("forged") from None
        content, tag = raw[:_CONTENT_BYTES], raw[_CONTENT_BYTES:]
        expected = self._tag(content)
        # One spelling a token: base64 decoders overlook characters, and a second spelling would be a replay.
        if not hmac.compare_digest(tag, expected) or urlsafe_b64encode(raw) != text.encode("ascii"):
            raise TokenRefused("forged")
        issued, nonce, revision, score, label, bucket = _CONTENT.unpack(content)
        age = self._clock() - issued
        if age > lifetime or age < -CLOCK_SKEW_SECONDS:
            raise TokenRefused("expired")
        return Token(issued, nonce, revision.hex(), score, _signed(label), _signed(bucket), tag)


def _signed(value: int) -> int:
    return -1 if value == _NONE else value


def _padded(key: bytes, pad: int) -> bytes:
    block = hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key
    return bytes(byte ^ pad for byte in block.ljust(_BLOCK_BYTES, b"\0"))
