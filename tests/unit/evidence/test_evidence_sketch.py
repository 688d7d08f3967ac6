"""Distinct users over several pods, against the true number and against the formula written out bit by bit."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from hashlib import blake2b

import pytest

from trimtab.evidence.sketch import BITS, REGISTERS, distinct, joined


def sketch_of(users: Iterable[object]) -> bytes:
    """The registers as docs/contract.md has them."""
    registers = bytearray(REGISTERS)
    for user in users:
        hashed = int.from_bytes(blake2b(str(user).encode(), digest_size=8).digest(), "big")
        place, rest = hashed >> BITS, hashed & ((1 << BITS) - 1)
        registers[place] = max(registers[place], 1 + BITS - rest.bit_length())
    return bytes(registers)


@pytest.mark.parametrize("users", [0, 1, 10, 100, 1_000, 10_000, 60_000])
def test_the_number_of_users_is_found_within_three_standard_errors(users: int) -> None:
    found = distinct(sketch_of(range(users)))
    assert found == pytest.approx(users, rel=3 * 1.04 / math.sqrt(REGISTERS))


def test_there_is_no_bias_on_average() -> None:
    rng = random.Random(7)
    ratios = [distinct(sketch_of(rng.randbytes(8) for _ in range(n))) / n for n in (300, 1500, 4000) for _ in range(12)]
    assert sum(ratios) / len(ratios) == pytest.approx(1, abs=4 * 0.0325 / math.sqrt(len(ratios)))


def test_users_seen_by_several_pods_count_once() -> None:
    pods = [sketch_of(range(600)), sketch_of(range(300, 900)), b"", sketch_of(range(100, 400))]
    assert joined(pods) == sketch_of(range(900))
    assert joined([]) == joined([b""]) == bytes(REGISTERS)
    assert distinct(joined([])) == 0


def test_registers_at_their_ends_give_a_number() -> None:
    assert distinct(bytes([BITS + 1]) * REGISTERS) == math.inf
    assert 0 < distinct(bytes([BITS + 1]) + bytes(REGISTERS - 1)) < 2
    assert math.isfinite(distinct(bytes([BITS]) * REGISTERS))
