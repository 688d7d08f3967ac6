"""A small installation under a real Prometheus: operators, a model server under traffic, a router, and an Alertmanager.

Prometheus is configured by the chart's own file; only where targets come from, how often they are asked, and how long
an alert has to last are other than in a cluster.
"""

from __future__ import annotations

import asyncio
import copy
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from tests.chart import one, render
from tests.contract import served
from tests.contract.test_server_process import serving
from tests.memory_apiserver import MemoryApiServer
from tests.memory_cluster import MemoryCluster
from tests.operators import PLATFORM, ROOT
from tests.processes import Processes, free_port
from tests.prometheus import FAST, Servers, discovered, scrape_jobs
from tests.routers import OWNER, USER, Bench, Load, bench
from tests.unit.kinds.builders import mdep_object, mlmodel_object, model_revision, model_status
from tests.unit.runtime import statuses, test_standing
from tests.upstreams import until
from trimtab.core import metadata
from trimtab.core.objects import Object
from trimtab.core.platform import Platform
from trimtab.kinds.modeldeployment.template import RUNTIME, revision_labels
from trimtab.runtime.leader import LEASE, NAME
from trimtab.traffic import router
from trimtab.traffic.state import RouterStatus, Shadow

SCRAPES = 6
"""Of each target: enough for every rate over WINDOW."""


class Prometheus(Servers):
    """Prometheus and Alertmanager, and what came out at the end of the wire."""

    def __init__(self, folder: Path, session: aiohttp.ClientSession) -> None:
        super().__init__(folder)
        self.session = session
        self.received: list[dict[str, Any]] = []

    def scrape(self, targets: list[dict[str, Any]]) -> None:
        """Begin to scrape these targets."""
        self.find(targets)
        self.start(scrape_jobs(FAST))

    async def ask(self, path: str, **query: str) -> Any:
        """The data in an answer of Prometheus' API; AssertionError quotes what it complains of."""
        async with self.session.get(self.url(path), params=query) as response:
            answer = await response.json()
        assert answer["status"] == "success", f"{query}: {answer.get('error')}"
        return answer["data"]

    async def value(self, expression: str) -> list[Any]:
        """The series of an instant query."""
        found: list[Any] = (await self.ask("query", query=expression))["result"]
        return found

    async def scraped(self, targets: int) -> None:
        """Until each target was scraped often enough."""
        enough = f"count(count_over_time(up[1h]) >= {SCRAPES} and up == 1)"

        async def done() -> bool:
            try:
                return [row["value"][1] for row in await self.value(enough)] == [str(targets)]
            except aiohttp.ClientError:  # it listens before it answers
                return False

        await until(done, f"{targets} targets were scraped {SCRAPES} times; see {self.folder}")

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Receive what Alertmanager sends."""

        async def receive(request: web.Request) -> web.Response:
            self.received += (await request.json())["alerts"]
            return web.Response()

        app = web.Application()
        app.router.add_post("/", receive)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.hook).start()
        try:
            yield
        finally:
            await runner.cleanup()


class Operators:
    """One operator that leads, and one that follows somebody who is not there and so leaves statuses as they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes = Processes(folder)

    @contextmanager
    def running(self) -> Any:
        """Run both; yields their targets."""
        busy, told = MemoryCluster(), MemoryCluster()
        busy.put(mlmodel_object("models:/credit/1", status=model_status(model_revision(1), current=1)))
        busy.put(mdep_object())
        for obj in (*standings(), _lease()):
            told.put(obj)
        try:
            with MemoryApiServer(busy).serving() as first, MemoryApiServer(told).serving() as second:
                targets = [self._start("leads", first.url), self._start("follows", second.url)]
                yield targets
                self._processes.end_all(at_once=["leads", "follows"])
        finally:
            self._processes.end_all(at_once=["leads", "follows"])

    def _start(self, name: str, server: str) -> dict[str, Any]:
        config = self.folder / f"{name}.kubeconfig"
        cluster, context = {"server": server}, {"cluster": "c", "user": "u"}
        content = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": context}],
            "current-context": "x",
        }
        config.write_text(yaml.safe_dump(content))
        port = free_port()
        given = PLATFORM | {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "operator"),
            "KUBECONFIG": str(config),
            "POD_NAME": name,
            "POD_NAMESPACE": name,
            "TRIMTAB_PORT": str(port),
            "TRIMTAB_XDS_PORT": str(free_port()),
        }
        variables = [f"{key}={value}" for key, value in given.items()]
        self._processes.spawn(name, ["env", "-i", *variables, sys.executable, "-m", "trimtab"])
        pod = one(render({}), "Deployment", "trimtab-operator")["spec"]["template"]["metadata"]
        return discovered(f"127.0.0.1:{port}", pod, name, f"{name}-0", "http")


