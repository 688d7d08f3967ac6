"""Whatever the traffic and whenever the process dies: the counts are those of a recount, one value at a time."""

import math
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.test_user_sketch import sketch_of
from tests.thorough import examples
from trimtab_serving.bundle import BundleInfo, Tensor
from trimtab_serving.counting import slab as slabs
from trimtab_serving.counting.document import describe_counts
from trimtab_serving.counting.fold import Folder
from trimtab_serving.counting.layout import LATENCY_EDGES, Layout
from trimtab_serving.counting.profile import Boolean, Category, Moments, Numeric, Profile, Score, rest_hash
from trimtab_serving.counting.recorder import Answered, Recorder, saw
from trimtab_serving.counting.rows import Seen
from trimtab_serving.counting.sketch import describe_users
from trimtab_serving.counting.state import State
from trimtab_serving.metrics import Metrics

EDGES = (-1.5, 0.0, 0.5, 2.0, 7.0)
CITIES = ("Ulm", "Bonn", "7")
REST = "Rom"
INFO = BundleInfo(
    format="ONNX",
    flavor="onnx",
    runtime="onnx",
    inputs=(Tensor("x", "FP32", (-1, 2)), Tensor("city", "BYTES", (-1, 1)), Tensor("own", "BOOL", (-1,))),
    outputs=(Tensor("label", "BYTES", (-1,)), Tensor("probabilities", "FP32", (-1, 3))),
    classes=("a", "b", "c"),
)
NAMES = ("label", "probabilities")


def number(name: str, column: int) -> Numeric:
    return Numeric(name, "x", EDGES, (1,) * 6, (1, 2), (1, 4), 6, 0, mean=0.5, deviation=2.0, column=column)


PROFILE = Profile(
    rows=6,
    features=(
        number("first", 0),
        number("second", 1),
        Category("city", "city", CITIES, (2, 2, 1, 1, 0), 6, 0, rest=(rest_hash(REST),)),
        Boolean("own", "own", (3, 3), 6, 0),
    ),
    score=Score("largest", (0.4, 0.6), (1, 2, 3)),
    moments=Moments(("second", "first"), 6, (0.0, 0.0), ((1.0, 0.0), (0.0, 1.0))),
)
VALUES = st.sampled_from([math.nan, -math.inf, math.inf, -1.5, 0.0, -0.0, 0.5, 7.0]) | st.floats(-10, 10, width=32)
ROWS = st.tuples(
    VALUES,
    VALUES,
    st.sampled_from([*CITIES, REST, "", "Oslo", "ß"]),
    st.booleans(),
    st.integers(0, 2),
    st.floats(0, 1, width=32),
)
REQUESTS = st.tuples(
    st.sampled_from([200, 200, 200, 200, 200, 400, 404, 418, 500, 503]),
    st.sampled_from(LATENCY_EDGES) | st.floats(0, 20),
    st.lists(ROWS, min_size=1, max_size=40),
    st.sampled_from(["", "ann", "bob", "cem"]),
    st.sampled_from([None, "x", "own", "elsewhere"]),
)
Row = tuple[float, float, str, bool, int, float]


def seen(rows: list[Row]) -> Seen:
    first, second, city, own, label, chance = zip(*rows, strict=True)
    chances = np.array([[0.1, chance, 0.2] for chance in chance], np.float32)
    arrays = {
        "x": np.array([first, second], np.float32).T,
        "city": np.array(city, object).reshape(-1, 1),
        "own": np.array(own),
    }
    return Seen(arrays, NAMES, [np.array(["abc"[index].encode() for index in label], object), chances])


