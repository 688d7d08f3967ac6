"""Messages in the background: once for each key, until they got through, and never with a URL in any word."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trimtab.adapters import notify
from trimtab.adapters.channels import Channels
from trimtab.adapters.notify import Notifier, NotifyError
from trimtab.core.plan import Notice

SLACK = "slack://token-a/token-b/token-c"
NOTICE = Notice("run-1/Promoted", "slack", "credit: version 7 is promoted", "It passed its gate.")


def other(number: int, channel: str = "slack") -> Notice:
    return Notice(f"run-{number}", channel, f"message {number}", "")


class Post:
    """Receivers by URL. Those in `down` take nothing, and those in `held` hang until they are let go."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []
        self.tries: Counter[str] = Counter()
        self.down: set[str] = set()
        self.held: dict[str, threading.Event] = {}
        self.raising = False

    def __call__(self, url: str, title: str, body: str) -> bool:
        self.tries[url] += 1
        if url in self.held:
            self.held[url].wait(10)
        if self.raising:
            raise RuntimeError(f"cannot reach {url}")
        if url in self.down:
            return False
        self.taken.append((url, title))
        return True


class World:
    """A notifier over a folder of channels."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.post = folder, Post()
        self.leading, self.time = True, 0.0
        self.counted: Counter[tuple[str, str]] = Counter()
        self.looks: asyncio.Queue[str] = asyncio.Queue()
        self.pauses: list[int] = []
        self.write("slack", SLACK)
        self.notifier = Notifier(
            Channels(folder), lambda: self.leading, self._count, lambda: self.time, self.post, self._pause
        )

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def send(self, notice: Notice = NOTICE) -> None:
        self.notifier.send(notice, lambda: self.looks.put_nowait(notice.key))

    def delivered(self, notice: Notice = NOTICE) -> bool:
        return notice.key in self.notifier.delivered([notice.key])

    async def looked(self) -> str:
        return await asyncio.wait_for(self.looks.get(), 10)

    def _count(self, channel: str, result: str) -> None:
        self.counted[channel, result] += 1

    def _pause(self, failures: int) -> float:
        self.pauses.append(failures)
        return 0.0


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    for held in made.post.held.values():
        held.set()
    made.notifier.end()


async def test_a_message_is_delivered_once(world: World) -> None:
    for _ in range(3):
        world.send()
    assert not world.delivered()
    assert await world.looked() == NOTICE.key
    assert world.delivered()
    world.send()
    await asyncio.sleep(0)
    assert world.post.taken == [(SLACK, NOTICE.title)]
    assert world.counted == {("slack", "delivered"): 1}


async def test_handing_over_takes_no_time_whatever_the_receiver_does(world: World) -> None:
    world.post.held[SLACK] = threading.Event()
    world.send()
    assert not world.delivered()
    world.post.held[SLACK].set()
    assert await world.looked() == NOTICE.key


async def test_a_receiver_that_is_down_gets_it_when_it_is_back(world: World) -> None:
    world.post.down.add(SLACK)
    world.send()
    assert await world.looked() == NOTICE.key, "its object should tell of the trouble"
    assert not world.delivered()
    with pytest.raises(NotifyError, match=r"^the channel slack did not take it in \d+ tries$"):
        world.send()
    world.post.down.clear()
    while not world.delivered():
        await world.looked()
    assert world.post.taken == [(SLACK, NOTICE.title)]
    assert world.pauses[:3] == [1, 2, 3]
    assert world.counted["slack", "delivered"] == 1
    assert world.counted["slack", "failed"] == world.post.tries[SLACK] - 1


async def test_of_several_urls_only_those_that_failed_are_tried_again(world: World) -> None:
    world.write("both", f"# two places\n{SLACK}\n\n  json://host/path  \n")
    world.post.down.add("json://host/path")
    world.send(other(1, "both"))
    await world.looked()
    world.post.down.clear()
    while not world.delivered(other(1)):
        await world.looked()
    assert sorted(url for url, _ in world.post.taken) == ["json://host/path", SLACK]


async def test_a_channel_that_hangs_holds_up_no_other(world: World) -> None:
    world.write("pager", "json://pager")
    world.post.held["json://pager"] = threading.Event()
    for number in range(2 * notify.CONCURRENT):
        world.send(other(number, "pager"))
    world.send()
    assert await world.looked() == NOTICE.key
    assert world.post.tries["json://pager"] == 1


async def test_who_does_not_lead_sends_nothing(world: World) -> None:
    world.leading = False
    world.send()
    await world.looked()
    assert world.post.tries == {}
    assert not world.delivered()
    world.leading = True
    world.send()
    await world.looked()
    assert world.delivered()


async def test_after_a_day_it_is_given_up_and_nobody_asks_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.post.down.add(SLACK)
    world.send()
    await world.looked()
    world.time = notify.GIVE_UP_SECONDS
    await world.looked()
    assert world.delivered()
    assert world.counted["slack", "lost"] == 1
    assert "a message is given up" in caplog.text


async def test_no_more_wait_than_the_memory_should_hold(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "WAITING", 2)
    world.post.held[SLACK] = threading.Event()
    world.send(other(1))
    world.send(other(2))
    with pytest.raises(NotifyError, match="2 messages wait already"):
        world.send(other(3))
    world.send(other(2))


async def test_no_more_are_remembered_than_the_memory_should_hold(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "REMEMBERED", 2)
    for number in range(4):
        world.send(other(number))
        await world.looked()
    assert world.notifier.delivered(f"run-{n}" for n in range(4)) == {"run-2", "run-3"}


async def test_an_unknown_channel_is_named_with_those_there_are(world: World) -> None:
    world.write("pager", "json://pager")
    with pytest.raises(NotifyError, match=r"no usable channel mail .*\(pager, slack\)"):
        world.send(other(1, "mail"))


async def test_a_channel_that_is_taken_away_and_comes_back(world: World) -> None:
    world.post.down.add(SLACK)
    world.send()
    await world.looked()
    (world.folder / "slack").unlink()
    assert world.notifier.channels() == frozenset()
    world.write("slack", "json://elsewhere")
    while not world.delivered():
        await world.looked()
    assert world.post.taken == [("json://elsewhere", NOTICE.title)]


async def test_no_word_of_a_url_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    world.post.raising = True
    world.send()
    await world.looked()
    with pytest.raises(NotifyError) as caught:
        world.send()
    assert "token" not in caplog.text + str(caught.value)


@pytest.mark.parametrize("failures", [1, 2, 5, 9, 50, 10_000])
def test_pauses_grow_up_to_five_minutes(failures: int) -> None:
    whole = min(2 ** (failures - 1), 300)
    assert 0.8 * whole <= notify._pause(failures) <= 1.2 * whole


class TestChannels:
    def test_without_a_folder_there_are_none(self, tmp_path: Path) -> None:
        assert Channels(None).urls() == {}
        assert Channels(tmp_path / "missing").urls() == {}

    def test_they_are_read_again_when_the_kubelet_swaps_them(self, tmp_path: Path) -> None:
        """A mounted Secret is a folder of links through `..data`, which is replaced in one step."""

        def mount(name: str, **channels: str) -> None:
            (tmp_path / name).mkdir()
            for channel, text in channels.items():
                (tmp_path / name / channel).write_text(text)
                link = tmp_path / channel
                if not link.is_symlink():
                    link.symlink_to(f"..data/{channel}")
            (tmp_path / "..tmp").symlink_to(name)
            os.replace(tmp_path / "..tmp", tmp_path / "..data")

        channels = Channels(tmp_path)
        mount("..1", slack=SLACK)
        assert channels.urls() == {"slack": (SLACK,)}
        mount("..2", slack="slack://token-a/token-b/token-d", pager="json://pager")
        assert channels.urls() == {"slack": ("slack://token-a/token-b/token-d",), "pager": ("json://pager",)}

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "it is empty"),
            (b"# nothing\n", "it is empty"),
            (b"json://host\nsecret-token\n", "line 2 is no URL"),
            (b"\xff\xfe", "UnicodeDecodeError"),
            (b"json://h/" + b"x" * 70_000, "larger than 64 KiB"),
        ],
    )
    def test_what_is_no_channel_is_named_once_and_not_quoted(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, why: str
    ) -> None:
        (tmp_path / "slack").write_bytes(content)
        channels = Channels(tmp_path)
        for _ in range(3):
            assert channels.urls() == {}
        (record,) = caplog.records
        assert (record.__dict__["channel"], why in record.__dict__["why"]) == ("slack", True)
        assert "secret-token" not in str(record.__dict__)
