"""Where documents of counts are: what is written, what is refused, what belongs to nobody any more; and that whoever is
killed at whichever request, no row is counted twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import pytest

from tests.memory_cluster import MemoryCluster
from tests.unit.adapters.test_monitor import Eyes, counts_document, pod
from trimtab.adapters.monitor.document import Unread
from trimtab.core.objects import Object, Ref, Resource, ref_of
from trimtab.runtime.archive import ABOUT, CONFIG_MAP, KEY, LABELS, PREFIX, REST_SECONDS, Archive
from trimtab.runtime.cluster import ApiError
from trimtab.runtime.keeping import Keeper
from trimtab.runtime.store import Store

ABOUT_D = Ref("ModelDeployment", "ml", "d")
WHERE = Ref("ConfigMap", "trimtab", PREFIX + "deployment")


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def archive(cluster: MemoryCluster, clock: Callable[[], float] = lambda: 0.0) -> Archive:
    return Archive(cluster, "trimtab", clock)


def mdep(uid: str = "deployment", name: str = "d") -> Object:
    meta = {"name": name, "namespace": "ml", "uid": uid, "resourceVersion": "1", "generation": 1}
    return {"apiVersion": "trimtab.dev/v1alpha1", "kind": "ModelDeployment", "metadata": meta, "spec": {}}


def store(*objects: Object) -> Store:
    found = Store({"ModelDeployment": lambda obj: ()})
    for obj in objects or (mdep(),):
        found.absorb(obj)
    return found


async def test_what_was_kept_comes_back_and_says_whose_it_is() -> None:
    cluster = MemoryCluster()
    assert await archive(cluster).recall("deployment") is None
    assert await archive(cluster).keep("deployment", ABOUT_D, b"\x00\x01")
    obj = cluster.objects[WHERE]
    assert obj["metadata"]["labels"] == LABELS
    assert "app.kubernetes.io/instance" not in LABELS, "Argo CD would take it for a part of an application"
    assert obj["metadata"]["annotations"] == {ABOUT: "ml/d"}
    assert await archive(cluster).recall("deployment") == b"\x00\x01"


async def test_each_write_replaces_the_one_before_it() -> None:
    cluster = MemoryCluster()
    own = archive(cluster)
    for content in (b"1", b"2", b"3"):
        assert await own.keep("deployment", ABOUT_D, content)
    assert [call.verb for call in cluster.calls] == ["create", "replace", "replace"]
    assert await own.recall("deployment") == b"3"


async def test_a_late_write_of_an_earlier_leader_does_not_undo_a_newer_one() -> None:
    cluster = MemoryCluster()
    earlier, later = archive(cluster), archive(cluster)
    assert await earlier.keep("deployment", ABOUT_D, b"old")
    late = {**cluster.objects[WHERE], "binaryData": {KEY: "bGF0ZQ=="}}
    assert await later.recall("deployment") == b"old"
    assert await later.keep("deployment", ABOUT_D, b"new")
    with pytest.raises(ApiError) as caught:
        await cluster.replace(CONFIG_MAP, late)
    assert caught.value.conflict
    assert await later.recall("deployment") == b"new"


async def test_a_document_that_somebody_deleted_or_wrote_meanwhile_is_no_obstacle() -> None:
    cluster = MemoryCluster()
    own, other = archive(cluster), archive(cluster)
    assert await own.keep("deployment", ABOUT_D, b"1")
    assert await other.recall("deployment") == b"1"
    cluster.remove(WHERE)
    assert await own.keep("deployment", ABOUT_D, b"2")
    assert await other.keep("deployment", ABOUT_D, b"3")
    assert await own.recall("deployment") == b"3"


async def test_a_config_map_that_is_not_ours_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    cluster = MemoryCluster()
    meta = {"name": WHERE.name, "namespace": "trimtab"}
    cluster.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"theirs": "x"}})
    own = archive(cluster)
    assert await own.recall("deployment") is None
    assert not await own.keep("deployment", ABOUT_D, b"1")
    assert "a ConfigMap that is not ours" in caplog.text
    assert not await own.keep("deployment", ABOUT_D, b"1")
    await own.prune(set())
    assert cluster.objects[WHERE]["data"] == {"theirs": "x"}


async def test_of_new_deployments_nothing_is_asked_one_by_one() -> None:
    cluster, asked = MemoryCluster(), list[str]()
    cluster.before = lambda verb, ref: asked.append(verb)
    own = archive(cluster)
    assert await asyncio.gather(*(own.recall(f"new-{number}") for number in range(9))) == [None] * 9
    assert asked == ["list"]


async def test_what_cannot_be_read_now_is_no_news() -> None:
    cluster = MemoryCluster()

    def down(verb: str, ref: Ref) -> None:
        raise ApiError(503, "ServiceUnavailable", "the API server is starting")

    cluster.before = down
    with pytest.raises(Unread, match="the API server is starting"):
        await archive(cluster).recall("deployment")
    assert not await archive(cluster).keep("deployment", ABOUT_D, b"1")


async def test_without_the_right_to_it_windows_end_with_the_process_and_one_line_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster, clock = MemoryCluster(), Clock()

    def refuse(verb: str, ref: Ref) -> None:
        cluster.calls.clear()
        raise ApiError(403, "Forbidden", "configmaps is forbidden")

    cluster.before = refuse
    own = archive(cluster, clock)
    assert await own.recall("deployment") is None
    (line,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert (line.message, line.hint) == (  # type: ignore[attr-defined]
        "counts cannot be read, so windows of drift end with this process",
        "is the Role of the chart as old as the operator?",
    )
    cluster.before = lambda verb, ref: None
    assert not await own.keep("deployment", ABOUT_D, b"1")
    assert cluster.calls == []
    clock.time = REST_SECONDS
    assert await own.keep("deployment", ABOUT_D, b"1")


async def test_documents_of_deployments_that_are_gone_are_deleted() -> None:
    cluster = MemoryCluster()
    before = archive(cluster)
    for uid in ("deployment", "gone", "going"):
        assert await before.keep(uid, ABOUT_D, b"1")
    own, asked = archive(cluster), list[str]()
    cluster.before = lambda verb, ref: asked.append(verb)
    await own.prune({"deployment", "going"})
    assert [ref.name.removeprefix(PREFIX) for ref in sorted(cluster.objects)] == ["deployment", "going"]
    await own.prune({"deployment"})
    assert [ref.name.removeprefix(PREFIX) for ref in sorted(cluster.objects)] == ["deployment"]
    assert asked == ["list", "delete", "delete"], "what is there is listed once"


class Strict(MemoryCluster):
    """One that tells of a namesake, as the API server does."""

    async def delete(self, resource: Resource, obj: Object) -> None:
        there = self.objects.get(ref_of(obj))
        if there is not None and there["metadata"]["uid"] != obj["metadata"]["uid"]:
            raise ApiError(409, "Conflict", "the UID in the precondition does not match")
        await super().delete(resource, obj)


async def test_a_document_that_somebody_made_anew_does_not_keep_the_others_from_going() -> None:
    cluster = Strict()
    own = archive(cluster)
    for uid in ("gone", "lost"):
        assert await own.keep(uid, ABOUT_D, b"1")
    await own.prune({"gone", "lost"})
    for again in list(cluster.objects.values()):
        await cluster.delete(CONFIG_MAP, again)
        meta = {key: value for key, value in again["metadata"].items() if key not in ("uid", "resourceVersion")}
        await cluster.create(CONFIG_MAP, "trimtab", {**again, "metadata": meta})
    for _ in range(2):
        await own.prune(set())
    assert cluster.objects == {}


class Known:
    """Counts of some deployments, which all changed."""

    def __init__(self, *uids: str) -> None:
        self.uids, self.kept = uids, set[str]()

    def changed(self, *, due: bool) -> Sequence[str]:
        return [uid for uid in self.uids if uid not in self.kept]

    def document(self, deployment: str) -> tuple[bytes | None, Callable[[], None]]:
        return b"counts", lambda: self.kept.add(deployment)


async def test_nothing_is_kept_of_a_deployment_that_is_gone() -> None:
    cluster = MemoryCluster()
    counts = Known("deployment", "gone")
    await Keeper(archive(cluster), counts, store(), lambda: True).keep(due=True)
    assert (list(cluster.objects), counts.kept) == ([WHERE], {"deployment"})


async def test_who_does_not_lead_keeps_nothing() -> None:
    cluster, counts = MemoryCluster(may_write=lambda: 0.0), Known("deployment")
    await Keeper(archive(cluster), counts, store(), lambda: False).finish(5)
    assert cluster.calls == []
    # Leadership may end between the question and the write.
    await Keeper(archive(cluster), counts, store(), lambda: True).finish(5)
    assert (cluster.objects, counts.kept) == ({}, set())


async def test_an_end_does_not_wait_longer_than_it_may() -> None:
    class Slow(Archive):
        async def keep(self, deployment: str, about: Ref, content: bytes) -> bool:
            await asyncio.Event().wait()
            return True

    counts = Known("deployment")
    slow = Slow(MemoryCluster(), "trimtab", lambda: 0.0)
    await Keeper(slow, counts, store(), lambda: True).finish(0.01)
    assert counts.kept == set()


class Killed(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("place", range(7))
async def test_killed_at_any_request_the_next_one_counts_each_row_once(place: int, after: bool) -> None:
    """Rows come between any two steps; whoever is next reads the same pods, and what is in the cluster."""
    cluster, eyes, steps = MemoryCluster(), Eyes(), iter(range(100))

    def die(*_: object) -> None:
        if next(steps) == place:
            raise Killed

    def begin() -> Keeper:
        own = archive(cluster)
        eyes.begin(own.recall)
        return Keeper(own, eyes.watcher, store(), lambda: True)

    keeper, rows, looked, cluster_was_empty = begin(), 1_000, False, False
    if after:
        cluster.after = die
    else:
        cluster.before = die
    eyes.there = [pod(), pod("u22")]
    for _ in range(8):
        rows += 10
        try:
            await eyes.look(600, u1=counts_document(rows), u22=counts_document(rows - 1_000))
            looked = True
            await keeper.keep(due=False)
        except Killed:
            cluster_was_empty = not cluster.objects
            keeper = begin()
    assert looked
    eyes.pods.counts["127.0.0.2"] = counts_document(rows + 1)
    await eyes.look(60)
    # Both pods are older than the watch: counting begins with the first reading, or the next where nothing was kept.
    unseen = 20 if cluster_was_empty else 10
    assert await eyes.rows() == (rows + 1 - 1_000 - unseen) + (rows - 1_000 - unseen)
