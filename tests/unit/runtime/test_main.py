"""The whole process, wired, against an API server in memory: how it starts, leads, follows, loses and stops."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import aiohttp
import pytest
import yaml
from aiohttp.test_utils import TestClient, TestServer
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import incluster_config, kube_config

from tests.memory_apiserver import MemoryApiServer
from tests.memory_cluster import Call, MemoryCluster
from tests.processes import free_port
from tests.unit.kinds.builders import NAMESPACE, mdep_object, mlmodel_object, model_revision, model_status
from trimtab import __main__ as main
from trimtab.core.objects import Object, Ref
from trimtab.kinds import KINDS, watched
from trimtab.runtime import handlers
from trimtab.runtime.cluster import ApiError
from trimtab.runtime.controller import Controller
from trimtab.runtime.leader import LEASE, NAME
from trimtab.runtime.replica import Replica
from trimtab.runtime.xds import ROUTES
from trimtab.settings import Settings

LIMIT = 10.0
MDEP = Ref("ModelDeployment", NAMESPACE, "risk")
FRONT = Ref("Service", NAMESPACE, "risk")
LEASE_REF = Ref(LEASE.kind, "default", NAME)


STUBBORN = """
import asyncio, os, signal, sys
from trimtab import __main__ as main

async def watch():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass  # a pause, it thinks

async def run(*_):
    global watching
    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    if end == "raise":
        raise OSError("no way")
    return int(end)

async def configuration():
    return None

main.run, main._configuration = run, configuration
for end in sys.argv[1:]:
    if os.fork() == 0:
        signal.alarm(30)
        main.main()
        sys.exit()
    code = os.waitstatus_to_exitcode(os.wait()[1])
    print(f"{end} ended with {code}", flush=True)
"""


class Ended(BaseException):
    """What ends the process, told to the test that lives in it."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _ended(code: int) -> NoReturn:
    raise Ended(code)