class Recount:
    """Loops and additions only."""

    def __init__(self) -> None:
        self.classes: Counter[str] = Counter()
        self.latencies: Counter[int] = Counter()
        self.rows: list[Row] = []
        self.wrong: Counter[str] = Counter()
        self.bucketed = 0
        self.users: set[str] = set()
        self.dying = ""
        """The user of a request that was never counted: one who was here all the same, and may be in the sketch."""

    def add(self, status: int, seconds: float, rows: list[Row], user: str, refused: str | None) -> None:
        self.classes[f"{status // 100}xx"] += 1
        if status // 100 != 4:
            self.users |= {user} - {""}
        self.latencies[sum(seconds > edge for edge in LATENCY_EDGES)] += 1
        if status == 200:
            self.rows += rows
            self.bucketed += len(rows) * bool(user)
        elif refused is not None:
            self.wrong[refused] += 1

    def equals(self, told: dict[str, Any]) -> None:
        classes = told["requests"]["classes"]
        assert classes == {name: self.classes[name] for name in ("2xx", "4xx", "5xx")}
        latency = told["requests"]["latency"]
        summed = [sum(cells) for cells in zip(*(latency[name] for name in classes), strict=True)]
        assert summed == [self.latencies[cell] for cell in range(len(LATENCY_EDGES) + 1)]
        assert told["rows"] == len(self.rows)
        assert sum(told["buckets"]["rows"]) == self.bucketed
        sketches = [sketch_of(self.users | {who} - {""}) for who in ("", self.dying)]
        assert told["users"] in [describe_users(bytes(sketch)) for sketch in sketches]
        assert told["typeErrors"] == {name: self.wrong[name] for name in ("x", "city", "own")}
        assert told["predictions"]["counts"] == [sum(row[4] == index for row in self.rows) for index in range(3)]
        assert told["score"]["counts"] == histogram([max(np.float32(0.2), row[5]) for row in self.rows], (0.4, 0.6))
        for place in (0, 1):
            entry, values = told["features"][place], [row[place] for row in self.rows]
            assert entry["counts"] == histogram(values, EDGES)
            assert entry["missing"] == sum(value != value for value in values)
            assert entry["outOfRange"] == sum(value < -1.5 or value >= 7 for value in values)
        cities = [row[2] for row in self.rows]
        unseen = sum(city in ("Oslo", "ß") for city in cities)
        assert told["features"][2]["counts"] == [*(cities.count(city) for city in (*CITIES, REST)), unseen]
        assert told["features"][2]["missing"] == cities.count("")
        assert told["features"][3]["counts"] == [sum(row[3] is truth for row in self.rows) for truth in (False, True)]
        self._moments(told["moments"])

    def _moments(self, moments: dict[str, Any]) -> None:
        whole = [(row[1], row[0]) for row in self.rows if row[0] == row[0] and row[1] == row[1]]
        standard = np.array([[min(8, max(-8, (value - 0.5) / 2)) for value in pair] for pair in whole]).reshape(-1, 2)
        assert moments["n"] == len(whole)
        np.testing.assert_allclose(moments["sum"], standard.sum(axis=0), rtol=1e-9, atol=1e-6)
        np.testing.assert_allclose(moments["products"], standard.T @ standard, rtol=1e-9, atol=1e-6)


def histogram(values: list[float], edges: tuple[float, ...]) -> list[int]:
    known = [value for value in values if value == value]
    return [sum(sum(value >= edge for edge in edges) == cell for value in known) for cell in range(len(edges) + 1)]


def open_state(directory: Path) -> tuple[State, Recorder]:
    state = State(Folder(Layout(INFO, PROFILE)), directory)
    return state, Recorder(state, INFO, rows=True, signer=None, user_header="x-user")


def told_by(state: State) -> dict[str, Any]:
    return describe_counts(state.folder.layout, state.totals()) | {"users": describe_users(state.users())}


def survivor(directory: Path, home: Path) -> dict[str, Any]:
    """What a process that maps the files as they are now would tell: the writer is as good as killed."""
    copy = Path(tempfile.mkdtemp(dir=home)) / "state"
    shutil.copytree(directory, copy)
    state, _ = open_state(copy)
    return told_by(state)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=60), st.integers(0, 1 << 30))
def test_counts_equal_a_recount_whenever_the_process_dies(requests: list[Any], when: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        state, recorder = open_state(home / "state")
        recount = Recount()
        for index, (status, seconds, rows, user, refused) in enumerate(requests):
            saw(seen(rows))
            known = refused if status != 200 else None
            recorder.answered(status, seconds, {b"x-user": user.encode()}, known)
            recount.add(status, seconds, rows, user, known)
            if index == when % len(requests):
                recount.equals(survivor(home / "state", home))
        recount.equals(told_by(state))
        state.slab.fold()
        recount.equals(survivor(home / "state", home))


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.lists(REQUESTS, min_size=1, max_size=12), min_size=1, max_size=6))
def test_requests_counted_together_are_counted_as_those_that_come_alone(turns: list[list[Any]]) -> None:
    recount = Recount()
    with tempfile.TemporaryDirectory() as home:
        state, recorder = open_state(Path(home))
        for requests in turns:
            rows = [rows for _, _, rows, _, _ in requests]
            answered = [Answered(seconds, {b"x-user": user.encode()}) for _, seconds, _, user, _ in requests]
            whole = seen([row for part in rows for row in part])
            recorder.answered_together(answered, [len(part) for part in rows], whole)
            for _, seconds, part, user, _ in requests:
                recount.add(200, seconds, part, user, None)
        recount.equals(told_by(state))


