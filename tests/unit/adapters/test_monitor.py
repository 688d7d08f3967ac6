"""Readings and profiles of pods for drift: what a sound one says, and each way in which one is not believed; and what a
watch makes of cumulative counts."""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from trimtab.adapters.monitor.profile import MOST_FEATURES, Profile, read_profile
from trimtab.adapters.monitor.reading import Reading, read
from trimtab.adapters.monitor.watcher import FORGOTTEN_AFTER, Watcher
from trimtab.adapters.polling import Distrusted
from trimtab.core.objects import Object
from trimtab.evidence.drift.degradation import Limit
from trimtab.evidence.drift.finding import Finding
from trimtab.evidence.drift.judge import Policy
from trimtab.evidence.drift.labels import Labels
from trimtab.evidence.drift.pace import bucket, reading_seconds, wait
from trimtab.kinds.modeldeployment.observe import Watch
from trimtab.kinds.modeldeployment.template import DIGEST

OWN, OTHER = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32
Change = Callable[[dict[str, Any]], Any]


def profile_document() -> dict[str, Any]:
    number = {
        "name": "age", "input": "table", "column": 0, "kind": "numeric", "edges": [18.0, 40.0],
        "counts": [100, 500, 400], "deciles": [1],
        "inside": [0, 2], "n": 1000, "missing": 0, "mean": 35.0, "deviation": 9.0, "importance": 0.75,
    }  # fmt: skip
    word = {
        "name": "city", "input": "city", "kind": "category", "categories": ["Bonn"], "counts": [900, 100, 0],
        "n": 1000, "missing": 0, "importance": 0.25,
    }  # fmt: skip
    return {
        "schema": 1,
        "rows": 1000,
        "features": [number, word],
        "score": {"kind": "positive", "edges": [0.5], "counts": [600, 400], "right": [60, 360]},
        "predictions": {"counts": [600, 400]},
        "moments": {"features": ["age"], "n": 1000, "mean": [0.0], "matrix": [[1.0]]},
    }


PROFILE_BYTES = json.dumps(profile_document()).encode()
PROFILE = "sha256:" + hashlib.sha256(PROFILE_BYTES).hexdigest()


def counts_document(rows: int = 100, epoch: str = "00ff", digest: str = OWN, labels: int = 0) -> dict[str, Any]:
    """So many rows as in training, and labels of this digest, nine in ten of them right."""
    right = labels * 9 // 10
    half = rows // 2
    return {
        "schema": 1,
        "epoch": epoch,
        "digest": digest,
        "profile": PROFILE,
        "rows": rows,
        "typeErrors": {"table": 3, "city": 0},
        "predictions": {"classes": ["no", "yes"], "counts": [half, rows - half]},
        "score": {"kind": "positive", "edges": [0.5], "counts": [half, rows - half]},
        "features": [
            {"name": "age", "kind": "numeric", "counts": [0, half, rows - half], "missing": 0, "outOfRange": 0},
            {"name": "city", "kind": "category", "counts": [rows, 0, 0], "missing": 0, "unseen": 0},
        ],
        "moments": {"features": ["age"], "n": rows, "sum": [0.5 * rows], "products": [[1.0 * rows]]},
        "outcomes": {
            "delay": {"edges": [60, 3600], "outcomes": [0, 0, 0], "labels": [labels, 0, 0]},
            "revisions": [
                {
                    "revision": digest[7:15],
                    "scores": {"edges": [0.5], "n": [labels, 0], "right": [labels - right, 0]},
                    "confusion": [[right, labels - right], [0, 0]],
                }
            ],
        },
    }


