"""Health and metrics, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.processes import free_port
from trimtab.runtime import server
from trimtab.runtime.metrics import Metrics


class Replica:
    """What the endpoints ask about, and the answers a test sets."""

    def __init__(self) -> None:
        self.port = free_port()
        self.metrics = Metrics()
        self.alive = self.ready = ""
        self.refreshed = 0

    def refresh(self) -> None:
        self.refreshed += 1
        self.metrics.leading.labels("lease").set(self.refreshed)

    async def get(self, path: str) -> tuple[int, str, str]:
        url = f"http://127.0.0.1:{self.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status, await response.text(), response.headers["Content-Type"]


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    made = Replica()
    app = server.application(made.metrics, lambda: made.alive, lambda: made.ready, made.refresh)
    runner = await server.serve(app, made.port)
    yield made
    await runner.cleanup()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_say_what_is_wrong(replica: Replica, path: str) -> None:
    assert (await replica.get(path))[:2] == (200, "ok")
    replica.alive = replica.ready = "the picture is old"
    assert (await replica.get(path))[:2] == (503, "the picture is old")


async def test_the_two_probes_ask_different_questions(replica: Replica) -> None:
    replica.ready = "not listed yet"
    assert (await replica.get("/healthz"))[0] == 200
    replica.alive, replica.ready = "old", ""
    assert (await replica.get("/readyz"))[0] == 200


async def test_metrics_are_fresh_and_under_the_names_dashboards_know(replica: Replica) -> None:
    status, text, kind = await replica.get("/metrics")
    assert status == 200
    assert kind.startswith("text/plain")
    for name in (
        "controller_runtime_reconcile_total",
        "controller_runtime_reconcile_errors_total",
        "controller_runtime_reconcile_time_seconds",
        "controller_runtime_active_workers",
        "controller_runtime_max_concurrent_reconciles",
        "workqueue_depth",
        "workqueue_adds_total",
        "workqueue_queue_duration_seconds",
        "workqueue_work_duration_seconds",
        "workqueue_retries_total",
        "workqueue_longest_running_processor_seconds",
        "rest_client_requests_total",
        "leader_election_master_status",
        "process_resident_memory_bytes",
        'trimtab_build_info{version="',
    ):
        assert name in text
    assert 'leader_election_master_status{name="lease"} 1.0' in text
    assert 'leader_election_master_status{name="lease"} 2.0' in (await replica.get("/metrics"))[1]


async def test_there_is_nothing_else(replica: Replica) -> None:
    assert (await replica.get("/debug"))[0] == 404