@pytest.mark.parametrize("together", [2, 7, 31, 33])
def test_requests_of_one_row_are_counted_together_around_the_end_of_the_ring(together: int, tmp_path: Path) -> None:
    dice = np.random.default_rng(together)
    state, recorder = open_state(tmp_path)
    recount = Recount()
    for _ in range(1_300 // together):
        rows = [
            (float(np.float32(dice.normal())), 7.0, str(dice.choice([*CITIES, REST])), True, int(dice.integers(3)), 0.5)
            for _ in range(together)
        ]
        users = dice.choice(["", "ann", "bob"], together).tolist()
        answered = [Answered(0.001, {b"x-user": user.encode()}) for user in users]
        assert recorder.answered_together(answered, [1] * together, seen(rows)) == [()] * together
        for user, row in zip(users, rows, strict=True):
            recount.add(200, 0.001, [row], user, None)
    recount.equals(told_by(state))


class Killed(BaseException):
    """The process ends here."""


class KillingControl:
    """The slab's control words, of which the n-th store never happens."""

    def __init__(self, words: Any, stores: int) -> None:
        self.words, self.left = words, stores

    def __getitem__(self, index: int) -> int:
        return int(self.words[index])

    def __setitem__(self, index: int, value: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed
        self.words[index] = value


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(REQUESTS, min_size=2, max_size=30), st.integers(0, 40), st.booleans())
def test_a_kill_between_any_two_stores_counts_a_request_wholly_or_not(
    requests: list[Any], stores: int, small: bool
) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(slabs, "SLOTS", 4 if small else 256)
        home = Path(name)
        patch.setattr("trimtab_serving.counting.recorder.SLOTS", slabs.SLOTS)
        state, recorder = open_state(home / "state")
        state.slab.control = KillingControl(state.slab.control, stores)  # type: ignore[assignment]
        recount = Recount()
        for status, seconds, rows, user, _ in requests:
            saw(seen(rows))
            try:
                recorder.answered(status, seconds, {b"x-user": user.encode()})
            except Killed:
                recount.dying = user
                break
            recount.add(status, seconds, rows, user, None)
        recount.equals(survivor(home / "state", home))


@pytest.mark.parametrize("declared", [4, -1], ids=["fixed", "of any length"])
@pytest.mark.parametrize("rows", [1, 2, 40])
@pytest.mark.parametrize("together", [False, True])
def test_requests_are_counted_whatever_a_model_answers(declared: int, rows: int, together: bool) -> None:
    """A graph need not answer row by row: here it gives four numbers for any number of rows."""
    outputs = (Tensor("m", "FP32", (declared,)), Tensor("probabilities", "FP32", (declared, 2)))
    info = BundleInfo("ONNX", "onnx", "onnx", (Tensor("x", "FP32", (-1, 2)),), outputs)
    recorder = Recorder(State(Folder(Layout(info, None)), None), info, rows=True, signer=None, user_header="")
    metrics = Metrics("m", "r", recorder)
    answer = Seen({"x": np.zeros((rows, 2))}, ("m", "probabilities"), [np.zeros(4), np.zeros((4, 2))])
    if together:
        metrics.answered_together([Answered(0.01, {})], [rows], answer)
    else:
        saw(answer)
        metrics.answered(200, 0.01, {})
    told = describe_counts(recorder.state.folder.layout, recorder.state.totals())
    assert told["requests"]["classes"]["2xx"] == 1
    assert told["rows"] == (rows if declared == 4 else 0)


def test_the_state_of_another_process_is_not_written(tmp_path: Path) -> None:
    open_state(tmp_path / "state")
    with pytest.raises(Exception, match="in use by another process; give each server a TRIMTAB_STATE_DIR of its own"):
        open_state(tmp_path / "state")
