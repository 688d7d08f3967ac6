"""The operator's reader of counts against real server processes: what it reports is what was sent, over restarts."""

from __future__ import annotations

import random
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.contract.served import INFER, environment, make_bundle, request
from tests.contract.test_server_process import serving
from trimtab.adapters.models import COUNTS, SMOKE
from trimtab.adapters.polling import Poller
from trimtab.core.objects import Object
from trimtab.evidence.sources import ModelReport
from trimtab.evidence.tally import Bucket
from trimtab.kinds.modeldeployment.template import DIGEST


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    directory = tmp_path_factory.mktemp("read") / "bundle"
    directory.mkdir()
    return directory, make_bundle(directory)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    # The server goes away and comes back; connections to the old one would be tried first.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


class Reader:
    """The operator's pollers, turned to one server."""

    def __init__(self, session: aiohttp.ClientSession, port: str, digest: str) -> None:
        meta = {"name": "p", "namespace": "ml", "uid": "u1", "annotations": {DIGEST: digest}}
        self.pod: Object = {"kind": "Pod", "metadata": meta, "status": {"phase": "Running", "podIP": "127.0.0.1"}}
        self.failures: Counter[tuple[str, str]] = Counter()
        self.time = 0.0
        told = (session, lambda: self.time, lambda *kind: self.failures.update([kind]))
        self._counts = Poller(replace(COUNTS, port=int(port), seconds=10), *told)
        self._smoke = Poller(replace(SMOKE, port=int(port)), *told)

    async def report(self) -> ModelReport | None:
        self.time += 60
        return (await self._counts.ask([self.pod], 0)).get("u1")

    async def smoke(self) -> Any:
        self.time += 60
        return (await self._smoke.ask([self.pod], 0)).get("u1")


class Users:
    """People who predict and tell how it went, one request at a time, and the account of all they did."""

    def __init__(self, session: aiohttp.ClientSession, url: str, seed: int) -> None:
        self.session, self.url, self.rng = session, url, random.Random(seed)
        self.answers: Counter[int] = Counter()
        self.users: set[str] = set()
        self.buckets: defaultdict[int, list[float]] = defaultdict(lambda: [0, 0, 0, 0])

    async def predict(self, times: int) -> None:
        for _ in range(times):
            user = f"user-{self.rng.randrange(60)}"
            rows: list[tuple[float | None, float, str]] = [(40, 2000, "Bonn")] * self.rng.choice([1, 1, 2, 5])
            body = request(rows)
            if self.rng.random() < 0.1:
                body["inputs"][0]["data"][0] = "old"
            async with self.session.post(self.url + INFER, json=body, headers={"x-user-id": user}) as response:
                self.answers[response.status // 100] += 1
                if response.status == 200:
                    self.users.add(user)
                    bucket = self.buckets[_bucket(user)]
                    bucket[0] += len(rows)
                    await self._tell(bucket, response.headers["x-trimtab-token"].split(",")[0])

    async def _tell(self, bucket: list[float], token: str) -> None:
        value = self.rng.choice([0, 1, 2.5, -4])
        async with self.session.post(
            self.url + "/trimtab/v1/feedback", json={"token": token, "outcome": value}
        ) as told:
            assert told.status == 200, await told.text()
        bucket[1:] = [bucket[1] + 1, bucket[2] + value, bucket[3] + value * value]

    def check(self, report: ModelReport) -> None:
        assert (report.requests - report.errors, report.errors) == (sum(self.answers.values()), 0)
        assert sum(report.latency.counts) == report.requests
        assert report.rows == sum(bucket[0] for bucket in self.buckets.values())
        assert report.buckets == tuple(Bucket(*self.buckets[number]) for number in range(100))
        assert report.users == pytest.approx(len(self.users), abs=2)
        assert report.others == {}


def _bucket(user: str) -> int:
    return int.from_bytes(blake2b(user.encode(), digest_size=8).digest(), "big") % 100


async def test_reports_are_the_traffic_over_workers_and_restarts(
    bundle: tuple[Path, str], tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="2", TRIMTAB_TOKEN_KEY="k" * 32)
    port = given["TRIMTAB_PORT"]
    users = Users(session, f"http://127.0.0.1:{port}", 5)
    reader = Reader(session, port, bundle[1])
    epochs = set()
    for _ in range(3):
        with serving(given) as server:
            for _ in range(2):
                await users.predict(40)
                report = await reader.report()
                assert report is not None, reader.failures
                users.check(report)
                epochs.add(report.epoch)
            children = psutil.Process(server.process.pid).children()
            server.process.send_signal(signal.SIGKILL)
            psutil.wait_procs(children, 10)
        assert await reader.report() is None
    assert len(epochs) == 1
    assert set(reader.failures) == {("models", "unreachable")}


async def test_a_pod_of_another_digest_is_left_out(
    bundle: tuple[Path, str], tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="1")
    reader = Reader(session, given["TRIMTAB_PORT"], "sha256:" + "0" * 64)
    with serving(given):
        assert await reader.report() is None
        assert reader.failures == {("models", "revision"): 1}


async def test_a_new_state_is_a_new_epoch_and_starts_from_zero(
    bundle: tuple[Path, str], tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="1", TRIMTAB_TOKEN_KEY="k" * 32)
    reader = Reader(session, given["TRIMTAB_PORT"], bundle[1])
    users = Users(session, f"http://127.0.0.1:{given['TRIMTAB_PORT']}", 6)
    with serving(given):
        await users.predict(5)
        first = await reader.report()
    with serving(given | {"TRIMTAB_STATE_DIR": str(tmp_path / "new")}):
        second = await reader.report()
    assert first is not None
    assert second is not None
    assert (first.requests, second.requests) == (5, 0)
    assert first.epoch != second.epoch
    assert not reader.failures


async def test_the_smoke_test_needs_no_token_and_is_not_counted(
    bundle: tuple[Path, str], tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    (tokens / "one").write_text("secret")
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="2", TRIMTAB_TOKENS_DIR=str(tokens))
    reader = Reader(session, given["TRIMTAB_PORT"], bundle[1])
    with serving(given):
        passed = await reader.smoke()
        assert (passed.ok, passed.error) == (True, "")
        assert 0 < passed.seconds < 10
        report = await reader.report()
        assert report is not None
        assert (report.requests, report.rows, report.users) == (0, 0, 0)
    assert not reader.failures