def pod(uid: str = "u1", digest: str = OWN, made: float = 0.0) -> Object:
    at = datetime.fromtimestamp(made, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    meta = {"name": uid, "namespace": "ml", "uid": uid, "annotations": {DIGEST: digest}, "creationTimestamp": at}
    return {"kind": "Pod", "metadata": meta, "status": {"phase": "Running", "podIP": f"127.0.0.{len(uid)}"}}


def text(document: dict[str, Any], change: Change = lambda told: None) -> bytes:
    told = copy.deepcopy(document)
    change(told)
    return json.dumps(told).encode()


def reading(before: Reading | None = None, change: Change = lambda told: None, **given: Any) -> Reading:
    return read(pod(), 200, text(counts_document(**given), change), before)


def known() -> Profile:
    return read_profile(pod(), 200, PROFILE_BYTES, None)


def test_a_sound_profile_is_a_reference_with_its_calibration() -> None:
    found = known()
    assert found.digest == PROFILE
    assert [f.name for f in found.reference.features] == ["age", "city", "score", "prediction"]
    assert found.calibration is not None
    assert (found.calibration.right, found.edges) == ((60, 360), (0.5,))
    assert found.inputs == {"table": 0, "city": 1}


def test_of_very_many_features_the_important_ones_are_watched() -> None:
    def many(told: dict[str, Any]) -> None:
        word = told["features"][1]
        told["features"] = [{**word, "name": f"f{i}", "importance": i / 1000} for i in range(600)]
        del told["moments"]

    found = read_profile(pod(), 200, text(profile_document(), many), None)
    names = [f.name for f in found.reference.features if f.role == "input"]
    assert names == [f"f{i}" for i in range(600 - MOST_FEATURES, 600)]


def first(**change: Any) -> Change:
    return lambda told: told["features"][0].update(change)


PROFILE_LIES: dict[str, tuple[Change, str]] = {
    "schema": (lambda t: t.update(schema=2), "schema: Input should be 1"),
    "kind": (first(kind="text"), "features.0.kind"),
    "no edges": (lambda t: t["features"][0].pop("edges"), "feature 'age' has no edges"),
    "falling edges": (first(edges=[40.0, 18.0]), "feature 'age': the edges do not grow"),
    "short cells": (first(counts=[1, 2]), "feature 'age' needs one more cell than edges"),
    "infinite": (first(mean=1e200), "features.0.mean"),
    "no spread": (first(deviation=0.0), "features.0.deviation"),
    "decile of nothing": (first(deciles=[5]), "deciles names edges that do not exist"),
    "inside out": (first(inside=[2, 1]), "inside names cells that do not exist"),
    "categories without cells": (
        lambda t: t["features"][1].update(counts=[1]),
        "'city' has 1 cells; there should be 3",
    ),
    "twice": (lambda t: t["features"].append(t["features"][0]), "two features have one name"),
    "score": (lambda t: t["score"].update(counts=[1]), "score needs one more cell than edges"),
    "calibration": (lambda t: t["score"].update(right=[1]), "score.right is too short"),
    "moments of a word": (
        lambda t: t["moments"].update(features=["city"]),
        "moments names a feature that is no number",
    ),
    "flat moments": (lambda t: t["moments"].update(matrix=[[]]), "mean and matrix do not fit"),
}


@pytest.mark.parametrize("name", PROFILE_LIES)
def test_a_profile_that_contradicts_itself_is_not_believed(name: str) -> None:
    change, message = PROFILE_LIES[name]
    with pytest.raises(Distrusted) as caught:
        read_profile(pod(), 200, text(profile_document(), change), None)
    assert message in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_document_is_not_believed(body: bytes) -> None:
    with pytest.raises(Distrusted):
        read_profile(pod(), 200, body, None)
    with pytest.raises(Distrusted):
        read(pod(), 200, body, None)


def test_a_sound_reading_is_a_window_and_labels() -> None:
    found = reading(labels=40)
    window = found.window(known())
    assert (window.rows, window.cells[0], window.wrong) == (100, (0, 50, 50), (3, 0, 0, 0))
    assert window.moments == (100, (50.0,), (100.0,))
    assert found.labels() == {"abababab": Labels((0.5,), (40, 0), (4, 0), (36, 4, 0, 0), (), (40, 0, 0))}
    assert (found.classes, found.counts_rows, found.delay_edges) == (("no", "yes"), True, (60, 3600))


def test_a_pod_that_counts_nothing_can_be_read() -> None:
    def bare(told: dict[str, Any]) -> None:
        for part in ("features", "moments", "score", "predictions", "outcomes", "typeErrors"):
            del told[part]

    found = reading(change=bare)
    assert (found.counts_rows, found.labels(), found.classes) == (False, {}, ())


def test_counts_of_another_profile_are_not_compared() -> None:
    with pytest.raises(Distrusted, match="they are of another profile"):
        reading(change=first(counts=[0, 50])).window(known())
    with pytest.raises(Distrusted, match="moments are of other features"):
        reading(change=lambda t: t["moments"].update(features=["weight"])).window(known())


def revision(**change: Any) -> Change:
    return lambda told: told["outcomes"]["revisions"][0].update(change)


LIES: dict[str, tuple[Change, str]] = {
    "negative": (lambda t: t.update(rows=-1), "rows: Input should be greater than or equal to 0"),
    "fraction": (first(counts=[0.5, 0, 0]), "features.0.counts.0: Input should be a valid integer"),
    "no epoch": (lambda t: t.update(epoch=""), "epoch"),
    "another digest": (lambda t: t.update(digest=OTHER), "was made for"),
    "more values than rows": (first(missing=1), "features.age has more values than there are rows"),
    "more scores than rows": (
        lambda t: t["score"].update(counts=[100, 1]),
        "score has more values than there are rows",
    ),
    "more answers than rows": (
        lambda t: t["predictions"].update(counts=[100, 1]),
        "predictions has more values than there are rows",
    ),
    "moments of more rows": (lambda t: t["moments"].update(n=101), "moments has more rows than there are"),
    "moments beyond the cut": (lambda t: t["moments"].update(sum=[900.0]), "cut to 8"),
    "products beyond the cut": (lambda t: t["moments"].update(products=[[6401.0]]), "cut to 8"),
    "ragged moments": (lambda t: t["moments"].update(products=[[1.0, 1.0]]), "do not fit its features"),
    "infinite": (lambda t: t["moments"].update(sum=[float("inf")]), "moments.sum.0"),
    "short delays": (lambda t: t["outcomes"]["delay"].update(labels=[1]), "one more cell than edges"),
    "a revision twice": (lambda t: t["outcomes"]["revisions"].append(t["outcomes"]["revisions"][0]), "twice"),
    "more right than there are": (
        revision(scores={"edges": [0.5], "n": [1, 0], "right": [2, 0]}),
        "more labels are right than there are",
    ),
    "scores without cells": (
        revision(scores={"edges": [0.5, 0.6], "n": [1, 0], "right": [1, 0]}),
        "outcomes.scores needs one more cell than edges",
    ),
    "a confusion that is no square": (revision(confusion=[[1, 2]]), "outcomes.confusion is not square"),
    "errors that cannot be": (
        revision(errors={"n": 2, "sum": 1.0, "absolute": 9.0, "squares": 2.0}),
        "sums and squares contradict each other",
    ),
    "fourth powers that cannot be": (
        revision(errors={"n": 2, "sum": 1.0, "absolute": 1.0, "squares": 2.0, "fourths": 1.0}),
        "sums and squares contradict each other",
    ),
    "a sum beyond its absolute": (
        revision(errors={"n": 2, "sum": 2.0, "absolute": 1.0, "squares": 2.0}),
        "sums and squares contradict each other",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_reading_that_contradicts_itself_is_not_believed(name: str) -> None:
    change, message = LIES[name]
    with pytest.raises(Distrusted) as caught:
        reading(change=change)
    assert message in str(caught.value)


SMALLER: dict[str, tuple[Change, str]] = {
    "rows": (lambda t: t.update(counts_document(150, labels=40)), "rows became smaller"),
    "cells": (first(counts=[0, 80, 120]), "features.age became smaller"),
    "labels": (revision(confusion=[[20, 0], [0, 0]]), "outcomes of abababab became smaller"),
    "scores": (lambda t: t["score"].update(counts=[80, 100]), "score became smaller"),
    "a feature is gone": (lambda t: t["features"].pop(), "features.city became smaller"),
    "delays": (lambda t: t["outcomes"]["delay"].update(labels=[39, 1, 0]), "outcomes.delay became smaller"),
    "labels that moved": (revision(confusion=[[30, 10], [0, 0]]), "outcomes of abababab became smaller"),
    "labels in other parts": (
        revision(scores=None, confusion=[[90, 90], [90, 90]]),
        "scores of abababab became smaller",
    ),
    "more classes": (
        revision(confusion=[[40, 10, 0], [10, 0, 0], [0, 0, 0]]),
        "outcomes of abababab has other cells",
    ),
}


@pytest.mark.parametrize("name", SMALLER)
def test_what_became_smaller_within_an_epoch_is_not_believed(name: str) -> None:
    change, message = SMALLER[name]
    before = reading(rows=200, labels=40)
    assert reading(before, rows=200, labels=40).told.rows == 200
    with pytest.raises(Distrusted) as caught:
        reading(before, change, rows=200, labels=40)
    assert message in str(caught.value)
    assert reading(before, lambda t: (change(t), t.update(epoch="0100")), rows=200, labels=40).epoch == "0100"


# pace


def test_buckets_of_deployments_end_at_times_of_their_own() -> None:
    ends = {bucket(f"uid-{i}", 300, 1_000_000.0) + 300 for i in range(200)}
    assert len(ends) > 120
    assert all(1_000_000 < end <= 1_000_300 for end in ends)


@pytest.mark.parametrize(("period", "seconds"), [(5, 1), (60, 12), (300, 60), (3_600, 60)])
def test_pods_are_read_several_times_a_period(period: int, seconds: float) -> None:
    assert reading_seconds(period) == seconds
    for time in (1_000_000.0, 1_000_000.4, 1_000_299.99):
        assert 0 < wait("uid", period, time) <= seconds
        assert bucket("uid", period, time) <= time < bucket("uid", period, time) + period


# the watch


class Pods:
    """A session in which pods answer as told; a pod that is not here refuses."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, Any]] = {}
        self.asked: Counter[str] = Counter()
        self.profile = PROFILE_BYTES

    def request(self, method: str, url: str, **_: Any) -> Answer:
        address, _, path = url.removeprefix("http://").partition("/")
        self.asked[path] += 1
        if path.endswith("profile"):
            return Answer(self.profile)
        told = self.counts.get(address.partition(":")[0])
        if told is None:
            raise OSError("refused")
        return Answer(json.dumps(told).encode())


class Answer:
    """A response whose body is there at once."""

    status = 200

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.content = self

    async def __aenter__(self) -> Answer:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def iter_any(self) -> Any:
        yield self.body


class Eyes:
    """A watcher with a clock that moves when told; `ahead` is by how much the wall's runs ahead of the other."""

    def __init__(self, period: int = 300) -> None:
        self.pods, self.time, self.period, self.ahead = Pods(), 1_000_000.0, period, 0.0
        self.failures: Counter[tuple[str, str]] = Counter()
        self.kept: bytes | None = None
        self.begin()
        self.there = [pod()]
        self.digest = OWN

    async def recall(self, deployment: str) -> bytes | None:
        return self.kept

    def begin(self, recall: Callable[[str], Awaitable[bytes | None]] | None = None) -> None:
        """Make another watcher, which knows what was kept and nothing else."""
        session: Any = self.pods
        self.watcher = Watcher(
            session,
            lambda: self.time,
            lambda: self.time + self.ahead,
            lambda *kind: self.failures.update([kind]),
            recall=recall or self.recall,
        )

    def keep(self) -> None:
        """Keep what is known, as at an orderly end."""
        content, kept = self.watcher.document("deployment")
        self.kept = content if content is not None else self.kept
        kept()

    async def look(self, seconds: float = 60, **rows: dict[str, Any]) -> Finding:
        """A pass so many seconds later, in which pods tell these documents by uid."""
        self.time += seconds
        for uid, document in rows.items():
            self.pods.counts[f"127.0.0.{len(uid)}"] = document
        limit = Limit("Accuracy", 0.8, 50)
        return await self.watcher.finding(Watch("deployment", self.digest, self.there, self.period, Policy(), limit))

    async def rows(self, seconds: float = 700) -> int:
        """The rows of the window after the open bucket has ended."""
        found = await self.look(seconds)
        return found.drift.look.rows if found.drift else 0


async def test_only_what_grows_under_the_watch_is_counted() -> None:
    eyes = Eyes()
    assert (await eyes.look(u1=counts_document(1_000))).drift is None
    await eyes.look(u1=counts_document(1_080))
    await eyes.look(u1=counts_document(1_200))
    assert await eyes.rows() == 200
    assert eyes.pods.asked["trimtab/v1/profile"] == 1


@pytest.mark.parametrize(("back", "rows"), [(86_400, 9), (600, 109)])
async def test_a_clock_that_goes_back_does_not_stop_the_looks_for_long(back: float, rows: int) -> None:
    """Where it ran far ahead windows begin anew; else they wait until it comes to where they are."""
    eyes = Eyes()
    await eyes.look(u1=counts_document(1_000))
    eyes.ahead = back
    await eyes.look(u1=counts_document(1_100))
    assert await eyes.rows() == 100
    eyes.ahead = 0
    await eyes.look(u1=counts_document(1_107))
    await eyes.look(60, u1=counts_document(1_109))
    await eyes.look(600)
    assert await eyes.rows() == rows


async def test_a_restart_counts_from_zero_and_a_new_pod_from_its_beginning() -> None:
    eyes = Eyes()
    await eyes.look(u1=counts_document(1_000))
    await eyes.look(u1=counts_document(40, epoch="0100"))
    eyes.there = [pod(), pod("u22", made=eyes.time + 30), pod("u333", made=10.0)]
    await eyes.look(u22=counts_document(60, epoch="0200"), u333=counts_document(5_000, epoch="0300"))
    await eyes.look(u333=counts_document(5_007, epoch="0300"))
    assert await eyes.rows() == 40 + 60 + 7


async def test_a_pod_that_falls_silent_or_lies_is_left_out_and_goes_on_later() -> None:
    eyes = Eyes()
    await eyes.look(u1=counts_document(1_000))
    await eyes.look(u1=counts_document(1_100))
    eyes.pods.counts.clear()
    await eyes.look(u1=counts_document(900))
    assert eyes.failures == {("monitor", "shrank"): 1}
    await eyes.look(u1=counts_document(1_150))
    assert await eyes.rows() == 150


async def test_versions_are_never_mixed() -> None:
    eyes = Eyes()
    eyes.there = [pod(), pod("u22", OTHER, made=2e6)]
    await eyes.look(u1=counts_document(1_000), u22=counts_document(30, digest=OTHER))
    await eyes.look(u1=counts_document(1_100), u22=counts_document(70, digest=OTHER))
    assert await eyes.rows() == 100
    eyes.digest = OTHER
    assert await eyes.rows() == 70


async def test_labels_that_reach_pods_of_another_version_count_for_their_own() -> None:
    eyes = Eyes()
    eyes.there = [pod(), pod("u22", OTHER)]
    other = counts_document(10, digest=OTHER)
    await eyes.look(u1=counts_document(100, labels=10), u22=other)
    late = copy.deepcopy(other)
    late["outcomes"]["revisions"].append(counts_document(labels=60)["outcomes"]["revisions"][0])
    await eyes.look(u1=counts_document(150, labels=10), u22=late)
    found = await eyes.look(700)
    assert found.quality is not None
    assert found.quality.labels == 60


async def test_a_profile_that_is_not_the_one_that_was_named_is_not_used() -> None:
    eyes = Eyes()
    eyes.pods.profile = text(profile_document(), lambda t: t.update(rows=2))
    found = await eyes.look(u1=counts_document())
    assert found.note == "its drift profile has not been fetched yet"
    assert eyes.failures[("profile", "digest")] == 1


async def test_without_a_profile_labels_are_counted_all_the_same() -> None:
    def bare(told: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in told.items() if key not in ("profile", "features", "moments")}

    eyes = Eyes()
    await eyes.look(u1=bare(counts_document(labels=10)))
    await eyes.look(u1=bare(counts_document(200, labels=90)))
    found = await eyes.look(700)
    assert (found.profile, found.drift) == ("", None)
    assert found.quality is not None
    assert found.quality.labels == 80
    assert eyes.pods.asked["trimtab/v1/profile"] == 0


async def test_a_server_that_does_not_count_is_told_of() -> None:
    eyes = Eyes()
    told = {key: value for key, value in counts_document().items() if key not in ("features", "moments")}
    found = await eyes.look(u1=told)
    assert found.note == "the pods do not count rows: TRIMTAB_COUNTING is off"
    eyes.there = []
    eyes.digest = OTHER
    assert (await eyes.look()).note == "no pod is ready"


async def test_a_bucket_without_rows_is_no_look() -> None:
    eyes = Eyes()
    await eyes.look(u1=counts_document(1_000))
    await eyes.look(u1=counts_document(1_300))
    found = await eyes.look(700)
    for _ in range(10):
        assert await eyes.look(300) == found


async def test_what_was_counted_across_the_end_of_a_bucket_is_neither_lost_nor_doubled() -> None:
    eyes, rows = Eyes(period=10), 1_000
    await eyes.look(u1=counts_document(rows))
    for step in range(36):
        rows += 7
        await eyes.look((1.3, 2.9, 4.1)[step % 3], u1=counts_document(rows))
    assert await eyes.rows(30) == rows - 1_000


async def test_another_period_begins_anew_and_other_limits_do_not() -> None:
    eyes = Eyes()
    await eyes.look(u1=counts_document(1_000))
    await eyes.look(u1=counts_document(1_300))
    eyes.period = 60
    assert await eyes.rows() == 0


async def test_what_nobody_asks_for_is_forgotten() -> None:
    eyes = Eyes()
    await eyes.look(u1=counts_document(1_000))
    eyes.time += FORGOTTEN_AFTER + 1
    there, eyes.there = eyes.there, []
    limit = Watch("another", OTHER, (), 300, Policy())
    await eyes.watcher.finding(limit)
    assert list(eyes.watcher._watched) == ["another"]
    assert eyes.watcher._profiles == {}
    eyes.there = there
    assert await eyes.rows() == 0
