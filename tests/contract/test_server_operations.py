"""Operations with real processes: tokens, sleepers, crowds, slow clients, and more load than there is capacity."""

import asyncio
import json
import signal
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from bench.clients import until_refused
from tests.contract.served import INFER, NAME, connect, environment, make_bundle, request
from tests.contract.sleeper import FATAL, HELD, Gate, make_sleeper, sleep, until
from tests.contract.test_server_process import Process, serving
from trimtab_serving.runtimes.remote import THREADS

BODY = request([(40, 2000, "Bonn")])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    directory = tmp_path_factory.mktemp("operated") / "bundle"
    directory.mkdir()
    return directory, make_bundle(directory)


@pytest.fixture(scope="module")
def sleeper(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    directory = tmp_path_factory.mktemp("sleeper") / "bundle"
    return directory, make_sleeper(directory)


async def posted(session: aiohttp.ClientSession, body: Any) -> tuple[int, str | None]:
    """The status of a prediction, and when to come again."""
    async with session.post(INFER, json=body) as response:
        await response.read()
        return response.status, response.headers.get("retry-after")


async def test_a_held_predict_holds_up_nobody(sleeper: tuple[Path, str], tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    given = environment(*sleeper, tmp_path / "pod", TRIMTAB_WORKERS="1", **gate.environ)
    with serving(given) as server:
        async with aiohttp.ClientSession(server.url) as session:
            held = asyncio.create_task(posted(session, sleep(HELD)))
            await asyncio.to_thread(until, lambda: gate.waiting)
            for _ in range(50):
                async with session.get("/v2/health/ready") as response:
                    assert response.status == 200
                assert await posted(session, sleep(0)) == (200, None)
            assert not held.done()
            gate.open()
            assert await held == (200, None)


async def test_what_began_before_sigterm_is_answered_after_the_last_connection_was_taken(
    sleeper: tuple[Path, str], tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    given = environment(*sleeper, tmp_path / "pod", TRIMTAB_WORKERS="1", **gate.environ)
    with serving(given) as server:
        async with aiohttp.ClientSession(server.url) as session:
            held = [asyncio.create_task(posted(session, sleep(HELD))) for _ in range(8)]
            await asyncio.to_thread(until, lambda: gate.waiting)
            await asyncio.to_thread(until, lambda: in_flight(server) == 8)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(until, lambda: not listens(server))
            gate.open()
            assert set(await asyncio.gather(*held)) == {(200, None)}
        assert await asyncio.to_thread(server.process.wait, 20) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_nothing_that_could_be_sent_is_lost_to_sigterm(
    bundle: tuple[Path, str], tmp_path: Path, workers: str
) -> None:
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS=workers)
    with serving(given) as server:
        outcomes = Counter[str]()
        clients = [asyncio.create_task(until_refused(server.url, outcomes)) for _ in range(32)]
        await asyncio.to_thread(until, lambda: outcomes["200"] > 500)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*clients)
        assert set(outcomes) == {"200"}
        assert await asyncio.to_thread(server.process.wait, 20) == 0


def in_flight(server: Process) -> int:
    """Requests that have begun, as the server tells; it looks once a second."""
    metrics = server.call("/metrics")[1]
    (line,) = [line for line in metrics.splitlines() if line.startswith("trimtab_requests_in_flight{")]
    return int(float(line.split()[-1]))


def listens(server: Process) -> bool:
    """Whether new connections are taken."""
    try:
        connect(int(server.url.rpartition(":")[2])).close()
    except OSError:
        return False
    return True


async def test_a_predict_that_kills_its_process_is_replaced(sleeper: tuple[Path, str], tmp_path: Path) -> None:
    given = environment(*sleeper, tmp_path / "pod", TRIMTAB_WORKERS="1", TRIMTAB_TIMEOUT_SECONDS="1")
    with serving(given) as server:
        status, answer, _ = await asyncio.to_thread(server.call, INFER, sleep(FATAL))
        assert (status, answer) == (500, {"error": "the server failed on this request; its log says why"})
        # Until the new process has loaded the model, requests may run into their time limit.
        deadline = time.monotonic() + 60
        while (await asyncio.to_thread(server.call, INFER, sleep(0)))[0] != 200:
            assert time.monotonic() < deadline
        status, answer, _ = await asyncio.to_thread(server.call, INFER, sleep(1.5))
        assert (status, answer["error"].split(";")[0]) == (504, "the model did not answer within 1 s")
        predictors = psutil.Process(server.process.pid).children(recursive=True)
        assert server.stop() == 0
        assert psutil.wait_procs(predictors, 5)[1] == []


async def test_predictions_that_never_end_are_given_up_when_they_hold_all_of_a_process(
    sleeper: tuple[Path, str], tmp_path: Path
) -> None:
    gate = Gate(tmp_path)  # which is never opened
    environ = {"TRIMTAB_WORKERS": "1", "TRIMTAB_TIMEOUT_SECONDS": "4", **gate.environ}
    with serving(environment(*sleeper, tmp_path / "pod", **environ)) as server:
        (predictor,) = _predictors(server)
        async with aiohttp.ClientSession(server.url) as session:
            held = [asyncio.create_task(posted(session, sleep(HELD))) for _ in range(THREADS - 1)]
            assert set(await asyncio.gather(*held)) == {(504, None)}
            for _ in range(THREADS):
                assert await posted(session, sleep(0)) == (200, None)
            assert predictor.is_running(), "it has a thread left"
            assert await posted(session, sleep(HELD)) == (504, None)
            deadline = time.monotonic() + 60
            while await posted(session, sleep(0)) != (200, None):
                assert time.monotonic() < deadline
        assert psutil.wait_procs([predictor], 10)[1] == []
        assert len(_predictors(server)) == 1


def _predictors(server: Process) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def test_tokens_are_asked_for_and_exchanged_without_a_restart(bundle: tuple[Path, str], tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    (tokens / "old").write_text("old-token\n")
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="2", TRIMTAB_TOKENS_DIR=str(tokens))
    with serving(given) as server:

        def status(token: str | None) -> int:
            headers = {} if token is None else {"authorization": f"Bearer {token}"}
            return server.call(INFER, BODY, **headers)[0]

        assert (status(None), status("wrong"), status("old-token")) == (401, 403, 200)
        (tokens / "new").write_text("new-token")
        until(lambda: {status(token) for token in ("old-token", "new-token") for _ in range(8)} == {200})
        (tokens / "old").unlink()
        until(lambda: {status("old-token") for _ in range(8)} == {403})
        assert {status("new-token") for _ in range(8)} == {200}
        for path in ("/v2/health/ready", "/v2/health/live", "/metrics", "/trimtab/v1/counts"):
            assert server.call(path)[0] == 200
        status_of_smoke, told, _ = server.call("/trimtab/v1/smoke", {})
        assert (status_of_smoke, told["ok"]) == (200, True)
        for path, body in (
            (f"/v2/models/{NAME}", None),
            ("/trimtab/v1/feedback", {}),
            (f"/v1/models/{NAME}:predict", {}),
        ):
            answer = server.call(path, body)
            assert answer[0] == 401
            assert answer[1]["error"].startswith("this server takes requests with a token only")
        assert "token" not in json.dumps([line for line in server.log.read_text().splitlines() if "old-" in line])


def test_a_thousand_idle_connections_and_half_requests_hold_up_nobody(bundle: tuple[Path, str], tmp_path: Path) -> None:
    limits = {"TRIMTAB_MAX_CONNECTIONS": "1010", "TRIMTAB_MAX_QUEUE": "1"}
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="1", **limits)
    port = int(given["TRIMTAB_PORT"])
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\n".encode()
    with serving(given) as server:
        before = psutil.Process(server.process.pid).memory_info().rss
        crowd = [connect(port) for _ in range(1000)]
        for number, connection in enumerate(crowd):
            connection.sendall((b"", head, head + b"Content-Length: 100\r\n\r\n{")[number % 3])
        assert {server.call(INFER, BODY)[0] for _ in range(20)} == {200}
        assert psutil.Process(server.process.pid).memory_info().rss - before < 40 << 20
        crowd += [connect(port) for _ in range(20)]
        refused = [connection.recv(4096) for connection in crowd[-5:]]
        assert all(answer.startswith(b"HTTP/1.1 503 ") and b"connections are open" in answer for answer in refused)
        for connection in crowd:
            connection.close()
        until(lambda: len(psutil.Process(server.process.pid).net_connections()) <= 50)
        assert server.call(INFER, BODY)[0] == 200
        assert server.stop() == 0


