"""Documents of counts: what goes on from one, what makes one useless, and that it is never too large."""

from __future__ import annotations

import json
import logging
import random
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.adapters.test_monitor import (
    OWN,
    PROFILE,
    Eyes,
    counts_document,
    pod,
    profile_document,
    text,
)
from trimtab.adapters.monitor.course import Course
from trimtab.adapters.monitor.document import Unread, read_document
from trimtab.adapters.monitor.profile import read_profile
from trimtab.adapters.monitor.watched import FORGOTTEN_AFTER, Last, Watched
from trimtab.adapters.monitor.watcher import KEPT_EVERY
from trimtab.adapters.polling import Distrusted
from trimtab.evidence.drift.degradation import Detector, Limit
from trimtab.evidence.drift.history import BUCKET, History
from trimtab.evidence.drift.judge import Policy
from trimtab.evidence.drift.kept import sound
from trimtab.evidence.drift.labels import Labels, Newest
from trimtab.evidence.drift.window import Window, packed
from trimtab.kinds.modeldeployment.observe import Watch

Change = Callable[[dict[str, Any]], Any]


async def lived(rows: int = 1_300, labels: int = 60) -> Eyes:
    """A watcher that has counted 300 rows and some labels in the bucket that is open, and kept them."""
    eyes = Eyes()
    await eyes.look(u1=counts_document(1_000))
    await eyes.look(u1=counts_document(rows, labels=labels))
    eyes.keep()
    return eyes


def edited(content: bytes | None, change: Change) -> bytes:
    told = json.loads(zlib.decompress(content or b""))
    change(told)
    return zlib.compress(json.dumps(told).encode())


async def test_rows_labels_and_evidence_go_on() -> None:
    eyes, undisturbed = await lived(labels=600), await lived(labels=600)
    for both in (eyes, undisturbed):
        await both.look(700)
        await both.look(60, u1=counts_document(1_400, labels=700))
        await both.look(700)
    eyes.keep()
    eyes.begin()
    found, expected = [await both.look(60, u1=counts_document(1_500, labels=1_700)) for both in (eyes, undisturbed)]
    assert (found.drift, found.quality) == (None, None), "nothing is told anew"
    found, expected = [await both.look(700) for both in (eyes, undisturbed)]
    assert expected.drift is not None
    assert expected.quality is not None
    assert expected.quality.evidence == 0 < expected.quality.labels
    assert found == expected


async def test_evidence_that_labels_are_worse_goes_on() -> None:
    limit = Limit("Accuracy", 0.95, 50)
    poor, detector, other = Labels(confusion=(40, 5, 5, 10)), Detector(limit, 300, 1), Detector(limit, 300, 1)
    detector.take(poor)
    other.resume(*detector.kept())
    assert other.evidence == detector.evidence > 0
    with pytest.raises(ValueError, match="there are 1 bets, where 3 are made"):
        other.resume((1.0,), Labels())


def test_very_many_buckets_of_labels_are_put_together_by_neighbours() -> None:
    newest, resumed = Newest(10**6, 10**9), Newest(10**6, 10**9)
    for place in range(1_000):
        newest.add(place * BUCKET, Labels((0.5,), (place, 1), (1, 0), (place, 0, 1, 0), (), (place + 1,)))
    kept = newest.kept()
    assert len(kept) <= 48
    resumed.resume(kept)
    assert (resumed.sum, resumed.since) == (newest.sum, 0)
    with pytest.raises(ValueError, match="of different cells"):
        resumed.resume([(0, Labels((0.7,), (1, 1), (0, 0)))])


async def test_what_was_counted_while_nobody_looked_is_counted() -> None:
    eyes = await lived()
    eyes.begin()
    eyes.there = [pod(), pod("u22", made=eyes.time + 30)]
    await eyes.look(3_000, u1=counts_document(1_350, labels=60), u22=counts_document(40, epoch="0200"))
    await eyes.look(60, u1=counts_document(1_351, labels=60))
    assert await eyes.rows() == 300 + 50 + 40 + 1


async def test_a_pod_that_is_slow_to_answer_after_a_change_is_not_taken_for_a_new_one() -> None:
    eyes = await lived()
    eyes.there = [pod(), pod("u22", made=eyes.time + 30)]
    await eyes.look(60, u22=counts_document(40, epoch="0200"))
    eyes.keep()
    eyes.begin()
    del eyes.pods.counts["127.0.0.3"]
    await eyes.look(2 * FORGOTTEN_AFTER, u1=counts_document(1_301, labels=60))
    eyes.pods.counts["127.0.0.3"] = counts_document(45, epoch="0200")
    await eyes.look(700)
    await eyes.look(60, u1=counts_document(1_302, labels=60))
    assert await eyes.rows() == 300 + 1 + 40 + 5 + 1


