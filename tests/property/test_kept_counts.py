"""What is kept of counts beyond a process: a history that goes on is the undisturbed one up to its coarse parts, and of
what pods count nothing is counted twice, and nothing lost but with a pod that is gone."""

from __future__ import annotations

import asyncio
import random
from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.thorough import examples
from tests.unit.adapters.test_monitor import Eyes, counts_document, pod
from trimtab.adapters.monitor.document import KeptHistory
from trimtab.evidence.drift.history import BUCKET, DAY, HOUR, LENGTHS, History
from trimtab.evidence.drift.kept import LADDERS
from trimtab.evidence.drift.reference import Feature, Reference
from trimtab.evidence.drift.window import Window, empty, total

REFERENCE = Reference((Feature("flag", "boolean", (5_000, 5_000)), Feature("kind", "category", (10, 20, 30))))
COARSE = {HOUR: HOUR, 6 * HOUR: HOUR, DAY: HOUR, 7 * DAY: DAY}
"""What a window may miss after it was resumed, at most."""


def bucket(dice: random.Random) -> Window:
    rows = dice.randrange(1, 60)
    ones, kinds = dice.randrange(rows + 1), sorted(dice.randrange(rows + 1) for _ in range(2))
    hours = tuple(rows if hour == dice.randrange(24) else 0 for hour in range(24))
    return Window(rows, ((rows - ones, ones), (kinds[0], kinds[1] - kinds[0], rows - kinds[1])), (0, 0), hours)


def stream(dice: random.Random, buckets: int, gaps: float) -> list[tuple[int, Window]]:
    found, start = [], dice.randrange(10**6) * BUCKET
    for _ in range(buckets):
        start += BUCKET * (1 if dice.random() > gaps else dice.choice((2, 13, 80, 300)))
        found.append((start, bucket(dice)))
    return found


def handed_on(history: History, ladder: tuple[tuple[int, int], ...] = LADDERS[0]) -> History:
    kept = history.kept(ladder)
    assert kept is not None
    told = KeptHistory.model_validate_json(KeptHistory.of(kept).model_dump_json())
    found = History(REFERENCE)
    found.resume(told.kept(), empty(REFERENCE))
    return found


def check(restored: History, undisturbed: History, counted: list[tuple[int, Window]], since: int) -> None:
    """Each window is the sum of the newest buckets, and misses no more of its length than one coarse part."""
    for trail, whole in zip(restored._trails, undisturbed._trails, strict=True):
        end = counted[-1][0] + BUCKET
        inside = [(start, window) for start, window in counted if start >= end - trail.length]
        newest = list(accumulate((window.rows for _, window in reversed(inside)), initial=0))
        assert trail.window.rows in newest, f"the window of {trail.length} s is the sum of no newest buckets"
        place = len(inside) - newest.index(trail.window.rows)
        assert trail.window == total(REFERENCE, (window for _, window in inside[place:]))
        # The week is let go of by the hour where nothing was handed on, too.
        missed = [start for start, _ in inside[:place]]
        assert all(start < end - trail.length + COARSE[trail.length] + HOUR for start in missed), trail.length
        if end - since >= trail.length + DAY:
            assert trail.window == whole.window
    for length in LENGTHS:
        assert restored.effects(length) == pytest.approx(undisturbed.effects(length), rel=1e-3)


@given(st.integers(0, 10**9), st.integers(1, 900), st.integers(1, 400), st.sampled_from([0.0, 0.02]))
@settings(max_examples=examples(24), deadline=None)
def test_a_history_that_was_handed_on_is_the_undisturbed_one_up_to_its_coarse_parts(
    seed: int, before: int, after: int, gaps: float
) -> None:
    dice = random.Random(seed)
    counted = stream(dice, before + after, gaps)
    undisturbed = History(REFERENCE)
    for start, window in counted[:before]:
        undisturbed.add(start, window)
    restored = handed_on(undisturbed)
    check(restored, undisturbed, counted[:before], counted[before - 1][0])
    again = dice.randrange(after)
    for place, (start, window) in enumerate(counted[before:]):
        undisturbed.add(start, window)
        restored.add(start, window)
        restored = handed_on(restored) if place == again else restored
    check(restored, undisturbed, counted, counted[before + again][0])