async def test_overload_is_refused_at_once_and_what_is_taken_is_answered(
    sleeper: tuple[Path, str], tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    given = environment(*sleeper, tmp_path / "pod", TRIMTAB_WORKERS="1", TRIMTAB_MAX_QUEUE="16", **gate.environ)
    with serving(given) as server:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(server.url, connector=connector) as session:
            running = {asyncio.create_task(posted(session, sleep(HELD))) for _ in range(100)}
            while len(running) > 16:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                assert {task.result() for task in done} == {(503, "1")}
            # The model has answered nobody yet: what was taken is the queue, and it is as long as it may be.
            assert len(running) == 16
            assert await posted(session, sleep(0)) == (503, "1")
            gate.open()
            assert set(await asyncio.gather(*running)) == {(200, None)}
            assert await posted(session, sleep(0)) == (200, None)


async def test_a_keep_alive_client_may_pause(bundle: tuple[Path, str], tmp_path: Path) -> None:
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="1")
    body = json.dumps(BODY).encode()
    sent = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with serving(given) as server, connect(int(given["TRIMTAB_PORT"])) as connection:
        for pause in (0, 0.5, 1):
            await asyncio.sleep(pause)
            connection.sendall(sent)
            assert connection.recv(65536, socket.MSG_PEEK).startswith(b"HTTP/1.1 200 ")
            while not connection.recv(65536).rstrip().endswith(b"}"):
                pass
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == 0
        assert connection.recv(10) == b""
