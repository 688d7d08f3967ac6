"""Asking pods that are slow, silent, endless or hostile: they are left out, named once, and hold up nobody."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import aiohttp
import pytest
from aiohttp import web

from tests.processes import free_port
from trimtab.adapters import polling
from trimtab.adapters.polling import Distrusted, Poller, Question, address
from trimtab.core.objects import Object

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


MOVED: Object = {"podIP": "127.0.0.2"}
READY_AGAIN: Object = {
    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2030-01-01T00:10:00Z"}]
}
FAULTY = "a document that nobody thought of"


def pod(number: int, uid: str = "") -> Object:
    """A pod of its own address on this machine."""
    meta = {"name": f"pod-{number}", "namespace": "ml", "uid": uid or f"uid-{number}"}
    ready = [{"type": "Ready", "status": "True"}]
    status = {"phase": "Running", "podIP": f"127.0.0.{number}", "conditions": ready}
    return {"kind": "Pod", "metadata": meta, "status": status}


def read(pod: Object, status: int, body: bytes, before: int | None) -> int:
    """A number that grows."""
    if status != 200:
        raise Distrusted("status", f"it answered HTTP {status}")
    if body == FAULTY.encode():
        raise KeyError("a fault of the reader")
    if not body.isdigit():
        raise Distrusted("invalid", "it sent no number")
    if before is not None and int(body) < before:
        raise Distrusted("shrank", "its number became smaller")
    return int(body)


class Pods:
    """A server on every loopback address; each pod's answer is set by a test."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self.session, self.port = session, port
        self.time = 0.0
        self.answers: dict[str, Answer] = {}
        self.asked: Counter[str] = Counter()
        self.failures: Counter[tuple[str, str]] = Counter()
        self.under_way = self.most = 0

    def poller(self, seconds: float = 1.5, largest: int = 1 << 20) -> Poller[int]:
        question = Question("numbers", self.port, "/number", read, seconds=seconds, largest=largest)
        return Poller(question, self.session, lambda: self.time, lambda *kind: self.failures.update([kind]))

    def says(self, number: int, answer: Answer | str) -> None:
        self.answers[f"127.0.0.{number}"] = answer if callable(answer) else _said(answer)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.url.host or ""] += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            return await self.answers[request.url.host or ""](request)
        finally:
            self.under_way -= 1


@pytest.fixture
async def pods() -> AsyncIterator[Pods]:
    async with aiohttp.ClientSession() as session:
        port = free_port()
        server = Pods(session, port)
        app = web.Application()
        app.router.add_get("/{path:.*}", server.handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", port).start()
        yield server
        await runner.cleanup()


def _said(text: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text)

    return answer


async def never(_: web.Request) -> web.StreamResponse:
    return await asyncio.Future()


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"1" * 65_536)


async def dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"1")
        await asyncio.sleep(0.01)


async def redirecting(_: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/number"}, text="7")


async def inflating(_: web.Request) -> web.StreamResponse:
    response = web.Response(body=b"1" * (1 << 22))
    response.enable_compression(web.ContentCoding.gzip)
    return response


async def hanging_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def test_each_pod_answers_for_itself(pods: Pods) -> None:
    pods.says(1, "11")
    pods.says(2, "22")
    assert await pods.poller().ask([pod(1), pod(2)], 1) == {"uid-1": 11, "uid-2": 22}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (never, "unreachable"),
        (dripping, "unreachable"),
        (hanging_up, "unreachable"),
        (endless, "oversized"),
        (redirecting, "status"),
        (inflating, "invalid"),
        (_said("<html>"), "invalid"),
        (_said(""), "invalid"),
    ],
)
async def test_a_pod_that_misbehaves_is_left_out_and_counted(pods: Pods, answer: Answer, kind: str) -> None:
    pods.says(1, answer)
    pods.says(2, "22")
    assert await pods.poller(seconds=0.2).ask([pod(1), pod(2)], 1) == {"uid-2": 22}
    assert pods.failures == {("numbers", kind): 1}