async def test_a_pod_that_was_forgotten_is_not_counted_from_its_beginning_again() -> None:
    eyes = await lived()
    eyes.there = [pod(), pod("u22", made=eyes.time + 30)]
    await eyes.look(60, u22=counts_document(40, epoch="0200"))
    silent = eyes.pods.counts.pop("127.0.0.3")
    for _ in range(80):
        await eyes.look(60)
    eyes.pods.counts["127.0.0.3"] = silent
    for _ in range(12):
        await eyes.look(60, u1=counts_document(1_301, labels=60))
    assert await eyes.rows() == 300 + 40 + 1


async def test_what_cannot_be_read_now_is_waited_for_and_no_pod_is_asked() -> None:
    eyes = await lived()
    asked = eyes.pods.asked.total()

    async def away(deployment: str) -> bytes | None:
        raise Unread("the API server did not answer")

    eyes.begin(away)
    found = await eyes.look(60)
    assert found.note == "what was counted before cannot be read yet: the API server did not answer"
    assert (found.profile, eyes.pods.asked.total()) == (None, asked)


def course(**change: Any) -> Change:
    return lambda told: told["courses"][0].update(change)


USELESS: dict[str, tuple[Change, str]] = {
    "older": (lambda t: t.update(schema=0), "schema: Input should be 1"),
    "another deployment": (lambda t: t.update(deployment="x"), "it is of another deployment, x"),
    "the future": (lambda t: t.update(saved=2e6), "it was written in the future; a clock was wrong"),
    "counts of later": (course(closed=1_200_000), "it has counts from after it was written"),
    "negative": (course(closed=-1), "courses.0.closed: Input should be greater than or equal to 0"),
    "infinite": (course(bets=[1e999]), "courses.0.bets.0"),
    "no pods": (lambda t: t.pop("pods"), "pods: Field required"),
    "no base64": (course(rows=["é", ""]), "courses.0.rows.0"),
    "disorder": (
        lambda t: t["courses"][0]["history"].update(parts=t["courses"][0]["history"]["parts"] * 2),
        "its parts are not in the order of time",
    ),
}


