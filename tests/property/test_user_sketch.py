"""The sketch of distinct users against the contract's words, a slow reading of them, and the known number of users."""

import math
import random
from base64 import b64decode
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_serving.bundle import BundleInfo
from trimtab_serving.counting.fold import Folder
from trimtab_serving.counting.layout import Layout
from trimtab_serving.counting.recorder import Recorder, saw
from trimtab_serving.counting.sketch import REGISTERS, describe_users, merged, note
from trimtab_serving.counting.state import State

EMPTY = BundleInfo(format="", flavor="", runtime="onnx", inputs=(), outputs=())
NAMES = st.lists(st.text(min_size=1, max_size=8), max_size=60)


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    """As the application begins each request: what an earlier test has predicted is not this one's."""
    saw(None)


def sketch_of(users: Iterable[str]) -> bytearray:
    """The registers, bit by bit as the contract has them."""
    registers = bytearray(REGISTERS)
    for user in users:
        bits = f"{int.from_bytes(blake2b(user.encode(), digest_size=8).digest(), 'big'):064b}"
        place, rest = int(bits[:10], 2), bits[10:]
        rank = 1 + len(rest) - len(rest.lstrip("0"))
        registers[place] = max(registers[place], rank)
    return registers


def estimate(registers: bytes) -> float:
    """Ertl's improved estimator (arXiv:1702.01284, algorithm 6)."""
    bits, m = 54, len(registers)
    counts = np.bincount(np.frombuffer(registers, np.uint8), minlength=bits + 2).tolist()
    z = m * tau(1 - counts[bits + 1] / m)
    for rank in range(bits, 0, -1):
        z = (z + counts[rank]) / 2
    return m * m / (2 * math.log(2) * (z + m * sigma(counts[0] / m)))


def tau(x: float) -> float:
    if x in (0, 1):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while z != before:
        x, before, y = math.sqrt(x), z, y / 2
        z -= (1 - x) ** 2 * y
    return z / 3


def sigma(x: float) -> float:
    if x == 1:
        return math.inf
    y, z, before = 1.0, x, -1.0
    while z != before:
        x, before = x * x, z
        z, y = z + x * y, 2 * y
    return z


@given(st.lists(NAMES, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_workers_agree_however_users_are_spread_and_repeated(workers: list[list[str]], order: random.Random) -> None:
    sketches = []
    for names in workers:
        registers = bytearray(REGISTERS)
        again = names * 2
        order.shuffle(again)
        note(registers, [int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") for name in again])
        sketches.append(memoryview(registers))
    everybody = {name for names in workers for name in names}
    assert merged(sketches) == merged(reversed(sketches)) == bytes(sketch_of(everybody))


@given(st.integers(0, (1 << 64) - 1))
def test_any_hash_has_a_register_and_a_rank(user: int) -> None:
    registers = bytearray(REGISTERS)
    note(registers, [user])
    assert [(place, rank) for place, rank in enumerate(registers) if rank] == [
        (user >> 54, 1 + f"{user & ((1 << 54) - 1):054b}1".index("1"))
    ]


def test_the_estimate_is_within_ten_percent_at_three_standard_deviations() -> None:
    # 3 sd of 40 draws each: the error's standard deviation, and no bias, from the sketch's own bytes.
    generator = np.random.default_rng(20)
    for users in (10, 200, 1_000, 2_500, 5_000, 40_000):
        errors = []
        for _ in range(40):
            hashes = generator.integers(0, 1 << 64, users, np.uint64, endpoint=False)
            errors.append(estimate(registers_of(hashes)) / users - 1)
        assert 3 * float(np.std(errors)) < 0.13, users  # 3 x 3.25 %, and the error of 40 draws
        assert abs(float(np.mean(errors))) < 0.0325, users


def registers_of(hashes: np.ndarray) -> bytes:
    """What `note` makes of many hashes, in one go; checked against it below."""
    registers = np.zeros(REGISTERS, np.uint8)
    low = (hashes & np.uint64((1 << 54) - 1)).astype(np.float64)
    ranks = np.where(low > 0, 54 - np.floor(np.log2(np.maximum(low, 1))), 55).astype(np.uint8)
    np.maximum.at(registers, (hashes >> np.uint64(54)).astype(np.int64), ranks)
    return registers.tobytes()


def test_many_hashes_at_once_give_what_they_give_one_by_one() -> None:
    hashes = np.random.default_rng(3).integers(0, 1 << 64, 3_000, np.uint64, endpoint=False)
    registers = bytearray(REGISTERS)
    for user in hashes.tolist():
        note(registers, [user])
    assert registers_of(hashes) == bytes(registers)


def test_a_thousand_users_seen_again_and_again_by_two_workers_are_a_thousand(tmp_path: Path) -> None:
    recorders = [
        Recorder(
            State(Folder(Layout(EMPTY, None)), tmp_path / "state", worker),
            EMPTY,
            rows=True,
            signer=None,
            user_header="X-User",
        )
        for worker in (0, 1)
    ]
    for visit in range(3):
        for user in range(1000):
            recorders[(visit + user) % 2].answered(200, 0.001, {b"x-user": f"user-{user}".encode()})
    told = [recorder.users for recorder in recorders]
    assert told[0] is not None
    assert told[0] == told[1]
    assert abs(estimate(b64decode(describe_users(told[0])["registers"])) - 1000) < 100


def test_refused_requests_bring_in_no_users(tmp_path: Path) -> None:
    recorder = Recorder(
        State(Folder(Layout(EMPTY, None)), tmp_path / "state"), EMPTY, rows=True, signer=None, user_header="x-user"
    )
    for user in range(100):
        recorder.answered(401, 0.001, {b"x-user": str(user).encode()})
    assert recorder.users == bytes(REGISTERS)
    recorder.answered(503, 0.001, {b"x-user": b"100"})
    assert recorder.users == bytes(sketch_of(["100"]))


def test_without_a_header_or_without_counting_there_is_no_sketch() -> None:
    state = State(Folder(Layout(EMPTY, None)), None)
    assert Recorder(state, EMPTY, rows=True, signer=None, user_header="").users is None
    assert Recorder(state, EMPTY, rows=False, signer=None, user_header="x-user").users is None
