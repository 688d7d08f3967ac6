"""Leadership by a Lease, in virtual time: one at a time, soon another, and nobody who cannot be sure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.memory_cluster import MemoryCluster
from tests.virtual_time import clock, virtual_time
from trimtab.core.objects import Object, Ref
from trimtab.runtime.cluster import TIMEOUT, ApiError
from trimtab.runtime.leader import LEASE, NAME, Elector, Timing

TIMING = Timing(duration=15, renew=10, retry=2)
REF = Ref(LEASE.kind, "trimtab", NAME)
DOWN = ApiError(503, "ServiceUnavailable", "etcd is electing")


class Server(MemoryCluster):
    """An API server that answers after `seconds`; a write counts from when it answers. The next request of a verb that
    is `hanging` gets no answer, until the client's own patience is over."""

    seconds = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.hanging: set[str] = set()

    async def get(self, *args: object) -> Object:
        await self._answer("get")
        return await super().get(*args)  # type: ignore[arg-type]

    async def replace(self, *args: object) -> Object:
        await self._answer("replace")
        return await super().replace(*args)  # type: ignore[arg-type]

    async def _answer(self, verb: str) -> None:
        if verb in self.hanging:
            self.hanging.remove(verb)
            await asyncio.sleep(TIMEOUT)
            raise ApiError(0, "Unreachable", "the API server did not answer")
        await asyncio.sleep(self.seconds)


@pytest.fixture
def server() -> Server:
    return Server()


def candidate(server: MemoryCluster, name: str, time: Callable[[], float] = clock) -> Elector:
    return Elector(server, name, "trimtab", TIMING, time)


def holder(server: MemoryCluster) -> str:
    return str(server.objects[REF]["spec"]["holderIdentity"])


def failing(*verbs: str, error: ApiError = DOWN) -> Callable[[str, Ref], None]:
    def fail(verb: str, _: Ref) -> None:
        if verb in verbs:
            raise error

    return fail


def unheld() -> Object:
    """A Lease as somebody might create it by hand."""
    return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": {"name": NAME, "namespace": "trimtab"}}


def renew_at(server: MemoryCluster, time: str) -> None:
    """Make the Lease say that it was renewed at that time."""
    server.edit(REF, lambda lease: lease["spec"].update(renewTime=time))


async def lead(elector: Elector) -> asyncio.Task[None]:
    """Acquire, then hold in the background."""
    await elector.acquire()
    return asyncio.create_task(elector.hold())


@virtual_time
async def test_the_first_one_leads_at_once(server: Server) -> None:
    a = candidate(server, "a")
    assert not a.held()
    began = clock()
    await a.acquire()
    assert a.held()
    assert (clock(), holder(server)) == (began, "a")
    assert server.objects[REF]["spec"]["leaseDurationSeconds"] == 15


@virtual_time
async def test_of_two_that_start_together_one_leads(server: Server) -> None:
    a, b = candidate(server, "a"), candidate(server, "b")
    tasks = [asyncio.create_task(lead(elector)) for elector in (a, b)]
    await asyncio.sleep(60)
    assert [a.held(), b.held()] == [True, False]
    assert [task.done() for task in tasks] == [True, False]


@virtual_time
async def test_who_renews_goes_on_leading(server: Server) -> None:
    a, b = candidate(server, "a"), candidate(server, "b")
    await lead(a)
    waiting = asyncio.create_task(b.acquire())
    for _ in range(3_600):
        await asyncio.sleep(1)
        assert a.held()
    assert not waiting.done()
    assert server.objects[REF]["spec"]["leaseTransitions"] == 0


@virtual_time
async def test_a_dead_leader_is_followed_within_twenty_seconds(server: Server) -> None:
    a, b = candidate(server, "a"), candidate(server, "b")
    leading = await lead(a)
    waiting = asyncio.create_task(b.acquire())
    await asyncio.sleep(33.3)
    leading.cancel()
    died = clock()
    await waiting
    assert 10 < clock() - died <= 20
    assert b.held()
    assert not a.held()
    assert server.objects[REF]["spec"]["leaseTransitions"] == 1


@virtual_time
async def test_a_leader_that_lets_go_is_followed_at_once(server: Server) -> None:
    a, b = candidate(server, "a"), candidate(server, "b")
    leading = await lead(a)
    waiting = asyncio.create_task(b.acquire())
    await asyncio.sleep(30)
    leading.cancel()
    await a.release()
    assert not a.held()
    left = clock()
    await waiting
    assert clock() - left <= TIMING.retry


