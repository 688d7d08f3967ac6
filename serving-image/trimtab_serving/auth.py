"""Who may predict: bearer tokens from a directory, each file one token, as a mounted Secret looks.

Several are valid at once, so that a token can be replaced without a gap: add the new one, move the clients, take
the old one away. The directory is read again every few seconds. When it is empty or cannot be read nobody is let
in: a Secret that is gone must not open the door. Health, metrics, counts and the drift profile stay open; they say
nothing of any one row.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable
from pathlib import Path

from trimtab_serving.outcome import Failure, Reason
from trimtab_serving.protocol.errors import RequestError

log = logging.getLogger("trimtab.auth")

RELOAD_SECONDS = 2.0
MAX_TOKEN_BYTES = 4096
_CHALLENGE = ((b"www-authenticate", b'Bearer realm="trimtab"'),)
_SCHEME = b"bearer "


def require_tokens(directory: Path | None) -> None:
    """Failure SettingsInvalid when tokens are asked for and there is none: what lets nobody in must not look well."""
    if directory is not None and not _read(directory):
        message = (
            f"TRIMTAB_TOKENS_DIR {directory} holds no token: create the Secret that is mounted there, one entry each"
        )
        raise Failure(Reason.SETTINGS_INVALID, message)


class Door:
    """Checks the Authorization header. Without a directory everybody may come in."""

    def __init__(self, directory: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._clock = clock
        self._tokens: tuple[bytes, ...] = ()
        self._read_at = -RELOAD_SECONDS
        self._told: int | None = None

    def admit(self, authorization: bytes | None) -> None:
        """Return for a valid token; RequestError 401 without one, 403 with one that is not valid."""
        if self._directory is None:
            return
        if self._clock() - self._read_at >= RELOAD_SECONDS:
            self._reload(self._directory)
        if authorization is None or authorization[:7].lower() != _SCHEME:
            message = "this server takes requests with a token only; send the header Authorization: Bearer <token>"
            raise RequestError(message, 401, _CHALLENGE)
        given = authorization[7:].strip()
        # All are compared, whichever matches: time tells nothing about how many there are or which it was.
        matches = [hmac.compare_digest(given, token) for token in self._tokens]
        if not any(matches):
            raise RequestError("the token is not one of this server's; ask its owner for a valid one", 403)

    def _reload(self, directory: Path) -> None:
        self._read_at = self._clock()
        self._tokens = _read(directory)
        if len(self._tokens) != self._told:
            self._told = len(self._tokens)
            log.info("tokens read", extra={"tokens": self._told})


def _read(directory: Path) -> tuple[bytes, ...]:
    try:
        # Secrets are mounted as links beside a hidden directory of the real files.
        files = [path for path in sorted(directory.iterdir()) if not path.name.startswith(".") and path.is_file()]
        contents = [path.read_bytes()[:MAX_TOKEN_BYTES].strip() for path in files]
    except OSError as error:
        log.error("the tokens cannot be read; nobody is let in", extra={"why": str(error)})
        return ()
    return tuple(content for content in contents if content)
