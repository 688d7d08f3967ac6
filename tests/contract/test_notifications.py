"""Messages through the real apprise to a receiver on this machine that is down and comes back; no log has its URL."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.processes import free_port
from trimtab.adapters.channels import Channels
from trimtab.adapters.notify import Notifier, NotifyError
from trimtab.core.plan import Notice
from trimtab.runtime import logs

SECRET = "s3cret-token"
NOTICE = Notice("run-1/Promoted", "hook", "credit: version 7 is promoted", "It passed its gate: +0.012 ± 0.004.")


class Receiver:
    """A webhook that answers with a status of the test's choice, or is not there."""

    def __init__(self) -> None:
        self.port = free_port()
        self.status = 200
        self.got: list[dict[str, Any]] = []
        self.refused = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def up(self) -> None:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def down(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    async def _take(self, request: web.Request) -> web.Response:
        if self.status != 200:
            self.refused.set()
        else:
            self.got.append({"path": request.path, **await request.json()})
        return web.Response(status=self.status)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    yield made
    await made.down()


@pytest.fixture
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


@pytest.mark.usefixtures("_restored")
async def test_a_receiver_that_is_down_and_then_up_gets_each_message_once(
    receiver: Receiver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("DEBUG", "json")
    looks: asyncio.Queue[None] = asyncio.Queue()
    counted: Counter[tuple[str, str]] = Counter()
    (tmp_path / "hook").write_text(f"json://user:{SECRET}@127.0.0.1:{receiver.port}/{SECRET}/hook\n")
    notifier = Notifier(
        Channels(tmp_path),
        lambda: True,
        lambda channel, result: counted.update([(channel, result)]),
        asyncio.get_running_loop().time,
        pause=lambda failures: 0.05,
    )

    async def looked() -> None:
        await asyncio.wait_for(looks.get(), 60)

    def send() -> None:
        notifier.send(NOTICE, lambda: looks.put_nowait(None))

    send()
    await looked()
    with pytest.raises(NotifyError, match="the channel hook did not take it") as caught:
        send()
    receiver.status = 503
    await receiver.up()
    await asyncio.wait_for(receiver.refused.wait(), 60)
    assert receiver.got == []
    receiver.status = 200
    while NOTICE.key not in notifier.delivered([NOTICE.key]):
        await looked()
    send()
    (message,) = receiver.got
    assert (message["path"], message["title"], message["message"]) == (
        f"/{SECRET}/hook",
        NOTICE.title,
        NOTICE.body,
    )
    assert counted["hook", "delivered"] == 1
    notifier.end()
    said = capsys.readouterr()
    assert "a channel does not take messages" in said.out, "our own words are there"
    assert SECRET not in said.out + said.err + str(caught.value)
    assert str(receiver.port) not in said.out


async def test_a_url_that_apprise_does_not_know_is_never_delivered(tmp_path: Path) -> None:
    looks: asyncio.Queue[None] = asyncio.Queue()
    (tmp_path / "hook").write_text("nosuchthing://token\n")
    notifier = Notifier(Channels(tmp_path), lambda: True, lambda *_: None, lambda: 0.0, pause=lambda failures: 0.01)
    notifier.send(NOTICE, lambda: looks.put_nowait(None))
    await asyncio.wait_for(looks.get(), 60)
    assert notifier.delivered([NOTICE.key]) == frozenset()
    notifier.end()