@virtual_time
async def test_a_leader_that_sleeps_through_its_lease_wakes_as_a_follower(server: Server) -> None:
    asleep = 0.0
    a = candidate(server, "a", lambda: clock() + asleep)
    leading = await lead(a)
    await asyncio.sleep(5)
    asleep = 11
    assert not a.held(), "already before anything is asked of the server"
    renewals = len(server.writes())
    await leading
    assert len(server.writes()) == renewals, "it does not take the lease back, whatever the lease says"


@virtual_time
async def test_an_api_server_that_is_away_for_a_while_costs_nothing(server: Server) -> None:
    a = candidate(server, "a")
    leading = await lead(a)
    for verbs in (["get"], ["replace"], ["get", "replace"]):
        server.before = failing(*verbs)
        await asyncio.sleep(5)
        server.before = failing()
        await asyncio.sleep(5)
        assert a.held()
    assert not leading.done()


@pytest.mark.parametrize("verb", ["get", "replace"])
@virtual_time
async def test_one_connection_that_hangs_is_no_loss(server: Server, verb: str) -> None:
    """Whatever is between sends nothing back: only on a new connection is the server there."""
    a = candidate(server, "a")
    leading = await lead(a)
    await asyncio.sleep(20)
    server.hanging.add(verb)
    await asyncio.sleep(60)
    assert not server.hanging, "it was asked"
    assert a.held()
    assert not leading.done()


@virtual_time
async def test_an_api_server_that_stays_away_ends_leadership_before_another_begins(server: Server) -> None:
    a = candidate(server, "a")
    leading = await lead(a)
    await asyncio.sleep(20)
    server.before = failing("get")
    lost = clock()
    await leading
    assert not a.held()
    assert clock() - lost < TIMING.duration - 2


@virtual_time
async def test_a_renewal_counts_from_when_it_was_asked_for(server: Server) -> None:
    """Its time on the way is time in which others may already count."""
    a = candidate(server, "a")
    leading = await lead(a)
    server.seconds = 4
    await asyncio.sleep(100)
    assert leading.done(), "eight seconds for a renewal and two between leave no margin"


@virtual_time
async def test_a_lease_that_another_took_is_not_taken_back(server: Server) -> None:
    a = candidate(server, "a")
    leading = await lead(a)
    server.edit(REF, lambda lease: lease["spec"].update(holderIdentity="b"))
    await leading
    assert not a.held()
    assert holder(server) == "b"


@virtual_time
async def test_a_renewal_that_overtook_itself_is_no_loss(server: Server) -> None:
    """HTTP clients repeat a PUT when its answer gets lost, and then it is the first that is in the way."""
    a = candidate(server, "a")
    leading = await lead(a)
    conflict = ApiError(409, "Conflict", "the object has been modified")
    server.before = failing("replace", error=conflict)
    await asyncio.sleep(3)
    server.before = failing()
    await asyncio.sleep(60)
    assert a.held()
    assert not leading.done()


@virtual_time
async def test_a_renewal_that_another_overtook_is_a_loss(server: Server) -> None:
    a = candidate(server, "a")
    leading = await lead(a)

    def overtake(verb: str, _: Ref) -> None:
        if verb == "replace":
            server.before = failing()
            server.edit(REF, lambda lease: lease["spec"].update(holderIdentity="b"))
            raise ApiError(409, "Conflict", "the object has been modified")

    server.before = overtake
    began = clock()
    await leading
    assert not a.held()
    assert clock() - began <= 2 * TIMING.retry


@virtual_time
async def test_wall_clocks_in_the_lease_are_for_people(server: Server) -> None:
    """Neither a time in the future nor one in the past makes a follower believe more or less in the leader."""
    a, b = candidate(server, "a"), candidate(server, "b")
    leading = await lead(a)
    waiting = asyncio.create_task(b.acquire())
    renew_at(server, "1999-01-01T00:00:00.000000Z")
    await asyncio.sleep(5)
    renew_at(server, "2099-01-01T00:00:00.000000Z")
    await asyncio.sleep(5)
    assert not waiting.done()
    leading.cancel()
    renew_at(server, "2099-01-01T00:00:00.000000Z")
    await asyncio.sleep(TIMING.duration + TIMING.retry + 1)
    assert waiting.done()


