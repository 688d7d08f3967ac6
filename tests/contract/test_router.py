"""The router, with a real Envoy, the operator's own xDS server and real upstreams."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.routers import USER, Bench, Load, Router, arms_told, bench
from tests.upstreams import until
from trimtab.traffic.change import advance
from trimtab.traffic.slots import assign
from trimtab.traffic.state import RouterStatus, Shadow


@pytest.fixture
async def two() -> AsyncIterator[Bench]:
    """Two arms, and a router that gives each half of the users."""
    async with bench("control", "gbm") as found:
        found.operator.tell(split(found, gbm=5_000))
        await found.router()
        yield found


def split(found: Bench, **weights: int) -> RouterStatus:
    """All arms, the first one in control; the others may have equal parts of the slots, half of them at most."""
    names = list(found.arms)
    reserved = 10_000 // max(len(names) - 1, 2)
    arms = [found.arms[names[0]].arm()] + [found.arms[name].arm(reserved, weights.get(name, 0)) for name in names[1:]]
    return RouterStatus(salt="run-1", header=USER, control=names[0], arms=arms).checked()


async def get(found: Bench, path: str = "/", **headers: str) -> aiohttp.ClientResponse:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    async with found.session.get(found.routers[0].url + path, headers=given) as answer:
        await answer.read()
        return answer


async def arms_of(found: Bench, users: list[str], router: Router) -> dict[str, str]:
    """The arm of each user, by the response header."""
    slots = asyncio.Semaphore(32)

    async def one(user: str) -> tuple[str, str]:
        async with slots, found.session.get(router.url, headers={USER: user}) as answer:
            assert answer.status == 200
            assert await answer.text() == answer.headers["x-trimtab-arm"]
            return user, answer.headers["x-trimtab-arm"]

    return dict(await asyncio.gather(*(one(user) for user in users)))


async def test_python_and_all_routers_agree_on_each_user_while_weights_grow() -> None:
    draw = random.Random(7)
    users = [f"user-{draw.getrandbits(64):x}" for _ in range(1_990)]
    users += ["a", "Ünïcödé".encode().decode("latin-1"), "x" * 4_000, "a b", "a,b", "1", "'", "\x80\xff", "%41", "=;"]
    async with bench("control", "gbm", "forest") as found:
        found.operator.tell(split(found))
        await found.router()
        await found.router(workers=1)
        before: dict[str, str] = {}
        for percent in (0, 1, 5, 10, 25, 50):
            wanted = split(found, gbm=100 * percent, forest=50 * percent)
            await found.reach(wanted)
            seen = [await arms_of(found, users, router) for router in found.routers]
            expected = {user: assign(wanted, user) for user in users}
            assert seen == [expected, expected]
            moved = {(before[user], arm) for user, arm in expected.items() if before and before[user] != arm}
            assert all(left == "control" for left, _ in moved)
            before = expected
        assert set(before.values()) == {"control", "gbm", "forest"}


async def test_users_keep_their_arm_over_a_whole_ramp_and_all_restarts() -> None:
    """5,000 users, three arms of which one grows to the whole: nobody ever comes to another arm than that one."""
    draw = random.Random(11)
    users = [f"customer-{draw.getrandbits(64):x}" for _ in range(5_000)]
    async with bench("control", "forest", "gbm") as found:
        arms = [found.arms["control"].arm(), found.arms["forest"].arm(2_000, 2_000), found.arms["gbm"].arm(8_000)]
        base = RouterStatus(salt="run-1", header=USER, control="control", arms=arms).checked()
        found.operator.tell(base)
        await found.router()
        await found.router(workers=1)
        before = {user: assign(base, user) for user in users}
        for percent in (1, 5, 10, 25, 50, 100):
            wanted = base.only("gbm") if percent == 100 else base.weighted({"forest": 2_000, "gbm": percent * 100})
            await found.reach(wanted)
            await disturbed(found, percent)
            told = {user: assign(wanted, user) for user in users}
            for router in found.routers:
                assert await arms_told(router, users) == told
            moved = {(before[user], arm) for user, arm in told.items() if before[user] != arm}
            assert moved == {("control", "gbm")} | ({("forest", "gbm")} if percent == 100 else set())
            before = told


async def disturbed(found: Bench, percent: int) -> None:
    """What goes wrong at this step of the ramp: the operator, a router or both are others afterwards.

    A router gets ready again only when an operator has told it its routes, and moves on only when it hears of more.
    """
    if percent in (10, 50, 100):
        await found.another_operator()
    if percent in (5, 25, 100):
        await found.restart(found.routers[percent == 25])


async def test_visitors_without_a_name_keep_the_arm_their_cookie_names(two: Bench) -> None:
    first = [await get(two) for _ in range(60)]
    assert {answer.headers["x-trimtab-arm"] for answer in first} == {"control", "gbm"}
    for answer in first:
        cookie = answer.headers["set-cookie"]
        arm = answer.headers["x-trimtab-arm"]
        assert cookie == f"trimtab-run-1={arm}; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax"
        again = await get(two, cookie=f"a=1; {cookie.split(';')[0]}; b=2")
        assert again.headers["x-trimtab-arm"] == arm
        assert "set-cookie" not in again.headers


@pytest.mark.parametrize(
    "cookie",
    [
        "trimtab-run-1=nobody",
        "trimtab-run-0=gbm",
        "trimtab-run-1=gbm2",
        "xtrimtab-run-1=gbm",
        "trimtab-run-1=",
        "=;=;,",
    ],
)
async def test_a_forged_cookie_is_as_good_as_none(two: Bench, cookie: str) -> None:
    answers = [await get(two, cookie=cookie) for _ in range(40)]
    assert {answer.headers["x-trimtab-arm"] for answer in answers} == {"control", "gbm"}
    assert all("set-cookie" in answer.headers for answer in answers)


async def test_a_name_wins_over_a_cookie(two: Bench) -> None:
    told = two.operator.told()
    user = next(user for user in map(str, range(100)) if assign(told, user) == "control")
    answer = await get(two, cookie="trimtab-run-1=gbm", x_user_id=user)
    assert answer.headers["x-trimtab-arm"] == "control"


async def test_an_empty_name_is_none(two: Bench) -> None:
    answers = [await get(two, x_user_id="") for _ in range(40)]
    assert {answer.headers["x-trimtab-arm"] for answer in answers} == {"control", "gbm"}
    assert all("set-cookie" in answer.headers for answer in answers)


async def test_an_arm_without_slots_has_nobody_left_not_even_those_with_its_cookie(two: Bench) -> None:
    await two.reach(split(two, gbm=0))
    answers = [await get(two, cookie="trimtab-run-1=gbm") for _ in range(20)]
    assert {answer.headers["x-trimtab-arm"] for answer in answers} == {"control"}
    users = await arms_of(two, [str(number) for number in range(50)], two.routers[0])
    assert set(users.values()) == {"control"}


async def test_an_oversized_name_is_refused_and_harms_nobody(two: Bench) -> None:
    answer = await get(two, x_user_id="x" * 70_000)
    assert answer.status == 431
    assert (await get(two, x_user_id="x" * 7_000)).status == 200


async def test_neither_clients_nor_servers_say_who_answered(two: Bench) -> None:
    answer = await get(two, x_trimtab_arm="evil", x_trimtab_arm_revision="evil", x_envoy_retry_on="5xx", x_user_id="1")
    arm = answer.headers["x-trimtab-arm"]
    assert answer.headers.getall("x-trimtab-arm") == [arm]
    assert answer.headers.getall("x-trimtab-arm-revision") == [f"rev-{arm}"]
    assert answer.headers["x-trimtab-revision"] == "abababababab", "which model that is, only its server knows"
    assert answer.headers["x-trimtab-token"] == "t"
    assert "x-envoy-upstream-service-time" not in answer.headers
    seen = two.arms[arm].headers
    assert [name for name in seen if name.startswith(("x-trimtab-", "x-envoy-"))] == ["x-trimtab-routed"]
    assert seen["x-user-id"] == "1"


async def test_a_change_of_weights_is_in_effect_at_once(two: Bench) -> None:
    for weight in (4_000, 1, 0, 5_000):
        wanted = split(two, gbm=weight)
        two.operator.tell(wanted)

        async def done(version: str = wanted.routes_version) -> bool:
            return all(ack.routes_version == version for ack in await two.acks())

        await until(done, "the routers acknowledged the weights")
        share = Counter((await arms_of(two, [str(n) for n in range(300)], two.routers[0])).values())
        assert share["gbm"] == sum(assign(wanted, str(n)) == "gbm" for n in range(300))


async def test_arms_come_and_go_under_load_without_a_failed_request(two: Bench) -> None:
    load = Load(two)
    for number in range(4):
        arm = await two.arm(f"new-{number}")
        newcomer = arm.arm(2_000, 2_000)
        base = split_of(two, gbm=3_000)
        await two.reach(base.model_copy(update={"arms": [*base.arms, newcomer]}))
        await load.more(200)
        assert arm.seen["/"] > 0
        await two.reach(base)
        gone = two.arms.pop(f"new-{number}")
        await gone.stop()
        await load.more(200)
    await load.stop()
    assert load.failed == []
    assert load.sent > 1_000


def split_of(found: Bench, gbm: int) -> RouterStatus:
    arms = [found.arms["control"].arm(), found.arms["gbm"].arm(5_000, gbm)]
    return RouterStatus(salt="run-1", header=USER, control="control", arms=arms).checked()


async def test_an_arm_gets_nobody_before_its_pods_are_found(two: Bench) -> None:
    lost = two.arms["gbm"].arm(2_000, 2_000, name="lost").model_copy(update={"host": "nowhere.invalid"})
    base = split_of(two, gbm=1_000)
    wanted = base.model_copy(update={"arms": [*base.arms, lost]}).checked()
    two.operator.tell(advance(two.operator.told(), wanted, await two.acks()).status)

    async def known() -> bool:
        return all("lost" in ack.endpoints for ack in await two.acks())

    await until(known, "the routers knew the arm")
    acks = await two.acks()
    assert {ack.endpoints["lost"] for ack in acks} == {0}
    step = advance(two.operator.told(), wanted, acks)
    assert step.status.weights()["lost"] == 0
    assert not step.settled


async def test_copies_go_to_the_shadow_and_count_for_nobody(two: Bench) -> None:
    shadow = await two.arm("shadow")
    arms = [*split_of(two, gbm=5_000).arms, shadow.arm()]
    shadow.code = lambda: 500
    wanted = split_of(two, gbm=5_000).model_copy(update={"arms": arms, "shadow": Shadow(arm="shadow", percent=100)})
    before = two.arms["control"].seen["/"] + two.arms["gbm"].seen["/"]
    await two.reach(wanted)
    answers = [await get(two, x_user_id=str(number)) for number in range(100)]
    assert {answer.status for answer in answers} == {200}
    await until(lambda: shadow.seen["/"] == 100, "each request was copied")
    assert two.arms["control"].seen["/"] + two.arms["gbm"].seen["/"] - before == 100

    async def counted() -> bool:
        report = await two.routers[0].counts(two.session)
        return report is not None and report.shadows["shadow"].errors == 100

    await until(counted, "the copies were counted")
    report = await two.routers[0].counts(two.session)
    assert report is not None
    assert report.arms["shadow"].requests == 0
    await shadow.stop()
    assert {(await get(two, x_user_id=str(number))).status for number in range(50)} == {200}


async def test_a_dead_arm_fails_only_its_own_users_and_says_whose_they_were(two: Bench) -> None:
    await two.arms["gbm"].stop()
    told = two.operator.told()
    for user in map(str, range(40)):
        answer = await get(two, x_user_id=user)
        assert answer.headers["x-trimtab-arm"] == assign(told, user)
        assert answer.status == (503 if assign(told, user) == "gbm" else 200)
    report = await two.routers[0].counts(two.session)
    assert report is not None
    assert report.arms["gbm"].errors == report.arms["gbm"].requests > 0
    assert report.arms["control"].errors == 0


async def test_retries_save_the_user_and_not_the_figures(two: Bench) -> None:
    flip = iter(range(1_000_000))
    two.arms["gbm"].code = lambda: 503 if next(flip) % 2 == 0 else 200
    told = two.operator.told()
    users = [user for user in map(str, range(100)) if assign(told, user) == "gbm"]
    assert {(await get(two, x_user_id=user)).status for user in users} == {200}
    report = await two.routers[0].counts(two.session)
    assert report is not None
    assert report.arms["gbm"].errors == len(users)
    assert report.arms["gbm"].requests == 2 * len(users)


async def test_counts_are_exact_and_latencies_lie_in_tight_cells(two: Bench) -> None:
    told = two.operator.told()
    users = [str(number) for number in range(200)]
    await arms_of(two, users, two.routers[0])
    expected = Counter(assign(told, user) for user in users)

    async def counted() -> bool:
        report = await two.routers[0].counts(two.session)
        return report is not None and all(sum(report.arms[a].latency.counts) == n for a, n in expected.items())

    await until(counted, "each latency was in its cell")
    report = await two.routers[0].counts(two.session)
    assert report is not None
    assert {arm: counts.requests for arm, counts in report.arms.items()} == expected
    assert {counts.errors for counts in report.arms.values()} == {0}
    assert {0.001, 0.01, 0.1, 1.0} <= set(report.arms["gbm"].latency.edges)
    assert len(report.arms["gbm"].latency.counts) == len(report.arms["gbm"].latency.edges) + 1


async def test_a_restart_is_a_new_epoch(two: Bench) -> None:
    router = two.routers[0]
    first, again = await router.counts(two.session), await router.counts(two.session)
    router.kill()
    router.start()
    await until(lambda: router.ready(two.session), "the router got ready again")
    second = await router.counts(two.session)
    assert first is not None
    assert again is not None
    assert second is not None
    assert first.epoch == again.epoch != second.epoch


async def test_routers_go_on_without_an_operator_and_hear_of_it_when_it_is_back(two: Bench) -> None:
    await two.operator.stop()
    two.operator.tell(split(two, gbm=0))
    users = [str(number) for number in range(50)]
    assert set((await arms_of(two, users, two.routers[0])).values()) == {"control", "gbm"}
    await two.operator.start()

    async def heard() -> bool:
        return set((await arms_of(two, users, two.routers[0])).values()) == {"control"}

    await until(heard, "the router heard of the change")


async def test_a_router_without_routes_is_not_ready_until_it_has_them() -> None:
    async with bench("control") as found:
        await found.operator.stop()
        router = Router(found.folder, found.operator)
        found.routers.append(router)
        router.start()
        await until(lambda: "REST update" in router.log(), "the router asked and got no answer")
        assert not await router.ready(found.session)
        with pytest.raises(aiohttp.ClientError):
            await get(found)
        await found.operator.start()
        found.operator.tell(split(found))
        await until(lambda: router.ready(found.session), "the router got ready")
        assert (await get(found)).status == 200


async def test_an_object_without_routes_leaves_routers_as_they_are(two: Bench) -> None:
    told = two.operator.told()
    two.operator.xds.changed(two.operator.store.absorb({**gone_status(), "apiVersion": "trimtab.dev/v1alpha1"}))
    assert (await get(two)).status == 200
    two.operator._version = 1_000
    wanted = told.weighted({"gbm": 100})
    two.operator.tell(wanted)

    async def done() -> bool:
        return all(ack.routes_version == wanted.routes_version for ack in await two.acks())

    await until(done, "the router did as it was told after a pause")


def gone_status() -> dict[str, object]:
    meta = {"name": "choice", "namespace": "shop", "uid": "u1", "resourceVersion": "999"}
    return {"kind": "ABTest", "metadata": meta, "status": {}}


async def test_what_can_be_read_from_outside_changes_nothing(two: Bench) -> None:
    base = f"http://127.0.0.1:{two.routers[0].report}"
    for method, path in (("POST", "/quitquitquit"), ("POST", "/stats"), ("GET", "/config_dump"), ("GET", "/stats/x")):
        async with two.session.request(method, base + path) as answer:
            assert answer.status == 404, path
    async with two.session.get(f"{base}/stats/prometheus") as answer:
        assert "envoy_cluster_upstream_rq_total" in await answer.text()


async def test_prestop_lets_connections_go_while_requests_are_answered(two: Bench) -> None:
    router = two.routers[0]
    stop = router.container()["lifecycle"]["preStop"]["exec"]["command"]
    load = Load(two, clients=2)
    stopping = await asyncio.create_subprocess_exec(*stop)

    async def closing() -> bool:
        answer = await get(two)
        return answer.status == 200 and answer.headers.get("connection") == "close"

    await until(closing, "answers closed their connections")
    assert stopping.returncode is None
    await load.more(50)
    await load.stop()
    assert load.failed == []
    stopping.send_signal(signal.SIGTERM)
    await stopping.wait()
