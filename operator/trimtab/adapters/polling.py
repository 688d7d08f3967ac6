"""Asking many pods for one document each, without trusting any of them.

A pod may be slow, silent, broken or hostile; it is then left out, counted and named once in the log, and never holds up
or ends the pass that asked. Each pod has at most one question under way, which outlives the pass that put it: the next
pass finds the answer. A pod that does not answer is asked less and less often, up to every LONGEST_SILENCE seconds, so
that many dead pods cannot keep the workers waiting for them, until it gets another address or is ready anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import aiohttp

from trimtab.core.objects import Object, condition

log = logging.getLogger(__name__)
PASS_SECONDS = 2.0
"""No pass waits longer than this for all its pods together."""
CONCURRENT = 32
LONGEST_SILENCE = 10.0
FORGOTTEN_AFTER = 600.0
NEVER = float("-inf")

Report = TypeVar("Report")


class Distrusted(Exception):  # noqa: N818 - it carries a verdict
    """An answer that must not be believed: `kind` for the metric, the message for the log."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Question(Generic[Report]):
    """What is asked of each pod, and how its answer is read.

    `read` takes the pod, the HTTP status, the body and the last report that was believed; it raises Distrusted.
    """

    name: str
    port: int
    path: str
    read: Callable[[Object, int, bytes, Report | None], Report]
    method: str = "GET"
    seconds: float = 1.5
    largest: int = 1 << 20
    silence: float = LONGEST_SILENCE
    """The longest pause after failures, in seconds."""


class _Pod(Generic[Report]):
    """What is known of one pod."""

    def __init__(self) -> None:
        self.wanted = NEVER
        self.asked = NEVER
        self.answer: Report | None = None
        self.believed: Report | None = None
        self.failures = 0
        self.standing = ("", "")
        """Where it was asked, and since when it was ready: failures tell nothing of another place or another life."""
        self.complaint = ""
        self.task: asyncio.Task[None] | None = None

    def fresh(self, max_age: float) -> Report | None:
        """The answer if it is young enough, even while somebody who wants a younger one waits for that."""
        return self.answer if self.wanted - self.asked < max_age else None

    def resting(self, longest: float) -> bool:
        """Whether the pod failed and is given time, twice as much after each failure."""
        patience = min(0.5 * 2.0 ** min(self.failures, 10), longest)
        return self.failures > 0 and self.wanted - self.asked < patience


class Poller(Generic[Report]):
    """Puts one question to pods. `clock` is monotonic, in seconds; `failed` is told the kind of each failure."""

    def __init__(
        self,
        question: Question[Report],
        session: aiohttp.ClientSession,
        clock: Callable[[], float],
        failed: Callable[[str, str], None],
    ) -> None:
        self._question = question
        self._session = session
        self._clock = clock
        self._failed = failed
        self._timeout = aiohttp.ClientTimeout(total=question.seconds)
        self._slots = asyncio.Semaphore(CONCURRENT)
        self._pods: dict[str, _Pod[Report]] = {}
        self._swept = clock()

    async def ask(
        self, pods: Iterable[Object], max_age_seconds: float, patience: float = PASS_SECONDS
    ) -> Mapping[str, Report]:
        """The answers by pod uid, none older than asked for; pods that gave none within the patience are absent."""
        self._sweep()
        asked = {pod["metadata"]["uid"]: (pod, self._known(pod)) for pod in pods if address(pod)}
        answers = {uid: known.fresh(max_age_seconds) for uid, (_, known) in asked.items()}
        others = {uid: self._begin(*asked[uid]) for uid, answer in answers.items() if answer is None}
        tasks = {known.task for known in others.values() if known.task is not None}
        if tasks:
            await asyncio.wait(tasks, timeout=patience)
        answers |= {uid: known.answer for uid, known in others.items() if known.task is None}
        return {uid: answer for uid, answer in answers.items() if answer is not None}

    def known(self) -> int:
        """How many pods are remembered."""
        return len(self._pods)

    def _known(self, pod: Object) -> _Pod[Report]:
        known = self._pods.setdefault(pod["metadata"]["uid"], _Pod())
        known.wanted = self._clock()
        standing = address(pod), str(condition(pod, "Ready").get("lastTransitionTime", ""))
        if known.standing != standing:
            known.standing, known.failures = standing, 0
        return known

    def _begin(self, pod: Object, known: _Pod[Report]) -> _Pod[Report]:
        if known.task is None and not known.resting(self._question.silence):
            known.task = asyncio.create_task(self._put(pod, known), name=f"{self._question.name} of a pod")
        return known

    async def _put(self, pod: Object, known: _Pod[Report]) -> None:
        """Ask one pod and note what comes of it; nothing that a pod does gets out of here."""
        try:
            async with self._slots:
                known.answer = known.believed = await self._fetch(pod, known.believed)
            known.failures, known.complaint = 0, ""
        except Distrusted as error:
            self._complain(pod, known, error.kind, str(error))
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._complain(pod, known, "unreachable", str(error) or type(error).__name__)
        except Exception as error:
            log.exception("an answer could not be read")
            self._complain(pod, known, "fault", type(error).__name__)
        finally:
            known.asked, known.task = self._clock(), None

    async def _fetch(self, pod: Object, before: Report | None) -> Report:
        question = self._question
        url = f"http://{address(pod)}:{question.port}{question.path}"
        # What is not unpacked cannot be a bomb, and a redirect could lead anywhere.
        async with self._session.request(
            question.method, url, timeout=self._timeout, allow_redirects=False, auto_decompress=False
        ) as response:
            body = bytearray()
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > question.largest:
                    raise Distrusted("oversized", f"it sent more than {question.largest} bytes")
            return question.read(pod, response.status, bytes(body), before)

    def _complain(self, pod: Object, known: _Pod[Report], kind: str, message: str) -> None:
        known.answer = None
        known.failures += 1
        self._failed(self._question.name, kind)
        if kind != known.complaint:
            known.complaint = kind
            name = f"{pod['metadata'].get('namespace', '')}/{pod['metadata'].get('name', '')}"
            extra = {"pod": name, "asked": self._question.name, "kind": kind, "error": message[:300]}
            # A pod that is starting or ending need not answer.
            level = logging.WARNING if condition(pod, "Ready").get("status") == "True" else logging.DEBUG
            log.log(level, "a pod is left out of the evidence", extra=extra)

    def _sweep(self) -> None:
        """Forget pods that nobody has wanted to know of for long."""
        now = self._clock()
        if now - self._swept < FORGOTTEN_AFTER:
            return
        self._swept = now
        self._pods = {
            uid: known for uid, known in self._pods.items() if known.task or now - known.wanted < FORGOTTEN_AFTER
        }


def address(pod: Object) -> str:
    """The pod's IP address as a URL has it, or nothing for a pod that has none or has ended."""
    status = pod.get("status", {})
    found = str(status.get("podIP", "")) if status.get("phase") not in ("Failed", "Succeeded") else ""
    return f"[{found}]" if ":" in found else found
