"""What a client is told when its request cannot be served."""

from __future__ import annotations

from collections.abc import Iterable


class RequestError(Exception):
    """The request is at fault, or cannot be taken now; `message` names the field and says what to do."""

    def __init__(self, message: str, status: int = 400, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.headers = headers
        self.tensor: str | None = None
        """The model's input whose datatype, shape or values are at fault, where that is known."""


def quoted(names: Iterable[str]) -> str:
    """Names in quotes for a message, cut after eight."""
    given = [repr(name[:128]) for name in names]
    more = f" and {len(given) - 8} more" if len(given) > 8 else ""
    return ", ".join(given[:8]) + more