async def test_a_closed_port_is_no_error_of_the_pass(pods: Pods) -> None:
    pods.port = free_port()
    assert await pods.poller().ask([pod(1)], 1) == {}
    assert pods.failures == {("numbers", "unreachable"): 1}


async def test_a_fault_of_the_reader_stays_with_the_pod(pods: Pods, caplog: pytest.LogCaptureFixture) -> None:
    pods.says(1, FAULTY)
    pods.says(2, "22")
    assert await pods.poller().ask([pod(1), pod(2)], 1) == {"uid-2": 22}
    assert pods.failures == {("numbers", "fault"): 1}
    assert "an answer could not be read" in caplog.text


async def test_an_answer_is_used_until_it_is_too_old(pods: Pods) -> None:
    pods.says(1, "11")
    poller = pods.poller()
    for time, asked in ((0, 1), (4.9, 1), (5, 2), (9.9, 2)):
        pods.time = time
        assert await poller.ask([pod(1)], 5) == {"uid-1": 11}
        assert pods.asked["127.0.0.1"] == asked
    assert await poller.ask([pod(1)], 0) == {"uid-1": 11}
    assert pods.asked["127.0.0.1"] == 3


async def test_passes_at_once_share_one_question(pods: Pods) -> None:
    pods.says(1, "11")
    poller = pods.poller()
    answers = await asyncio.gather(*(poller.ask([pod(1)], 5) for _ in range(20)))
    assert answers == [{"uid-1": 11}] * 20
    assert pods.asked["127.0.0.1"] == 1


async def test_a_pass_that_is_cancelled_takes_no_question_with_it(pods: Pods) -> None:
    arrived, free = asyncio.Event(), asyncio.Event()

    async def held(_: web.Request) -> web.StreamResponse:
        arrived.set()
        await free.wait()
        return web.Response(text="11")

    pods.says(1, held)
    poller = pods.poller()
    passing = asyncio.create_task(poller.ask([pod(1)], 5))
    await arrived.wait()
    passing.cancel()
    free.set()
    assert await poller.ask([pod(1)], 5) == {"uid-1": 11}
    assert pods.asked["127.0.0.1"] == 1


async def test_a_pass_ends_without_those_who_take_longer(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "PASS_SECONDS", 0.1)
    free = asyncio.Event()

    async def held(_: web.Request) -> web.StreamResponse:
        await free.wait()
        return web.Response(text="11")

    pods.says(1, held)
    pods.says(2, "22")
    poller = pods.poller(seconds=30)
    assert await poller.ask([pod(1), pod(2)], 5) == {"uid-2": 22}
    free.set()
    monkeypatch.setattr(polling, "PASS_SECONDS", 30)
    assert await poller.ask([pod(1), pod(2)], 5) == {"uid-1": 11, "uid-2": 22}
    assert pods.asked == {"127.0.0.1": 1, "127.0.0.2": 1}


async def test_who_is_content_with_an_older_answer_does_not_wait_for_a_younger_one(pods: Pods) -> None:
    pods.says(1, "11")
    poller = pods.poller(seconds=30)
    await poller.ask([pod(1)], 5)
    arrived, free = asyncio.Event(), asyncio.Event()

    async def held(_: web.Request) -> web.StreamResponse:
        arrived.set()
        await free.wait()
        return web.Response(text="12")

    pods.says(1, held)
    pods.time = 4
    eager = asyncio.create_task(poller.ask([pod(1)], 1))
    await arrived.wait()
    assert await poller.ask([pod(1)], 5) == {"uid-1": 11}
    assert not eager.done()
    free.set()
    assert await eager == {"uid-1": 12}


async def test_many_pods_are_not_asked_all_at_once(pods: Pods) -> None:
    for number in range(1, 101):
        pods.says(number, str(number))
    answers = await pods.poller().ask([pod(number) for number in range(1, 101)], 1)
    assert answers == {f"uid-{number}": number for number in range(1, 101)}
    assert pods.most <= polling.CONCURRENT


