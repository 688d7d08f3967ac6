"""Log lines: one JSON object each, with the object and the reconciliation they belong to."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from trimtab.runtime import logs

log = logging.getLogger("trimtab.test")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Logging is the process's: give pytest its handlers back."""
    root, noisy = logging.getLogger(), [logging.getLogger(name) for name in ("kopf", "asyncio", "aiohttp.access")]
    before = (root.level, root.handlers[:], [logger.level for logger in noisy])
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    for logger, level in zip(noisy, before[2], strict=True):
        logger.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_is_an_object_with_everything_that_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    token = logs.context.set({"object": "MLModel/ns/a", "reconcile": "1234"})
    log.info("deleting %s", "it", extra={"child": "Job/ns/b", "k8s_ref": "kopf's", "count": 3, "odd": {1}})
    logs.context.reset(token)
    log.warning("after")
    first, second = lines(capsys)
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "info",
        "logger": "trimtab.test",
        "message": "deleting it",
        "object": "MLModel/ns/a",
        "reconcile": "1234",
        "child": "Job/ns/b",
        "count": 3,
        "odd": "{1}",
    }
    assert set(second) == {"time", "level", "logger", "message"}


def test_an_error_brings_its_traceback_in_the_same_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    try:
        raise KeyError("a bug")
    except KeyError:
        log.exception("failed")
    (line,) = lines(capsys)
    assert line["level"] == "error"
    assert "KeyError: 'a bug'" in line["exception"]


def test_people_get_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "text")
    token = logs.context.set({"object": "MLModel/ns/a"})
    log.info("deleting", extra={"child": "Job/ns/b"})
    logs.context.reset(token)
    try:
        raise KeyError("a bug")
    except KeyError:
        log.exception("failed")
    out = capsys.readouterr().out
    assert "INFO    deleting object=MLModel/ns/a child=Job/ns/b\n" in out
    assert "ERROR   failed\nTraceback" in out


@pytest.mark.parametrize(("level", "shown"), [("DEBUG", 3), ("INFO", 2), ("WARNING", 1), ("ERROR", 0)])
def test_the_level_is_kept(capsys: pytest.CaptureFixture[str], level: str, shown: int) -> None:
    logs.configure(level, "json")
    log.debug("x")
    log.info("x")
    log.warning("x")
    assert len(lines(capsys)) == shown


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "ERROR"])
def test_the_watch_engine_never_logs_what_users_keep_private(capsys: pytest.CaptureFixture[str], level: str) -> None:
    logs.configure(level, "json")
    for name in ("kopf", "kopf.objects", "kopf._core.reactor", "asyncio", "aiohttp.access"):
        logging.getLogger(name).debug("body with a secret")
        logging.getLogger(name).info("body with a secret")
    assert lines(capsys) == []


def test_lines_go_to_standard_output() -> None:
    logs.configure("INFO", "json")
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stdout


def test_libraries_that_send_messages_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("DEBUG", "json")
    for name in ("apprise", "urllib3.connectionpool", "requests", "trimtab.adapters.notify"):
        logging.getLogger(name).error("POST /services/secret-token")
    assert [line["logger"] for line in lines(capsys)] == ["trimtab.adapters.notify"]
