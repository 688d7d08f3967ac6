"""Counts with real processes: several workers, killed ones and restarted containers, against a recount."""

import asyncio
import json
import os
import random
import signal
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.contract.served import INFER, NAME, Recount, environment, make_bundle, request
from tests.contract.sleeper import until
from tests.contract.test_server_process import Process, serving
from tests.property.test_user_sketch import sketch_of
from trimtab_serving.counting.profile import digest_of_profile
from trimtab_serving.counting.sketch import describe_users


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    directory = tmp_path_factory.mktemp("counted") / "bundle"
    directory.mkdir()
    return directory, make_bundle(directory)


def draw(rng: random.Random) -> list[tuple[float | None, float, str]]:
    rows = rng.choice([1, 1, 1, 1, 2, 7, 40, 300])
    cities = ["Bonn", "Ulm", "Rom", "Paris", "", "Österreich"]
    ages: list[float | None] = [None, -5.0, 17.5, 18.0, 29.999, 30.0, 60.0, 90.0, 1e30]
    return [(rng.choice(ages), rng.uniform(-100, 4000), rng.choice(cities)) for _ in range(rows)]


class Traffic:
    """Clients that send a known traffic, one request at a time each, and recount what was answered."""

    def __init__(self, url: str, seed: int) -> None:
        self.url, self.rng = url, random.Random(seed)
        self.recount = Recount()
        self.unanswered = 0
        self.tokens: list[str] = []
        self.users: set[str] = set()

    async def send(self, session: aiohttp.ClientSession, requests: int) -> None:
        for number in range(requests):
            rows = draw(self.rng)
            body = request(rows)
            if number % 10 == 9:
                body["inputs"][0]["data"][0] = "old"
            user = f"user-{self.rng.randrange(1000)}"
            headers = {"x-user-id": user, "content-type": "application/json"}
            try:
                async with session.post(self.url + INFER, json=body, headers=headers) as response:
                    self.recount.answered(response.status, rows, await response.json())
                    if response.status == 200:
                        self.users.add(user)
                    if "x-trimtab-token" in response.headers:
                        self.tokens += response.headers["x-trimtab-token"].split(",")
            except aiohttp.ClientError:
                self.unanswered += 1

    async def run(self, clients: int, requests: int, *, kept: bool = False) -> None:
        connector = aiohttp.TCPConnector(force_close=not kept)
        async with aiohttp.ClientSession(connector=connector) as session:
            await asyncio.gather(*(self.send(session, requests) for _ in range(clients)))


def workers_of(server: Process) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children()


async def test_counts_are_exact_over_workers_kills_and_restarts(bundle: tuple[Path, str], tmp_path: Path) -> None:
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="2")
    epochs = set()
    traffic = Traffic(f"http://127.0.0.1:{given['TRIMTAB_PORT']}", 1)
    for restart in range(3):
        with serving(given) as server:
            for round_ in range(2):
                await traffic.run(clients=4, requests=20)
                if round_:
                    continue
                victim = random.Random(restart).choice(workers_of(server))
                os.kill(victim.pid, signal.SIGKILL)
                until(lambda victim=victim: len(workers_of(server)) == 2 and victim not in workers_of(server))
                assert server.call("/v2/health/ready")[0] == 200
            counts = server.call("/trimtab/v1/counts")[1]
            traffic.recount.equals(counts)
            assert counts["users"] == describe_users(bytes(sketch_of(traffic.users)))
            epochs.add(counts["epoch"])
            server.process.send_signal(signal.SIGKILL)
            children = workers_of(server)
            psutil.wait_procs(children, 10)
    assert traffic.unanswered == 0
    assert len(epochs) == 1
    assert counts["digest"] == bundle[1]
    assert sum(counts["buckets"]["rows"]) == counts["rows"]
    assert counts["typeErrors"] == {"age": traffic.recount.requests["4xx"], "income": 0, "city": 0}
    assert traffic.recount.requests["4xx"] == 48


async def test_the_profile_is_the_bundle_s_whatever_the_door(bundle: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "one").write_text("secret")
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="2", TRIMTAB_TOKENS_DIR=str(tmp_path / "tokens"))
    with serving(given) as server:
        async with aiohttp.ClientSession() as session, session.get(server.url + "/trimtab/v1/profile") as response:
            assert (response.status, response.content_type) == (200, "application/json")
            content = await response.read()
        assert content == (bundle[0] / "profile.json").read_bytes()
        assert digest_of_profile(content) == server.call("/trimtab/v1/counts")[1]["profile"]


async def test_counts_are_exact_on_connections_that_are_kept(bundle: tuple[Path, str], tmp_path: Path) -> None:
    with serving(environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="1")) as server:
        traffic = Traffic(server.url, 4)
        await traffic.run(clients=32, requests=20, kept=True)
        counts = server.call("/trimtab/v1/counts")[1]
    traffic.recount.equals(counts)
    assert counts["users"] == describe_users(bytes(sketch_of(traffic.users)))
    assert traffic.unanswered == 0
    assert len(set(traffic.tokens)) == len(traffic.tokens) > 0


