"""What a client is told when its request cannot be served."""

from __future__ import annotations


class RequestError(Exception):
    """The request is at fault, or cannot be taken now; `message` names the field and says what to do."""

    def __init__(self, message: str, status: int = 400, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.headers = headers