@pytest.mark.parametrize("name", USELESS)
async def test_a_useless_document_is_told_of_in_one_line_and_windows_begin_anew(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    change, message = USELESS[name]
    eyes = await lived()
    await eyes.look(700)
    eyes.keep()
    eyes.kept = edited(eyes.kept, change)
    with pytest.raises(Distrusted) as caught:
        read_document(eyes.kept, "deployment", eyes.time)
    assert message in str(caught.value)
    eyes.begin()
    caplog.clear()
    await eyes.look(60)
    await eyes.look(60, u1=counts_document(1_307, labels=60))
    assert await eyes.rows() == 7
    (line,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert line.message == "the document of a deployment's counts is of no use; its windows begin anew"
    assert eyes.failures == {("history", "invalid"): 1}


@pytest.mark.parametrize("content", [b"", b"x", zlib.compress(b"{"), zlib.compress(b" " * (17 << 20)), b"\x78\x9c"])
def test_what_is_no_document_is_distrusted(content: bytes) -> None:
    with pytest.raises(Distrusted):
        read_document(content, "deployment", 1e6)


PARTLY: dict[str, tuple[Change, int]] = {
    "another profile": (course(profile="sha256:" + "00" * 32), 7),
    "another period": (course(period=60), 7),
    "another limit": (course(limit=["Accuracy", 0.9, 50]), 7),
    "other cells": (course(rows=["QnicAwAAAAAB", "ZHicAwAAAAAB"]), 7),
    "more labels than now": (lambda t: t["pods"][0]["labels"]["abababab"].update(scored=[9_000, 0]), 300),
    "other labels than now": (lambda t: t["pods"][0]["labels"]["abababab"].update(confusion=[50, 10, 0, 0]), 300),
    "more labels, by another profile": (
        lambda t: (t["pods"][0].update(profile=""), t["pods"][0]["labels"]["abababab"].update(scored=[9_000, 0])),
        300,
    ),
    "other delays than now": (lambda t: t["pods"][0]["labels"]["abababab"].update(delays=[59, 1, 0]), 300),
}


@pytest.mark.parametrize("name", PARTLY)
async def test_what_fits_no_more_begins_anew_and_the_rest_goes_on(name: str, caplog: pytest.LogCaptureFixture) -> None:
    change, rows = PARTLY[name]
    eyes = await lived()
    eyes.kept = edited(eyes.kept, change)
    eyes.begin()
    await eyes.look(60, u1=counts_document(1_307, labels=60))
    await eyes.look(60, u1=counts_document(1_308, labels=60))
    # Counts that cannot be compared are where its counting begins: what grew meanwhile is lost, and nothing doubled.
    assert await eyes.rows() == rows + 1
    assert "is of no use, and begins anew" in caplog.text


async def test_a_revision_whose_pods_are_still_away_is_written_on_as_it_was() -> None:
    eyes = await lived()
    eyes.begin()
    eyes.pods.counts.clear()
    await eyes.look(60)
    before = eyes.kept
    eyes.keep()
    kept, told = (json.loads(zlib.decompress(content or b"")) for content in (before, eyes.kept))
    assert (kept["courses"], kept["pods"]) == (told["courses"], told["pods"])
    eyes.begin()
    await eyes.look(60, u1=counts_document(1_310, labels=60))
    assert await eyes.rows() == 310


async def test_a_document_is_due_once_an_hour_and_only_when_something_was_counted() -> None:
    eyes = await lived()
    watcher = eyes.watcher
    assert watcher.changed(due=False) == []
    await eyes.look(60, u1=counts_document(1_310, labels=60))
    assert watcher.changed(due=False) == ["deployment"]
    due = 0
    for _ in range(3 * KEPT_EVERY // 60):
        await eyes.look(60)
        for uid in watcher.changed(due=True):
            due += 1
            watcher.document(uid)[1]()
    assert due == 1, "nothing was counted after the first one"
    for step in range(3 * KEPT_EVERY // 60):
        await eyes.look(60, u1=counts_document(1_311 + step, labels=60))
        for uid in watcher.changed(due=True):
            due += 1
            watcher.document(uid)[1]()
    assert due in (1 + 3, 1 + 4)


def test_what_is_packed_is_not_trusted() -> None:
    profile = read_profile(pod(), 200, text(profile_document()), None)
    like = profile.window
    whole, floats = packed(like)
    assert sound((whole, floats), like) == like
    many = replace(like, rows=5, cells=((0, 9, 0), *like.cells[1:]))
    bad = [
        (b"", floats),
        (b"x" + whole[1:], floats),
        (whole[:-3], floats),
        (floats, whole),
        (whole, b"d" + zlib.compress(b"\x00" * 8_000)),
        packed(replace(like, rows=-1)),
        packed(replace(like, moments=(float("nan"), (0.0,), (0.0,)))),
        packed(many),
    ]
    for content in bad:
        with pytest.raises(ValueError):
            sound(content, like)


@pytest.mark.parametrize(("largest", "parts"), [(100_000, 14), (2_100, 9), (1_500, 4), (1_100, 0)])
def test_what_is_too_much_is_kept_in_coarser_parts_or_without_windows(
    largest: int, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """14 hours, and 30 pods of which as many are kept as a quarter has room for."""
    monkeypatch.setattr("trimtab.adapters.monitor.watched.LARGEST", largest)
    profile, dice = read_profile(pod(), 200, text(profile_document()), None), random.Random(5)
    like = profile.window

    def window() -> Window:
        some = tuple(tuple(dice.randrange(1 << 40) for _ in cells) for cells in like.cells)
        return replace(like, rows=1 << 43, cells=some)

    own = Course(Watch("deployment", OWN, (), BUCKET, Policy()), profile, (), ())
    for hour in range(14):
        own.add(hour * 12 * BUCKET, window(), Labels())
    own.close(10**9)
    watched = Watched("deployment", 0.0, 0.0, 0.0, courses={OWN: own})
    for place in range(30):
        uid = f"u{place}"
        watched.pods[uid] = Last(None, uid, "00ff", OWN, PROFILE, float(place + 1), 0.0, window(), {})
    content = watched.document(1e6)
    assert content is not None
    assert len(content) <= largest
    found = read_document(content, "deployment", 1e6)
    (course,) = found.courses
    assert (len(course.history.parts) if course.history else 0) == parts
    left = watched.pods.keys() - {kept.uid for kept in found.pods}
    assert found.begun == max((watched.pods[uid].made for uid in left), default=0.0), "they must not pass for new ones"
    assert len(left) < 30 or not parts


def test_a_history_of_other_features_is_refused() -> None:
    profile = read_profile(pod(), 200, text(profile_document()), None)
    history = History(profile.reference)
    history.add(0, replace(profile.window, rows=1))
    kept = history.kept()
    assert kept is not None
    for change in ({"tests": []}, {"scales": []}, {"scales": [kept.scales[0]._replace(growing=[[1.0]])] * 9}):
        with pytest.raises(ValueError):
            History(profile.reference).resume(kept._replace(**change), profile.window)