async def test_killed_under_load_nothing_answered_is_lost(bundle: tuple[Path, str], tmp_path: Path) -> None:
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="2")
    with serving(given) as server:
        traffic = Traffic(server.url, 2)
        running = asyncio.create_task(traffic.run(clients=8, requests=60))
        for _ in range(3):
            await asyncio.sleep(0.3)
            os.kill(workers_of(server)[0].pid, signal.SIGKILL)
        await running
        until(lambda: server.call("/v2/health/ready")[0] == 200)
        counts = server.call("/trimtab/v1/counts")[1]
    answered = sum(traffic.recount.requests.values())
    assert answered + traffic.unanswered == 480
    # What was being answered when its worker died may have been counted; all that clients saw was.
    assert answered <= sum(counts["requests"]["classes"].values()) <= 480
    assert counts["rows"] >= len(traffic.recount.rows)
    for feature in counts["features"]:
        assert sum(feature["counts"]) + feature["missing"] == counts["rows"]
    assert sum(counts["predictions"]["counts"]) == counts["rows"]


async def test_metrics_and_feedback_are_one_whichever_worker_answers(bundle: tuple[Path, str], tmp_path: Path) -> None:
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="2", TRIMTAB_TOKEN_KEY="k" * 32)
    with serving(given) as server:
        traffic = Traffic(server.url, 3)
        await traffic.run(clients=8, requests=10)
        labels = f'model="{NAME}",revision="{bundle[1][7:19]}"'
        for _ in range(6):
            metrics = server.call("/metrics")[1].splitlines()
            assert f'trimtab_requests_total{{code="200",{labels}}} {traffic.recount.requests["2xx"]}.0' in metrics
            assert f"trimtab_request_duration_seconds_count{{{labels}}} 80.0" in metrics
            assert sum(line.startswith("trimtab_connections{worker=") for line in metrics) == 2
        batch = [{"token": token, "outcome": index % 2, "label": 1} for index, token in enumerate(traffic.tokens)]
        assert server.call("/trimtab/v1/feedback", batch[:30])[1] == {"accepted": 30, "refused": 0, "errors": []}
        for _ in range(6):
            answer = server.call("/trimtab/v1/feedback", batch[:31])[1]
            told = answer["errors"][0] if answer["errors"] else {}
            assert (answer["accepted"], answer["refused"]) in ((1, 30), (0, 31))
            assert told["error"].startswith("token was used before")
        revision = server.call("/trimtab/v1/counts")[1]["outcomes"]["revisions"][0]
        assert revision["revision"] == bundle[1][7:15]
        assert (sum(revision["outcomes"]["n"]), sum(revision["outcomes"]["sum"])) == (31, 15)
        assert sum(map(sum, revision["confusion"])) == 31
        assert sum(row[1] for row in revision["confusion"]) == 31
        assert sum(revision["scores"]["n"]) == sum(revision["scores"]["right"]) == 31


async def test_tokens_are_taken_by_any_replica_with_the_key(bundle: tuple[Path, str], tmp_path: Path) -> None:
    common = {"TRIMTAB_WORKERS": "1", "TRIMTAB_TOKEN_KEY": "k" * 32}
    one = environment(*bundle, tmp_path / "one", **common)
    other = environment(*bundle, tmp_path / "other", **common)
    stranger = environment(*bundle, tmp_path / "stranger", TRIMTAB_WORKERS="1")
    with serving(one) as first, serving(other) as second, serving(stranger) as third:
        body = request([(40, 2000, "Bonn")])
        token = first.call(INFER, body, **{"x-user-id": "u1"})[2]["x-trimtab-token"]
        assert len(token) == 40
        told = {"token": token, "outcome": 12.5}
        assert second.call("/trimtab/v1/feedback", told)[:2] == (200, {"accepted": 1, "refused": 0, "errors": []})
        assert third.call("/trimtab/v1/feedback", told)[0] == 403
        assert second.call("/trimtab/v1/feedback", told)[0] == 409
        assert "only this pod will take outcomes" in third.log.read_text()
        assert third.call("/trimtab/v1/counts")[1]["outcomes"]["refused"]["forged"] == 1


def test_counting_can_be_switched_off(bundle: tuple[Path, str], tmp_path: Path) -> None:
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="1", TRIMTAB_COUNTING="off")
    with serving(given) as server:
        status, _, headers = server.call(INFER, request([(40, 2000, "Bonn")]))
        assert (status, "x-trimtab-token" in headers) == (200, False)
        counts = server.call("/trimtab/v1/counts")[1]
        assert (counts["requests"]["classes"]["2xx"], counts["rows"]) == (1, 0)
        assert "features" not in counts
        assert server.call("/trimtab/v1/feedback", {})[0] == 404


def test_a_worker_that_cannot_load_ends_the_pod_with_last_words(bundle: tuple[Path, str], tmp_path: Path) -> None:
    given = environment(bundle[0], "sha256:" + "0" * 64, tmp_path / "pod", TRIMTAB_WORKERS="2")
    server = Process(given)
    assert server.process.wait(30) == 10
    assert json.loads(Path(given["TRIMTAB_RESULT_PATH"]).read_text())["reason"] == "DigestMismatch"


async def test_sigterm_to_several_workers_loses_no_request(bundle: tuple[Path, str], tmp_path: Path) -> None:
    given = environment(*bundle, tmp_path / "pod", TRIMTAB_WORKERS="2", TRIMTAB_DRAIN_SECONDS="2")
    with serving(given) as server:
        traffic = Traffic(server.url, 4)
        running = asyncio.create_task(traffic.run(clients=4, requests=40))
        await asyncio.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        assert server.call("/v2/health/ready")[0] == 503
        await running
        assert traffic.unanswered == 0
        assert await asyncio.to_thread(server.process.wait, 20) == 0
