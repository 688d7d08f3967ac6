"""Asks components whether they are ready. Nothing here sleeps for a guessed time: it asks until the answer is yes."""

from __future__ import annotations

import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import cache
from pathlib import Path

from hack.command import Failure, run, tail

Probe = Callable[[], bool]
INTERVAL_SECONDS = 0.1


def http(url: str) -> Probe:
    """Ready when a plain GET answers 200."""
    return lambda: _answers(url, None)


def https(url: str, authority: Path, certificate: Path | None = None, key: Path | None = None) -> Probe:
    """Ready when a GET over TLS answers 200, with the server checked against `authority`."""

    @cache
    def context() -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(authority))
        if certificate and key:
            made.load_cert_chain(certificate, key)
        return made

    return lambda: _answers(url, context())


def containerd(socket: Path, log: Path) -> Probe:
    """Ready when containerd's CRI service takes requests.

    The plugin counts as loaded a moment before its service is initialised, and a kubelet that asks in between gives
    up for good. The last thing the service announces before it is initialised is its streaming server.
    """

    def ready() -> bool:
        if not log.exists() or "Start streaming server" not in log.read_text(errors="replace"):
            return False
        listed = run(["ctr", "--address", str(socket), "--timeout", "5s", "plugins", "ls"], check=False)
        return re.search(r"\bcri\s+\S+\s+ok\b", listed) is not None

    return ready


def wait(what: str, probe: Probe, seconds: float, alive: Callable[[], bool], log: Path | None = None) -> None:
    """Wait until `probe` says yes; fails as soon as `alive` says no, or after `seconds`, and quotes the log's end."""
    deadline = time.monotonic() + seconds
    while not probe():
        if not alive():
            raise Failure(f"{what} ended before it was ready{_quoted(log)}")
        if time.monotonic() > deadline:
            raise Failure(f"{what} was not ready within {seconds:.0f} s{_quoted(log)}")
        time.sleep(INTERVAL_SECONDS)


def _quoted(log: Path | None) -> str:
    if log is None or not log.exists():
        return ""
    return f"; the end of {log}:\n{tail(log.read_text(errors='replace'))}"


def _answers(url: str, context: ssl.SSLContext | None) -> bool:
    # The empty proxy map keeps a proxy from the environment away from the cluster's own addresses.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
