"""Messages to people, sent in the background through apprise.

A pass hands a message over and goes on. Each message waits, is sent, and is sent again with growing pauses until it got
through, at most GIVE_UP_SECONDS long; only the leader sends. Each channel has one message under way at a time, so that
a receiver that hangs holds one thread and nobody else's messages. Which messages got through is remembered until their
objects have recorded it; a process that ends before that sends them once more.

Not a word of apprise's (runtime/logs.py), and no exception of its plugins, is logged or told: they name URLs, which
hold tokens.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from trimtab.adapters.channels import Channels
from trimtab.core.metadata import fingerprint
from trimtab.core.plan import Notice

log = logging.getLogger(__name__)
CONCURRENT = 8
WAITING = 1_000
REMEMBERED = 10_000
TOLD_AFTER = 3
LONGEST_PAUSE = 300.0
GIVE_UP_SECONDS = 86_400.0

Post = Callable[[str, str, str], bool]


class NotifyError(Exception):
    """A message is not being delivered."""


@dataclass
class _Waiting:
    """A message on its way."""

    notice: Notice
    since: float
    look_again: Callable[[], None]
    failures: int = 0
    through: set[str] = field(default_factory=set)
    """Fingerprints of the URLs that took it."""


class Notifier:
    """Sends to channels. `allowed` says whether that is this replica's business, `counted` is told channel and result.

    `clock` is monotonic, in seconds. `post` sends one message (URL, title, body) and says whether it was taken;
    it runs in a thread. `pause` is how long to wait after so many failures.
    """

    def __init__(
        self,
        channels: Channels,
        allowed: Callable[[], bool],
        counted: Callable[[str, str], None],
        clock: Callable[[], float],
        post: Post | None = None,
        pause: Callable[[int], float] | None = None,
    ) -> None:
        self._channels = channels
        self._allowed = allowed
        self._counted = counted
        self._clock = clock
        self._post = post or _post
        self._pause = pause or _pause
        self._threads = ThreadPoolExecutor(CONCURRENT, thread_name_prefix="notify")
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: dict[str, _Waiting] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._delivered: OrderedDict[str, None] = OrderedDict()

    def channels(self) -> frozenset[str]:
        """The names of the channels there are."""
        return frozenset(self._channels.urls())

    def delivered(self, keys: Iterable[str]) -> frozenset[str]:
        """Those of the messages that need no more sending: they got through, or were given up."""
        return frozenset(key for key in keys if key in self._delivered)

    def send(self, notice: Notice, look_again: Callable[[], None]) -> None:
        """Take a message over, once for each key; `look_again` is called when something became of it.

        NotifyError: its channel is not there, takes nothing, or too many messages wait.
        """
        if notice.key in self._delivered:
            return
        known = self._waiting.get(notice.key)
        if known is not None:
            known.look_again = look_again
            if known.failures >= TOLD_AFTER:
                raise NotifyError(f"the channel {notice.channel} did not take it in {known.failures} tries")
            return
        if notice.channel not in self._channels.urls():
            there = ", ".join(sorted(self.channels())) or "none"
            raise NotifyError(f"there is no usable channel {notice.channel} in the notifications Secret ({there})")
        if len(self._waiting) >= WAITING:
            raise NotifyError(f"{WAITING} messages wait already")
        self._waiting[notice.key] = _Waiting(notice, self._clock(), look_again)
        self._tasks[notice.key] = asyncio.create_task(self._deliver(notice.key), name=f"message to {notice.channel}")

    def end(self) -> None:
        """Send nothing more."""
        for task in self._tasks.values():
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _deliver(self, key: str) -> None:
        """See one message through."""
        waiting = self._waiting[key]
        try:
            while not await self._tried(waiting):  # noqa: ASYNC110 - what is awaited is somebody else's server
                await asyncio.sleep(self._pause(waiting.failures))
        finally:
            del self._waiting[key], self._tasks[key]
        waiting.look_again()

    async def _tried(self, waiting: _Waiting) -> bool:
        """Send a message once to all that have not taken it; whether nothing is left to do."""
        channel = waiting.notice.channel
        async with self._turns[channel]:
            if not self._allowed():
                return True  # the next leader plans it anew
            urls = self._channels.urls().get(channel, ())
            rest = [url for url in urls if fingerprint(url) not in waiting.through]
            taken = await asyncio.get_running_loop().run_in_executor(self._threads, self._post_all, waiting, rest)
        waiting.through |= {fingerprint(url) for url in taken}
        if urls and len(taken) == len(rest):
            self._settle(waiting, "delivered")
            return True
        waiting.failures += 1
        self._counted(channel, "failed")
        if self._clock() - waiting.since >= GIVE_UP_SECONDS:
            log.error("a message is given up", extra={"channel": channel, "key": waiting.notice.key})
            self._settle(waiting, "lost")
            return True
        if waiting.failures == TOLD_AFTER:
            log.warning("a channel does not take messages", extra={"channel": channel, "tries": waiting.failures})
            waiting.look_again()
        return False

    def _post_all(self, waiting: _Waiting, urls: Sequence[str]) -> list[str]:
        """Those of the URLs that took the message."""
        return [url for url in urls if self._posted(url, waiting.notice)]

    def _posted(self, url: str, notice: Notice) -> bool:
        try:
            return self._post(url, notice.title, notice.body)
        except Exception:  # its text may hold the URL
            return False

    def _settle(self, waiting: _Waiting, result: str) -> None:
        self._counted(waiting.notice.channel, result)
        self._delivered[waiting.notice.key] = None
        if len(self._delivered) > REMEMBERED:
            self._delivered.popitem(last=False)


def _pause(failures: int) -> float:
    """Seconds before the next try: 1, 2, 4, and so on to five minutes, spread so that channels are not hit at once."""
    pause: float = min(2.0 ** min(failures - 1, 20), LONGEST_PAUSE) * (0.8 + 0.4 * random.random())  # noqa: S311
    return pause


def _post(url: str, title: str, body: str) -> bool:
    # All its plugins take seconds to load and 45 MB, which an installation without channels should not pay.
    import apprise

    sender = apprise.Apprise()
    return bool(sender.add(url) and sender.notify(title=title, body=body))
