"""Arms of several pods behind one name, as headless Services have them: pods come, go, break and die."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.processes import free_port
from tests.routers import USER, Bench, Load, bench
from tests.upstreams import Names, Upstream, until
from trimtab.traffic.state import RouterArm, RouterStatus

SERVICE = "model.shop.svc"


class Pods:
    """The pods of one arm, each with an address of its own, and the name that tells which of them are ready."""

    def __init__(self, found: Bench, names: Names) -> None:
        self.found, self.names = found, names
        self.port = free_port()
        self.running: list[Upstream] = []

    async def add(self) -> Upstream:
        """One more pod; ready, but not yet found."""
        number = len(self.running) + 2
        pod = Upstream(f"pod-{number}", f"127.0.1.{number}", self.port)
        self.found.arms[pod.name] = pod
        self.running.append(pod)
        await pod.start()
        return pod

    def listed(self, *pods: Upstream) -> None:
        """Let the name lead to these pods."""
        self.names.addresses[SERVICE] = [pod.host for pod in pods]

    async def known(self, count: int) -> None:
        """Until the router knows so many pods."""

        async def knows() -> bool:
            return [ack.endpoints["model"] for ack in await self.found.acks()] == [count]

        await until(knows, f"the router knew {count} pods")


@pytest.fixture
async def pods() -> AsyncIterator[Pods]:
    """Three pods behind a router."""
    async with bench() as found:
        names = await Names.start()
        made = Pods(found, names)
        made.listed(*[await made.add() for _ in range(3)])
        arm = RouterArm(name="model", host=SERVICE, port=made.port)
        found.operator.tell(RouterStatus(salt="s", header=USER, control="model", arms=[arm]).checked())
        await found.router(names=names)
        yield made


async def test_pods_come_and_go_under_load_without_a_failed_request(pods: Pods) -> None:
    load = Load(pods.found)
    await load.more(200)
    fourth = await pods.add()
    pods.listed(*pods.running)
    await pods.known(4)
    await until(lambda: fourth.seen["/"] > 0, "the new pod was asked")
    pods.listed(fourth)
    await pods.known(1)
    for pod in pods.running[:3]:
        await pod.stop()
    await load.more(200)
    await load.stop()
    assert load.failed == []


async def test_a_pod_that_dies_is_nobodys_error_before_its_name_forgets_it(pods: Pods) -> None:
    for user in map(str, range(30)):
        async with pods.found.session.get(pods.found.routers[0].url, headers={USER: user}) as answer:
            assert answer.status == 200
    await pods.running[0].stop()
    for user in map(str, range(100)):
        async with pods.found.session.get(pods.found.routers[0].url, headers={USER: user}) as answer:
            assert answer.status == 200
    report = await pods.found.routers[0].counts(pods.found.session)
    assert report is not None
    assert report.arms["model"].requests == 130
    assert report.arms["model"].errors == 0


async def test_a_pod_that_breaks_is_left_out(pods: Pods) -> None:
    broken = pods.running[0]
    broken.code = lambda: 500
    failed = 0
    for user in map(str, range(300)):
        async with pods.found.session.get(pods.found.routers[0].url, headers={USER: user}) as answer:
            failed += answer.status == 500
    assert failed == broken.seen["/"]
    assert 5 <= failed < 30
    report = await pods.found.routers[0].counts(pods.found.session)
    assert report is not None
    assert report.arms["model"].errors == failed


async def test_an_arm_whose_name_is_forgotten_has_no_pods_and_gets_them_back(pods: Pods) -> None:
    del pods.names.addresses[SERVICE]
    await pods.known(0)
    async with pods.found.session.get(pods.found.routers[0].url) as answer:
        assert answer.status == 503
        assert answer.headers["x-trimtab-arm"] == "model"
    pods.listed(*pods.running[:2])
    await pods.known(2)
    async with pods.found.session.get(pods.found.routers[0].url) as answer:
        assert answer.status == 200
