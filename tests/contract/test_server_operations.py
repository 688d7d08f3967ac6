"""Operations with real processes: tokens, sleepers, crowds, slow clients, and more load than there is capacity."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
import pytest

from tests.contract.served import INFER, NAME, connect, environment, make_bundle, request
from tests.contract.test_server_process import serving
from trimtab_serving.bundle import BundleInfo, Tensor, pack, write_info

BODY = request([(40, 2000, "Bonn")])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    directory = tmp_path_factory.mktemp("operated") / "bundle"
    directory.mkdir()
    return directory, make_bundle(directory)


@pytest.fixture(scope="module")
def sleeper(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A Python model that sleeps as long as it is told, and ends its process when told a negative time."""
    directory = tmp_path_factory.mktemp("sleeper") / "bundle"
    (directory / "model" / "code").mkdir(parents=True)
    code = (
        "import os, time\n\n\nclass Sleeper:\n    def predict(self, rows):\n"
        "        if rows[0, 0] < 0:\n            os._exit(3)\n"
        "        time.sleep(float(rows[0, 0]))\n        return rows[:, 0]\n"
    )
    (directory / "model" / "code" / "sleeper_of_trimtab_tests.py").write_text(code)
    dump = "import joblib, sleeper_of_trimtab_tests as s; joblib.dump(s.Sleeper(), 'model/model.pkl')"
    environ = os.environ | {"PYTHONPATH": str(directory / "model" / "code"), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", dump], cwd=directory, env=environ, check=True)
    info = BundleInfo(
        format="Sklearn",
        flavor="sklearn",
        runtime="python",
        inputs=(Tensor("seconds", "FP32", (-1, 1)),),
        outputs=(Tensor("slept", "FP32", (-1,)),),
    )
    write_info(info, directory)
    (directory / "example.json").write_text(json.dumps(sleep(0)))
    with (directory.parent / "bundle.tar").open("wb") as tar:
        return directory, pack(directory, tar)


def sleep(seconds: float) -> dict[str, Any]:
    return {"inputs": [{"name": "seconds", "shape": [1, 1], "datatype": "FP32", "data": [seconds]}]}


async def test_a_sleeping_predict_holds_up_nobody(sleeper: tuple[Path, str], tmp_path: Path) -> None:
    given = environment(*sleeper, tmp_path / "pod", TRIMTAB_WORKERS="1")
    with serving(given) as server:
        async with aiohttp.ClientSession(server.url) as session:

            async def timed(method: str, path: str, body: Any = None) -> tuple[int, float]:
                start = time.monotonic()
                async with session.request(method, path, json=body) as response:
                    await response.read()
                    return response.status, time.monotonic() - start

            slow = asyncio.create_task(timed("POST", INFER, sleep(5)))
            await asyncio.sleep(0.2)
            health = [await timed("GET", "/v2/health/ready") for _ in range(50)]
            others = [await timed("POST", INFER, sleep(0)) for _ in range(50)]
            assert not slow.done()
            assert {status for status, _ in (*health, *others)} == {200}
            status, seconds = await slow
            assert status == 200
            assert seconds >= 5


async def test_a_predict_that_kills_its_process_is_replaced(sleeper: tuple[Path, str], tmp_path: Path) -> None:
    given = environment(*sleeper, tmp_path / "pod", TRIMTAB_WORKERS="1", TRIMTAB_TIMEOUT_SECONDS="1")
    with serving(given) as server:
        status, answer, _ = await asyncio.to_thread(server.call, INFER, sleep(-1))
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
        time.sleep(2.2)
        assert {status(token) for token in ("old-token", "new-token") for _ in range(4)} == {200}
        (tokens / "old").unlink()
        time.sleep(2.2)
        assert {status("old-token") for _ in range(4)} == {403}
        assert {status("new-token") for _ in range(4)} == {200}
        for path in ("/v2/health/ready", "/v2/health/live", "/metrics", "/trimtab/v1/counts"):
            assert server.call(path)[0] == 200
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
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="1", TRIMTAB_MAX_CONNECTIONS="1010")
    port = int(given["TRIMTAB_PORT"])
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\n".encode()
    with serving(given) as server:
        before = psutil.Process(server.process.pid).memory_info().rss
        crowd = [connect(port) for _ in range(1000)]
        for number, connection in enumerate(crowd):
            connection.sendall((b"", head, head + b"Content-Length: 100\r\n\r\n{")[number % 3])
        times = []
        for _ in range(20):
            start = time.monotonic()
            assert server.call(INFER, BODY)[0] == 200
            times.append(time.monotonic() - start)
        assert sorted(times)[10] < 0.25
        assert psutil.Process(server.process.pid).memory_info().rss - before < 40 << 20
        crowd += [connect(port) for _ in range(20)]
        refused = [connection.recv(4096) for connection in crowd[-5:]]
        assert all(answer.startswith(b"HTTP/1.1 503 ") and b"connections are open" in answer for answer in refused)
        for connection in crowd:
            connection.close()
        deadline = time.monotonic() + 10
        while len(psutil.Process(server.process.pid).net_connections()) > 50:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert server.call(INFER, BODY)[0] == 200
        assert server.stop() == 0


async def test_overload_is_refused_and_what_is_taken_stays_fast(sleeper: tuple[Path, str], tmp_path: Path) -> None:
    given = environment(*sleeper, tmp_path / "pod", TRIMTAB_WORKERS="1", TRIMTAB_MAX_QUEUE="16")
    capacity = 4 / 0.05  # four threads, 50 ms each
    with serving(given) as server:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(server.url, connector=connector) as session:

            async def one() -> tuple[int, float, str | None]:
                start = time.monotonic()
                async with session.post(INFER, json=sleep(0.05)) as response:
                    await response.read()
                    return response.status, time.monotonic() - start, response.headers.get("retry-after")

            running = []
            start = time.monotonic()
            for number in range(int(3 * capacity * 3)):
                await asyncio.sleep(max(0, start + number / (3 * capacity) - time.monotonic()))
                running.append(asyncio.create_task(one()))
            answers = await asyncio.gather(*running)
            taken = [seconds for status, seconds, _ in answers if status == 200]
            refused = [retry for status, _, retry in answers if status == 503]
            assert len(taken) + len(refused) == len(answers)
            assert len(taken) > 0.5 * capacity * 3
            assert set(refused) == {"1"}
            # A full queue is 16 requests of 50 ms on four threads: 0.25 s, and what a busy machine adds.
            assert np.quantile(taken, 0.99) < 1.0
            assert (await one())[0] == 200


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