@pytest.mark.parametrize("ladder", LADDERS)
def test_coarser_parts_are_fewer_and_hold_the_same(ladder: tuple[tuple[int, int], ...]) -> None:
    history = History(REFERENCE)
    counted = stream(random.Random(7), 3_000, 0.0)
    for start, window in counted:
        history.add(start, window)
    kept = history.kept(ladder)
    assert kept is not None
    starts = [start for start, _ in kept.parts]
    assert all(a < b for a, b in pairwise(starts))
    assert len(starts) <= {0: 30 + 4 + 7 + 12, 1: 12 + 8 + 7 + 12, 2: 24 + 8 + 12}[LADDERS.index(ladder)]
    week = handed_on(history, ladder)._trails[-1].window
    assert history._trails[-1].window.rows - week.rows <= sum(w.rows for _, w in counted[-2016 - 12 : -2016 + 289])


steps = st.lists(
    st.one_of(
        st.tuples(st.just("count"), st.integers(0, 2), st.integers(1, 50)),
        st.tuples(st.just("look"), st.integers(1, 400), st.just(0)),
        st.tuples(st.sampled_from(["keep", "kill", "new"]), st.just(0), st.just(0)),
        st.tuples(st.sampled_from(["restart", "end"]), st.integers(0, 2), st.just(0)),
    ),
    max_size=30,
)


@given(steps)
@settings(max_examples=examples(60), deadline=None)
def test_whoever_is_killed_whenever_no_row_is_counted_twice_and_none_lost_but_with_its_pod(
    story: list[tuple[str, int, int]],
) -> None:
    asyncio.run(_lived(story))


class Story:
    """Pods that count, and a watcher that is killed. Rows of the first pod count from its first reading on."""

    def __init__(self) -> None:
        self.eyes = Eyes()
        self.eyes.there = []
        self.rows: dict[str, int] = {}
        self.epochs: dict[str, int] = {}
        self.read: dict[str, int] = {}
        self.safe: dict[str, int] = {}
        self.lost = self.gone = 0

    async def look(self, seconds: float) -> int:
        """The rows of the window, or 0."""
        told = {uid: counts_document(rows, epoch=f"{self.epochs[uid]:04x}") for uid, rows in self.rows.items()}
        found = await self.eyes.look(seconds, **told)
        self.read.update(self.rows)
        return found.drift.look.rows if found.drift else 0

    def keep(self) -> None:
        self.eyes.keep()
        self.safe = dict(self.read)

    def kill(self) -> None:
        self.eyes.begin()
        self.read = dict(self.safe)

    def new(self, rows: int = 0) -> None:
        uid = "u" * (len(self.epochs) + 1)
        self.eyes.there.append(pod(uid, made=self.eyes.time + 1))
        self.rows[uid], self.epochs[uid] = rows, 0

    def restart(self, uid: str) -> None:
        """What was read is safe only if it was kept; what was not read is lost with the pod."""
        self.lost += self.rows[uid] - self.safe.get(uid, 0)
        self.gone += self.rows[uid]
        self.rows[uid] = self.safe[uid] = self.read[uid] = 0
        self.epochs[uid] += 1

    def end(self, uid: str) -> None:
        self.restart(uid)
        for known in (self.rows, self.safe, self.read):
            del known[uid]
        self.eyes.there = [found for found in self.eyes.there if found["metadata"]["uid"] != uid]

    async def happen(self, what: str, number: int, more: int) -> None:
        """One step."""
        there = list(self.rows)
        if what == "look":
            await self.look(number)
        elif what in ("keep", "kill", "new"):
            getattr(self, what)()
        elif there and what == "count":
            self.rows[there[number % len(there)]] += more
        elif there:
            getattr(self, what)(there[number % len(there)])


async def _lived(steps: list[tuple[str, int, int]]) -> None:
    story = Story()
    story.new(500)
    story.eyes.there[0]["metadata"]["creationTimestamp"] = "1970-01-01T00:00:00Z"
    await story.look(1)
    story.keep()
    for step in steps:
        await story.happen(*step)
    story.new(7)  # Without rows there is no look.
    await story.look(60)
    counted = await story.look(700)
    every = story.gone + sum(story.rows.values()) - 500
    assert every - story.lost <= counted <= every