class Process:
    """One replica on a loop shared with the test."""

    def __init__(self, server: MemoryApiServer, **more: Any) -> None:
        self.server = server
        self.do = server.do
        self.settings = Settings(
            server_image="server:1",
            toolbox_image="toolbox:1",
            store_uri="s3://bundles",
            lease_duration_seconds=3,
            lease_renew_seconds=2,
            lease_retry_seconds=0.1,
            port=free_port(),
            xds_port=free_port(),
            pod_name="me",
            **more,
        )
        self.stop = asyncio.Event()

    def run(self) -> asyncio.Task[int]:
        configuration = Configuration(host=self.server.url)
        return asyncio.create_task(main.run(self.settings, configuration, self.stop))

    async def ask(self, path: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.settings.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status, await response.text()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():  # noqa: ASYNC110 - any part of two servers may make it true
                await asyncio.sleep(0.01)

    async def until_says(self, path: str, *wanted: str) -> None:
        async with asyncio.timeout(LIMIT):
            while True:
                try:
                    _, text = await self.ask(path)
                except aiohttp.ClientConnectionError:
                    text = ""
                if all(words in text for words in wanted):
                    return
                await asyncio.sleep(0.02)

    def watches_all(self) -> bool:
        return self.server.watching >= {resource.plural for resource in watched()}

    def holder(self) -> str:
        lease = self.do(lambda cluster: cluster.objects.get(LEASE_REF, {"spec": {"holderIdentity": ""}}))
        return str(lease["spec"]["holderIdentity"])

    def has(self, *refs: Ref) -> bool:
        return self.do(lambda cluster: set(refs) <= set(cluster.objects))

    def writes(self) -> list[Call]:
        return self.do(lambda cluster: cluster.writes())


@pytest.fixture
def server() -> Iterator[MemoryApiServer]:
    cluster = MemoryCluster()
    model = mlmodel_object("models:/credit/1", status=model_status(model_revision(1), current=1))
    cluster.put(model)
    cluster.put(mdep_object())
    with MemoryApiServer(cluster).serving() as made:
        yield made


@asynccontextmanager
async def running(process: Process, ended: int | None = 0) -> AsyncIterator[asyncio.Task[int]]:
    """The process while it runs; on leaving, it is stopped and its exit code is looked at."""
    task = process.run()
    try:
        yield task
    finally:
        process.stop.set()
        async with asyncio.timeout(LIMIT):
            code = await task
    assert code == ended


def held_by(name: str) -> Object:
    """A Lease that somebody else holds, and renews until the test takes it away."""
    meta = {"name": NAME, "namespace": "default"}
    spec = {"holderIdentity": name, "leaseDurationSeconds": 3_600}
    return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": meta, "spec": spec}


def give_lease_to(process: Process, name: str) -> None:
    process.do(lambda cluster: cluster.edit(LEASE_REF, lambda lease: lease["spec"].update(holderIdentity=name)))


async def test_a_leader_makes_what_is_wanted_and_mends_it(server: MemoryApiServer) -> None:
    process = Process(server)
    async with running(process):
        await process.until(lambda: process.has(FRONT))
        await process.until(process.watches_all)
        process.do(lambda cluster: cluster.remove(FRONT))
        await process.until(lambda: process.has(FRONT))
        process.do(lambda cluster: cluster.edit(FRONT, lambda obj: obj["spec"].update(selector={"app": "other"})))
        await process.until(lambda: "app" not in process.do(lambda c: c.objects[FRONT])["spec"]["selector"])
        await process.until_says("/metrics", 'leader_election_master_status{name="trimtab-operator"} 1.0')
        assert process.holder().startswith("me_")
    assert process.holder() == "", "so that the next one need not wait"


async def test_stopping_waits_for_nobody_in_vain(server: MemoryApiServer) -> None:
    """A scraper keeps its connection; kopf once waited five seconds for each task it had not made itself."""
    process = Process(server)
    async with aiohttp.ClientSession() as scraper, running(process) as task:
        await process.until(lambda: process.has(FRONT))
        await process.until(process.watches_all)
        async with scraper.get(f"http://127.0.0.1:{process.settings.port}/metrics") as response:
            assert response.status == 200
        process.stop.set()
        async with asyncio.timeout(3):
            assert await task == 0


async def test_the_lease_is_renewed_until_the_last_pass_is_over(
    server: MemoryApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(server)
    stop = Controller.stop

    def renewed() -> str:
        return str(process.do(lambda cluster: cluster.objects[LEASE_REF]["spec"]["renewTime"]))

    async def stop_slowly(controller: Controller, grace: float) -> None:
        for _ in range(3):
            last = renewed()
            await process.until(lambda last=last: renewed() != last)  # type: ignore[misc]
        await stop(controller, grace)

    monkeypatch.setattr(Controller, "stop", stop_slowly)
    async with running(process):
        await process.until(lambda: process.has(FRONT))
    assert process.holder() == ""


async def test_watches_that_break_are_taken_up_again(server: MemoryApiServer) -> None:
    process = Process(server)
    async with running(process):
        await process.until(lambda: process.has(FRONT))
        await process.until(process.watches_all)
        for _ in range(2):
            server.do(lambda _: server.break_watches())
            await process.until(lambda: not process.watches_all())
            await process.until(process.watches_all)
            process.do(lambda cluster: cluster.remove(FRONT))
            await process.until(lambda: process.has(FRONT))


async def test_a_follower_sees_everything_and_writes_nothing(server: MemoryApiServer) -> None:
    process = Process(server)
    process.do(lambda cluster: cluster.put(held_by("other")))
    async with running(process):
        await process.until_says("/readyz", "ok")
        await process.until(process.watches_all)
        process.do(lambda cluster: cluster.put(mdep_object("second")))
        await process.until_says(
            "/metrics",
            'trimtab_store_objects{kind="ModelDeployment"} 2.0',
            'workqueue_depth{name="ModelDeployment"} 2.0',
            'leader_election_master_status{name="trimtab-operator"} 0.0',
        )
        assert process.writes() == []
        give_lease_to(process, "")
        await process.until(lambda: process.has(FRONT, Ref("Service", NAMESPACE, "second")))


async def test_who_loses_the_lease_ends(server: MemoryApiServer) -> None:
    process = Process(server)
    task = process.run()
    await process.until(lambda: process.has(FRONT))
    give_lease_to(process, "other")
    async with asyncio.timeout(LIMIT):
        assert await task == main.LOST_LEADERSHIP
    assert process.holder() == "other"


def looked_at(process: Process, namespace: str, name: str) -> bool:
    return process.do(lambda cluster: "status" in cluster.objects[Ref(MDEP.kind, namespace, name)])


async def test_only_the_namespaces_asked_for_are_seen(server: MemoryApiServer) -> None:
    elsewhere = mdep_object()
    elsewhere["metadata"]["namespace"] = "team-b"
    process = Process(server, watch_namespaces=("team-b", "team-c"))
    process.do(lambda cluster: cluster.put(elsewhere))
    async with running(process):
        await process.until(lambda: looked_at(process, "team-b", "risk"))
        await process.until(process.watches_all)
        later = mdep_object("later")
        later["metadata"]["namespace"] = "team-c"
        process.do(lambda cluster: cluster.put(later))
        await process.until(lambda: looked_at(process, "team-c", "later"))
    assert not process.has(FRONT)


async def test_it_can_be_stopped_before_it_has_seen_anything(server: MemoryApiServer) -> None:
    process = Process(server)

    def forbid(verb: str, _: Ref) -> None:
        if verb == "list":
            raise ApiError(403, "Forbidden", "no")

    server.cluster.before = forbid
    async with running(process):
        await process.until_says("/readyz", "the cluster has not been listed yet")
        status, text = await process.ask("/healthz")
        assert (status, text) == (200, "ok"), "restarting would not help"
    assert process.writes() == []


async def test_a_first_look_that_cannot_be_read_ends_it(server: MemoryApiServer) -> None:
    """Better not at all than from half a picture."""
    process = Process(server)
    del server.cluster.objects[MDEP]["metadata"]["namespace"]
    with pytest.raises(KeyError):
        await asyncio.wait_for(process.run(), LIMIT)
    assert process.writes() == []


async def test_watches_that_end_by_themselves_let_go_of_the_lease(
    server: MemoryApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(server)

    async def watch(*_: object) -> None:
        await process.until(lambda: process.has(FRONT))
        raise RuntimeError("the framework has a bug")

    monkeypatch.setattr(handlers, "watch", watch)
    with pytest.raises(RuntimeError):
        await asyncio.wait_for(process.run(), LIMIT)
    assert process.holder() == ""


async def test_nothing_is_left_running(server: MemoryApiServer) -> None:
    before = asyncio.all_tasks()
    process = Process(server)
    async with running(process):
        await process.until(process.watches_all)
    assert not {task for task in asyncio.all_tasks() - before if not task.done()}


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_is_an_orderly_end(
    server: MemoryApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: signal.Signals
) -> None:
    process = Process(server)
    kubeconfig = tmp_path / "kubeconfig"
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    users = [{"name": "u", "user": {"token": "t"}}]
    clusters = [{"name": "c", "cluster": {"server": server.url}}]
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [context]}
    kubeconfig.write_text(yaml.safe_dump({**config, "users": users, "clusters": clusters}))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
    monkeypatch.setattr(os, "_exit", _ended)
    task = asyncio.create_task(main._main(process.settings))
    await process.until(lambda: process.has(FRONT))
    await process.until(process.watches_all)
    os.kill(os.getpid(), name)
    with pytest.raises(Ended) as caught:
        async with asyncio.timeout(3):
            await task
    assert caught.value.code == 0
    assert process.holder() == ""


async def test_in_a_pod_the_pods_own_account_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("t0ken")
    authority.write_text("certificate")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    configuration = await main._configuration()
    assert (configuration.host, configuration.ssl_ca_cert) == ("https://10.0.0.1:443", str(authority))
    assert handlers.connection(configuration).token == "t0ken"


class TestHealth:
    @pytest.fixture
    async def operator(self, server: MemoryApiServer) -> AsyncIterator[Replica]:
        configuration = Configuration(host=server.url)
        async with ApiClient(configuration) as client, aiohttp.ClientSession() as session:
            yield Replica(Process(server).settings, client, session)

    async def test_a_picture_that_grows_old_is_unhealthy(
        self, operator: Replica, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        age: list[float | None] = [None]
        monkeypatch.setattr(operator.picture, "age", lambda: age[0])
        assert (operator.alive(), operator.ready()) == ("", "the cluster has not been listed yet")
        age[0] = 2 * 600 + 59
        assert (operator.alive(), operator.ready()) == ("", "")
        age[0] = 2 * 600 + 61
        assert operator.alive() == "the picture of the cluster was last checked 1261 s ago"

    async def test_gauges_are_set_when_they_are_read(self, operator: Replica) -> None:
        await operator.picture.check()
        operator.refresh()
        registry = operator.metrics.registry
        assert registry.get_sample_value("trimtab_store_objects", {"kind": "MLModel"}) == 1
        assert registry.get_sample_value("leader_election_master_status", {"name": NAME}) == 0
        assert registry.get_sample_value("workqueue_longest_running_processor_seconds", {"name": "MLModel"}) == 0

    async def test_routers_that_wait_are_told_what_the_watches_bring(
        self, operator: Replica, server: MemoryApiServer
    ) -> None:
        await operator.picture.check()
        arm = {"name": "old", "host": "old.svc", "port": 8080}
        told = {"router": {"salt": "s1", "control": "old", "arms": [arm]}}
        question = {"node": {"cluster": f"modeldeployments/{NAMESPACE}/risk"}}
        async with TestClient(TestServer(operator.xds.application())) as router:
            asked = asyncio.create_task(router.post(ROUTES, json=question))
            changed = server.do(lambda cluster: cluster.edit(MDEP, lambda obj: obj.update(status=told)))
            operator.picture.absorb(changed, gone=False)
            assert (await asked).status == 200

    async def test_objects_go_to_the_queue_of_their_kind(self, operator: Replica) -> None:
        await operator.picture.check()
        waiting = {name: len(controller.queue) for name, controller in operator.controllers.items()}
        assert waiting == {"MLModel": 1, "ModelDeployment": 1, "ABTest": 0, "RetrainSchedule": 0}


def test_everything_that_matters_is_watched_once() -> None:
    kinds = [resource.kind for resource in watched()]
    assert len(kinds) == len(set(kinds))
    assert {*KINDS, "Pod", "Deployment", "Service", "Job"} <= set(kinds)


def test_settings_that_cannot_be_used_end_it_with_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.startswith("TRIMTAB_"):
            monkeypatch.delenv(name)
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == 2
    assert "TRIMTAB_SERVER_IMAGE: Field required" in capsys.readouterr().err


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What processes of several ends said: forks of one, as importing the operator takes a second each time."""
    script = tmp_path_factory.mktemp("ends") / "stubborn.py"
    script.write_text(STUBBORN)
    environment = {
        **os.environ,
        "KUBECONFIG": "",
        "KUBERNETES_SERVICE_HOST": "",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    for name, value in (("SERVER_IMAGE", "a"), ("TOOLBOX_IMAGE", "b"), ("STORE_URI", "s3://c")):
        environment[f"TRIMTAB_{name}"] = value
    command = [sys.executable, script, "raise", "0", str(main.LOST_LEADERSHIP)]
    said = subprocess.PIPE
    return subprocess.run(command, env=environment, stdout=said, stderr=subprocess.STDOUT, text=True, check=True).stdout


@pytest.mark.parametrize(("end", "code"), [("raise", 1), ("0", 0), (str(main.LOST_LEADERSHIP), main.LOST_LEADERSHIP)])
def test_the_process_ends_whatever_the_watches_do(ends: str, end: str, code: int) -> None:
    assert f"{end} ended with {code}\n" in ends
    said, _, rest = ends.partition("raise ended with")
    assert "no way" in said
    assert "no way" not in rest
