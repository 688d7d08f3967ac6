"""How a step of the image ends: one failure type, one JSON object as last words, two exit codes.

The operator never reads logs. It reads the termination message of a container, at most 4,096 bytes of JSON,
and the exit code, which alone says whether trying again can help. Both are made here so that the import Job,
the fetch step and the server cannot differ in how they say goodbye.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

TERMINATION_LOG = "/dev/termination-log"
"""Where Kubernetes reads a container's last words, unless TRIMTAB_RESULT_PATH says otherwise."""

MAX_RESULT_BYTES = 4096
"""Kubernetes keeps no more of a termination message than this."""

EXIT_PERMANENT = 10
EXIT_RETRIABLE = 75


class Reason(StrEnum):
    """Every way in which an image may fail, as the operator knows it."""

    SOURCE_UNREACHABLE = "SourceUnreachable"
    STORE_UNREACHABLE = "StoreUnreachable"
    TIMEOUT = "Timeout"
    SOURCE_NOT_FOUND = "SourceNotFound"
    DIGEST_MISMATCH = "DigestMismatch"
    PICKLE_REFUSED = "PickleRefused"
    TOO_LARGE = "TooLarge"
    UNSAFE_ARCHIVE = "UnsafeArchive"
    UNSUPPORTED_FORMAT = "UnsupportedFormat"
    LOAD_FAILED = "LoadFailed"
    HOLDOUT_INVALID = "HoldoutInvalid"
    BUNDLE_MISSING = "BundleMissing"
    BUNDLE_INVALID = "BundleInvalid"
    SETTINGS_INVALID = "SettingsInvalid"


RETRIABLE = frozenset({Reason.SOURCE_UNREACHABLE, Reason.STORE_UNREACHABLE, Reason.TIMEOUT})


class Failure(Exception):  # noqa: N818 - it is the outcome of a step, spoken of as such
    """A step ended for a reason the operator understands; `message` says what, where, and what to do."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason
        self.message = message

    @property
    def retriable(self) -> bool:
        """Whether the same step may succeed later without anybody changing anything."""
        return self.reason in RETRIABLE

    @property
    def exit_code(self) -> int:
        """75 when it may be tried again, 10 when it may not."""
        return EXIT_RETRIABLE if self.retriable else EXIT_PERMANENT

    def result(self) -> dict[str, Any]:
        """The last words, ready for `report`."""
        return {"schema": 1, "reason": self.reason.value, "message": self.message}


def report(path: str | os.PathLike[str], result: Mapping[str, Any]) -> None:
    """Write `result` as JSON of at most 4,096 bytes to `path`.

    Long column lists are cut first (`columnsOmitted` counts what is gone), then long texts. A path that
    cannot be written is said on stderr and not raised: the exit code must still be that of the real outcome.
    """
    text = fit(result)
    try:
        with open(path, "wb") as file:
            file.write(text)
    except OSError as error:
        sys.stderr.write(f"cannot write the result to {path}: {error.strerror}; it was {text.decode()}\n")


def fit(result: Mapping[str, Any], limit: int = MAX_RESULT_BYTES) -> bytes:
    """`result` as UTF-8 JSON no longer than `limit` bytes; raises ValueError when nothing is left to cut."""
    content: dict[str, Any] = json.loads(json.dumps(result))
    text = _encode(content)
    while len(text) > limit:
        if not (_cut_columns(content) or _cut_text(content, len(text) - limit)):
            raise ValueError(f"a result of {len(text)} bytes cannot be cut to {limit}")
        text = _encode(content)
    return text


def _encode(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _cut_columns(content: dict[str, Any]) -> bool:
    tensors = [tensor for side in ("inputs", "outputs") for tensor in content.get(side, [])]
    longest: dict[str, Any] = max(tensors, key=lambda tensor: len(tensor.get("columns") or []), default={})
    columns = longest.get("columns") or []
    if not columns:
        return False
    kept = len(columns) // 2
    longest["columnsOmitted"] = longest.get("columnsOmitted", 0) + len(columns) - kept
    longest["columns"] = columns[:kept]
    return True


def _cut_text(content: dict[str, Any], excess: int) -> bool:
    texts = {key: value for key, value in content.items() if isinstance(value, str)}
    key = max(texts, key=lambda name: len(texts[name].encode()), default="")
    encoded = texts.get(key, "").encode()
    ellipsis = "…"
    # JSON escapes may make a character longer than its bytes, so the caller measures and comes again.
    kept = max(len(encoded) - excess - 2 * len(ellipsis.encode()), len(encoded) // 2)
    if kept < 16:
        return False
    content[key] = encoded[:kept].decode(errors="ignore") + ellipsis
    return True