@virtual_time
async def test_a_follower_waits_as_long_as_the_lease_says(server: Server) -> None:
    a, b = candidate(server, "a"), candidate(server, "b")
    leading = await lead(a)
    leading.cancel()
    server.edit(REF, lambda lease: lease["spec"].update(leaseDurationSeconds=60))
    began = clock()
    await b.acquire()
    assert 60 < clock() - began < 63


@pytest.mark.parametrize("spec", [None, {}, {"holderIdentity": None}, {"holderIdentity": ""}])
@virtual_time
async def test_a_lease_that_nobody_holds_is_free(server: Server, spec: Object | None) -> None:
    server.put(unheld() if spec is None else {**unheld(), "spec": spec})
    a = candidate(server, "a")
    began = clock()
    await a.acquire()
    assert clock() == began
    assert holder(server) == "a"


class TestDeletedLease:
    """Somebody may delete the Lease while it is held; that must not make two leaders."""

    @virtual_time
    async def test_its_holder_makes_it_anew(self, server: Server) -> None:
        a = candidate(server, "a")
        await lead(a)
        server.remove(REF)
        await asyncio.sleep(5)
        assert a.held()
        assert holder(server) == "a"

    @virtual_time
    async def test_others_wait_as_if_it_were_still_there(self, server: Server) -> None:
        a, b = candidate(server, "a"), candidate(server, "b")
        leading = await lead(a)
        waiting = asyncio.create_task(b.acquire())
        await asyncio.sleep(5)
        leading.cancel()
        server.remove(REF)
        while not waiting.done():
            await asyncio.sleep(0.1)
            assert not (a.held() and b.held())
        assert b.held()

    @virtual_time
    async def test_a_server_that_stumbles_meanwhile_is_no_loss(self, server: Server) -> None:
        a = candidate(server, "a")
        leading = await lead(a)
        server.remove(REF)
        server.before = failing("create")
        await asyncio.sleep(5)
        assert a.held()
        server.before = failing()
        await asyncio.sleep(20)
        assert a.held()
        assert not leading.done()

    @virtual_time
    async def test_who_is_too_late_to_make_it_has_lost(self, server: Server) -> None:
        a = candidate(server, "a")
        leading = await lead(a)
        server.remove(REF)
        server.before = failing("create", error=ApiError(409, "AlreadyExists", "leases already exists"))
        await leading
        assert not a.held()


@pytest.mark.parametrize("verb", ["get", "create", "replace"])
@virtual_time
async def test_a_candidate_waits_for_a_server_that_is_down(server: Server, verb: str) -> None:
    if verb == "replace":
        server.put(unheld())
    server.before = failing(verb)
    a = candidate(server, "a")
    waiting = asyncio.create_task(a.acquire())
    await asyncio.sleep(60)
    assert not a.held()
    server.before = failing()
    await waiting
    assert a.held()


@virtual_time
async def test_a_lease_never_ends_before_its_holder_stops_believing(server: Server) -> None:
    """The API knows whole seconds only."""
    await Elector(server, "a", "trimtab", Timing(duration=1.4, renew=1.3, retry=0.5), clock).acquire()
    assert server.objects[REF]["spec"]["leaseDurationSeconds"] == 2


class TestRelease:
    @virtual_time
    async def test_who_does_not_lead_writes_nothing(self, server: Server) -> None:
        await candidate(server, "a").release()
        assert server.calls == []

    @virtual_time
    async def test_a_lease_of_another_is_left_alone(self, server: Server) -> None:
        a = candidate(server, "a")
        await a.acquire()
        server.edit(REF, lambda lease: lease["spec"].update(holderIdentity="b"))
        await a.release()
        assert holder(server) == "b"

    @pytest.mark.parametrize("verb", ["get", "replace"])
    @virtual_time
    async def test_a_server_that_is_down_does_not_hold_it_up(self, server: Server, verb: str) -> None:
        a = candidate(server, "a")
        await a.acquire()
        server.before = failing(verb)
        await a.release()
        assert not a.held()

    @pytest.mark.parametrize("verb", ["get", "replace"])
    @virtual_time
    async def test_a_connection_that_hangs_does_not_hold_it_up(self, server: Server, verb: str) -> None:
        a = candidate(server, "a")
        await a.acquire()
        server.hanging.add(verb)
        began = clock()
        await a.release()
        assert clock() - began < TIMING.renew
        assert not a.held()
