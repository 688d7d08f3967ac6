"""What routers say is read with suspicion: a real server on this machine says all of it."""

from __future__ import annotations

import asyncio
import copy
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from trimtab.adapters.polling import Distrusted, Poller
from trimtab.adapters.routers import REPORT, WANTED, read_report
from trimtab.core.objects import Object
from trimtab.evidence.sources import ArmCounts, Cells, RouterReport

MANNER = web.AppKey("manner", list[str])
POD: Object = {
    "kind": "Pod",
    "metadata": {"uid": "u1", "name": "choice-router-1", "namespace": "shop"},
    "status": {"podIP": "127.0.0.1"},
}
COUNTERS = {
    "cluster_manager.cds.version_text": "c1",
    "http.router.rds.router.version_text": "r1",
    "http.epoch-5f2c-77.rq_total": 3,
    "cluster.arm_old.membership_total": 2,
    "cluster.arm_old.upstream_rq_completed": 90,
    "cluster.arm_old.upstream_rq_5xx": 1,
    "cluster.arm_a.membership_total": 1,
    "cluster.arm_a.upstream_rq_completed": 10,
    "cluster.arm_a.upstream_rq_5xx": 2,
    "cluster.arm_a.retry.upstream_rq_completed": 5,
    "cluster.arm_a.retry.upstream_rq_5xx": 5,
    "cluster.arm_idle.membership_total": 0,
    "cluster.shadow_a.membership_total": 1,
    "cluster.shadow_a.upstream_rq_completed": 4,
    "cluster.xds.membership_total": 1,
}
BUCKETS = [
    {"upper_bound": 1, "interval": 0, "cumulative": 80},
    {"upper_bound": 2.5, "interval": 1, "cumulative": 10},
]


def page(histogram: Any = BUCKETS, **changes: Any) -> dict[str, Any]:
    """Envoy's page of counters."""
    rows: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in {**COUNTERS, **changes}.items()]
    return {"stats": [*rows, {"histograms": [{"name": "cluster.arm_old.upstream_rq_time", "buckets": histogram}]}]}


def read(found: Any, before: RouterReport | None = None) -> RouterReport:
    return read_report(POD, 200, json.dumps(found).encode(), before)


def test_counts_are_told_by_arm_with_retried_attempts_and_apart_from_copies() -> None:
    assert read(page()) == RouterReport(
        pod="u1",
        epoch="5f2c-77",
        clusters_version="c1",
        routes_version="r1",
        arms={
            "old": ArmCounts(90, 1, Cells((0.001, 0.0025), (80, 10, 0))),
            "a": ArmCounts(15, 7),
            "idle": ArmCounts(),
        },
        shadows={"a": ArmCounts(4)},
        endpoints={"old": 2, "a": 1, "idle": 0},
    )


def test_a_router_that_was_told_nothing_yet_acknowledges_nothing() -> None:
    found = page()
    found["stats"] = [row for row in found["stats"] if "version_text" not in row.get("name", "")]
    assert (read(found).clusters_version, read(found).routes_version) == ("", "")


def broken(**changes: Any) -> dict[str, Any]:
    return page(**{name.replace("__", "."): value for name, value in changes.items()})


def without_epoch() -> dict[str, Any]:
    found = copy.deepcopy(page())
    found["stats"] = [row for row in found["stats"] if "epoch" not in row.get("name", "")]
    return found


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (broken(cluster__arm_old__upstream_rq_completed=-1), "upstream_rq_completed|is no count: -1"),
        (broken(cluster__arm_old__upstream_rq_completed=1.5), "is no count: 1.5"),
        (broken(cluster__arm_old__upstream_rq_completed="9"), "is no count: 9"),
        (broken(cluster__arm_old__upstream_rq_completed=True), "is no count: True"),
        (broken(cluster__arm_old__upstream_rq_completed=1 << 60), "is no count"),
        (broken(cluster__arm_old__upstream_rq_5xx=91), "arm old has 91 errors in 90 requests"),
        (page(histogram=[BUCKETS[1], BUCKETS[0]]), "the edges of a histogram do not grow"),
        (page(histogram=[{"upper_bound": n, "cumulative": 0} for n in range(65)]), "or are too many"),
        (page(histogram=[{"upper_bound": 1}]), "a histogram has other parts"),
        (page(histogram=5), "a histogram has other parts"),
        (page(histogram=[{"upper_bound": "x", "cumulative": 0}]), "a histogram has other parts"),
        (without_epoch(), "it does not say since when it counts"),
        ({"stats": 5}, "not the JSON that Envoy sends"),
        ({"stats": [5]}, "not the JSON that Envoy sends"),
        ([], "not the JSON that Envoy sends"),
        ({}, "not the JSON that Envoy sends"),
    ],
)
def test_a_page_that_cannot_be_true_is_left_out(found: Any, says: str) -> None:
    with pytest.raises(Distrusted, match=says):
        read(found)


def test_counts_do_not_shrink_but_with_a_new_epoch() -> None:
    before = read(page())
    fewer = {"cluster.arm_old.upstream_rq_completed": 50}
    with pytest.raises(Distrusted, match="the requests of arm old became fewer without a restart"):
        read(page(**fewer), before)
    again = page(**fewer)
    again["stats"] = [row for row in again["stats"] if "epoch" not in row.get("name", "")]
    again["stats"].append({"name": "http.epoch-new.rq_total", "value": 0})
    assert read(again, before).epoch == "new"


def test_an_arm_that_came_back_may_begin_again() -> None:
    gone = page()
    gone["stats"] = [row for row in gone["stats"] if "arm_a." not in row.get("name", "")]
    assert read(page(), read(gone, read(page()))).arms["a"].requests == 15


@pytest.mark.parametrize("body", [b"", b"\xff", b"<html>", b"[" * 200_000])
def test_bytes_that_are_no_page_are_left_out(body: bytes) -> None:
    with pytest.raises(Distrusted, match="not the JSON that Envoy sends"):
        read_report(POD, 200, body, None)


def test_a_refusal_is_no_report() -> None:
    with pytest.raises(Distrusted, match="it answered HTTP 503"):
        read_report(POD, 503, b"{}", None)


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    async def stats(request: web.Request) -> web.StreamResponse:
        manner = request.app[MANNER][0]
        assert request.query["filter"] == WANTED
        if manner == "slow":
            await asyncio.sleep(60)
        if manner == "endless":
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b"x" * 65_536)
        return web.json_response(page() if manner == "well" else {"stats": "lies"})

    app = web.Application()
    app.router.add_get("/stats", stats)
    app[MANNER] = ["well"]
    async with TestServer(app, host="127.0.0.1") as found:
        yield found


@pytest.mark.parametrize(
    ("manner", "kind"), [("well", ""), ("slow", "unreachable"), ("endless", "oversized"), ("lying", "invalid")]
)
async def test_routers_that_misbehave_are_counted_and_absent(server: TestServer, manner: str, kind: str) -> None:
    server.app[MANNER][0] = manner
    failures: Counter[str] = Counter()
    async with aiohttp.ClientSession() as session:
        clock = asyncio.get_running_loop().time
        question = replace(REPORT, port=server.port or 0, seconds=0.1 if manner == "slow" else 2.0)
        poller = Poller(question, session, clock, lambda _, why: failures.update([why]))
        found = await poller.ask([POD], 0)
    assert set(found) == (set() if kind else {"u1"})
    assert failures == ({kind: 1} if kind else {})
