"""Logs as JSON lines; each line written during a reconciliation names the object and the reconciliation."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

context: ContextVar[dict[str, str]] = ContextVar("log context", default={})  # noqa: B039 - never mutated
SPEAKERS = frozenset({"trimtab", "kopf", "asyncio", "aiohttp", "kubernetes"})
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, message, context and whatever was given as `extra`."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **context.get(),
            **{k: v for k, v in vars(record).items() if k not in STANDARD and not k.startswith("k8s_")},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """The same for people at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """A plain line with the context at its end."""
        extra = {**context.get(), **{k: v for k, v in vars(record).items() if k not in STANDARD}}
        tail = " ".join(f"{k}={v}" for k, v in extra.items())
        text = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname:7} {record.getMessage()} {tail}".rstrip()
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def configure(level: str, style: str) -> None:
    """Send everything to standard output. kopf logs whole bodies below WARNING, which may hold what users keep
    private, so it never goes lower than that. Of other libraries nothing is logged: those that send messages name the
    URLs they send to, with the tokens in them, and from threads of their own."""
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(lambda record: record.name.partition(".")[0] in SPEAKERS)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("kopf", "asyncio", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