async def test_who_fails_is_asked_less_often_and_again_at_once_when_well(pods: Pods) -> None:
    pods.says(1, "x")
    poller = pods.poller()
    asked = await _times_asked(pods, poller, [0.5 * step for step in range(100)])
    assert asked[:5] == [0, 1, 3, 7, 15]
    assert all(after - before <= polling.LONGEST_SILENCE for before, after in itertools.pairwise(asked))
    pods.says(1, "11")
    pods.time += polling.LONGEST_SILENCE
    assert await poller.ask([pod(1)], 0) == {"uid-1": 11}
    before = pods.asked["127.0.0.1"]
    assert await poller.ask([pod(1)], 0) == {"uid-1": 11}
    assert pods.asked["127.0.0.1"] == before + 1


@pytest.mark.parametrize("change", [MOVED, READY_AGAIN])
async def test_a_pod_that_moved_or_got_ready_again_is_not_held_to_its_failures(pods: Pods, change: Object) -> None:
    pods.says(1, "x")
    poller = pods.poller()
    await _times_asked(pods, poller, [0.5 * step for step in range(100)])
    for number in (1, 2):
        pods.says(number, "11")
    assert await poller.ask([pod(1)], 0) == {}, "it rests"
    again = pod(1)
    again["status"] |= change
    assert await poller.ask([again], 0) == {"uid-1": 11}


async def _times_asked(pods: Pods, poller: Poller[int], times: Sequence[float]) -> list[float]:
    found = []
    for pods.time in times:
        before = pods.asked["127.0.0.1"]
        assert await poller.ask([pod(1)], 0) == {}
        found += [pods.time] * (pods.asked["127.0.0.1"] - before)
    return found


async def test_a_pod_is_named_in_the_log_once_until_its_trouble_changes(
    pods: Pods, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    poller = pods.poller()
    for said in ("x", "x", "5", "x", "5", "4", "3"):
        pods.says(1, said)
        pods.time += polling.LONGEST_SILENCE
        await poller.ask([pod(1)], 0)
    told = [(record.__dict__["pod"], record.__dict__["kind"], record.__dict__["error"]) for record in caplog.records]
    assert told == [
        ("ml/pod-1", "invalid", "it sent no number"),
        ("ml/pod-1", "invalid", "it sent no number"),
        ("ml/pod-1", "shrank", "its number became smaller"),
    ]
    assert pods.failures == {("numbers", "invalid"): 3, ("numbers", "shrank"): 2}


async def test_a_pod_that_is_not_ready_is_counted_but_not_named(pods: Pods, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    pods.says(1, "x")
    starting = {**pod(1), "status": {"phase": "Running", "podIP": "127.0.0.1", "conditions": []}}
    assert await pods.poller().ask([starting], 0) == {}
    assert pods.failures == {("numbers", "invalid"): 1}
    assert not caplog.records


async def test_an_old_answer_does_not_stand_in_for_one_that_failed(pods: Pods) -> None:
    poller = pods.poller()
    pods.says(1, "5")
    assert await poller.ask([pod(1)], 1) == {"uid-1": 5}
    pods.says(1, "x")
    pods.time = 1
    assert await poller.ask([pod(1)], 1) == {}
    assert await poller.ask([pod(1)], 600) == {}


async def test_pods_that_nobody_wants_to_know_of_are_forgotten(pods: Pods) -> None:
    pods.says(1, "11")
    pods.says(2, "22")
    poller = pods.poller()
    await poller.ask([pod(1)], 1)
    pods.time = polling.FORGOTTEN_AFTER
    await poller.ask([pod(2)], 1)
    assert poller.known() == 1


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ({"phase": "Running", "podIP": "10.0.0.1"}, "10.0.0.1"),
        ({"phase": "Running", "podIP": "fd00::1"}, "[fd00::1]"),
        ({"phase": "Failed", "podIP": "10.0.0.1"}, ""),
        ({"phase": "Succeeded", "podIP": "10.0.0.1"}, ""),
        ({"phase": "Pending"}, ""),
        ({}, ""),
    ],
)
async def test_where_a_pod_is_asked(pods: Pods, status: Object, found: str) -> None:
    asked = {**pod(1), "status": status}
    assert address(asked) == found
    if not found:
        assert await pods.poller().ask([asked], 1) == {}
        assert not pods.failures