def _lease() -> Object:
    meta = {"name": NAME, "namespace": "follows"}
    spec = {"holderIdentity": "nobody", "leaseDurationSeconds": 3_600}
    return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": meta, "spec": spec}


def standings() -> list[Object]:
    """Resources with something to tell: every figure that a status can hold."""
    deployment, schedule = test_standing.deployment(), statuses.schedule()
    found = statuses.deployment()
    status = found["status"]
    status["drift"]["problems"].append({"feature": "age", "problem": "Range", "share": "0.2", "message": "beyond"})
    deployment["status"] = {**status, **deployment["status"]}
    for row, version in zip(deployment["status"]["revisions"], ("7", "8"), strict=True):
        row["version"] = version
    deployment["spec"] |= found["spec"]
    experiment = copy.deepcopy(test_standing.experiment())
    experiment["metadata"]["name"] = "choice"
    blocked = {"type": "RetrainIneffective", "status": "True", "reason": "RetrainIneffective"}
    slot = "2030-01-01T00:00:00Z"
    schedule["status"] |= {"conditions": [blocked], "circuit": {"failures": 3, "openedAt": slot}}
    schedule["status"] |= {"lastSlot": slot, "passed": {"slot": slot, "reason": "CircuitOpen"}}
    made = [deployment, schedule, experiment]
    return [{**obj, "metadata": {**obj["metadata"], "uid": f"u-{obj['kind']}"}} for obj in made]


async def routed(found: Bench) -> dict[str, Any]:
    """A router before two arms, one of which fails at times, and a shadow; the router as a target."""
    for name in ("control", "gbm", "shadow"):
        await found.arm(name)
    flip = iter(range(1_000_000))
    found.arms["gbm"].code = lambda: 500 if next(flip) % 250 == 0 else 200
    arms = [found.arms["control"].arm(), found.arms["gbm"].arm(5_000, 5_000), found.arms["shadow"].arm()]
    shadow = Shadow(arm="shadow", percent=10)
    status = RouterStatus(salt="run-1", header=USER, control="control", arms=arms, shadow=shadow).checked()
    found.operator.tell(status)
    started = await found.router()
    child = router.children(OWNER, "choice", Platform("", "", "", xds_address="operator:18000"), status)[0]
    pod = child["spec"]["template"]["metadata"]
    return discovered(f"127.0.0.1:{started.report}", pod, "shop", "choice-router-0", "report")


def server_target(port: str, runtime: str = "onnx") -> dict[str, Any]:
    """A model pod as a target."""
    pod = {"labels": revision_labels(served.NAME, "aaaa1111"), "annotations": {RUNTIME: runtime}}
    return discovered(f"127.0.0.1:{port}", pod, "shop", f"{served.NAME}-{runtime}", "http")


async def predicting(session: aiohttp.ClientSession, url: str) -> None:
    """Ask a model server for predictions, one of ten of which it must refuse, until cancelled."""
    number = 0
    while True:
        body = served.request([(40, 2_000, "Bonn")])
        if number % 10 == 9:
            body["inputs"][0]["data"][0] = "old"
        async with session.post(url + served.INFER, json=body) as response:
            await response.read()
        number += 1
        await asyncio.sleep(0.01)


@asynccontextmanager
async def installation(folder: Path) -> AsyncIterator[Prometheus]:
    """All of it at work, scraped often enough to be asked anything."""
    (folder / "bundle").mkdir()
    digest = served.make_bundle(folder / "bundle")
    given = served.environment(folder / "bundle", digest, folder / "pod", TRIMTAB_WORKERS="1")
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        found = await stack.enter_async_context(bench())
        operators = stack.enter_context(Operators(folder).running())
        server = stack.enter_context(serving(given))
        targets = [*operators, server_target(given["TRIMTAB_PORT"]), await routed(found)]
        # What users brought, and other people's pods, are not scraped.
        strangers = [server_target(given["TRIMTAB_PORT"], "container")]
        strangers.append(discovered("127.0.0.1:1", {"labels": {metadata.MANAGED_BY: "Helm"}}, "shop", "other", "http"))
        load = Load(found, clients=2)
        stack.push_async_callback(load.stop)
        client = asyncio.create_task(predicting(session, server.url))
        stack.callback(client.cancel)
        prometheus = Prometheus(folder, session)
        await stack.enter_async_context(prometheus.listening())
        stack.callback(prometheus.stop)
        prometheus.scrape([*targets, *strangers])
        await prometheus.scraped(len(targets))
        yield prometheus
