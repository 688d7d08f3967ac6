"""The file in which all workers of a pod count outcomes, each token once.

Outcomes are rare next to predictions, so one file under a lock will do. It has two copies of the counts, each
with a journal of the tokens that were counted last, and a table of all tokens counted. A change fills the copy
not in use and turns the generation with one store; then the journal's tokens enter the table. Whoever takes the
lock next enters them again, in case the last one was killed before it could: no kill counts a token twice.

The table is bounded. When its half is full, the older half is forgotten; so protection covers at least the last
`HALF` outcomes of a pod.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trimtab_serving.counting.fold import Counts
from trimtab_serving.counting.slab import PAGE

SLOTS = 1 << 19
HALF = SLOTS * 3 // 4
MAX_JOURNAL = 2048
_GENERATION, _YOUNG, _FILLED = 0, 1, 2


class Ledger:
    """Counts under a lock, and the memory of which tokens they hold."""

    def __init__(self, path: Path | None, whole: int, sums: int) -> None:
        self._lengths = whole, sums
        copy = 8 * (whole + sums + 1 + MAX_JOURNAL)
        size = PAGE + 2 * copy + 2 * SLOTS * 8
        self._file: int | None = None
        if path is None:
            self._map = mmap.mmap(-1, size)
        else:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._file, size)
            self._map = mmap.mmap(self._file, size)
        buffer = memoryview(self._map)
        self._control = buffer[:PAGE].cast("q")
        self._copies = [np.frombuffer(self._map, np.uint8, copy, PAGE + index * copy) for index in (0, 1)]
        tables = buffer[PAGE + 2 * copy :].cast("Q")
        self._tables = [tables[:SLOTS], tables[SLOTS:]]

    def read(self) -> Counts:
        """A copy of the counts."""
        with self._locked():
            counts = self._counts(self._control[_GENERATION] & 1)
            return Counts(counts.whole.copy(), counts.sums.copy())

    def change(self, apply: Callable[[Counts, Callable[[int], bool]], list[int]]) -> None:
        """One transaction: `apply` gets the counts to change and a test for tokens seen; returns the new ones."""
        with self._locked():
            generation = self._control[_GENERATION]
            spare = (generation + 1) & 1
            self._copies[spare][:] = self._copies[generation & 1]
            fresh = apply(self._counts(spare), self._seen)
            journal = self._journal(spare)
            journal[0] = len(fresh)
            journal[1 : 1 + len(fresh)] = fresh
            self._control[_GENERATION] = generation + 1
            self._enter(fresh)

    def _counts(self, index: int) -> Counts:
        whole, sums = self._lengths
        flat = self._copies[index]
        return Counts(flat[: 8 * whole].view(np.int64), flat[8 * whole : 8 * (whole + sums)].view(np.float64))

    def _journal(self, index: int) -> NDArray[np.uint64]:
        return self._copies[index][8 * sum(self._lengths) :].view(np.uint64)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._file is None:
            yield
            return
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            journal = self._journal(self._control[_GENERATION] & 1)
            last = int(journal[0])
            # The last of them is entered last: when it is there, all are.
            if last and not self._seen(int(journal[last])):
                self._enter([token for token in journal[1 : 1 + last].tolist() if not self._seen(token)])
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _seen(self, token: int) -> bool:
        return any(table[_find(table, token)] == token for table in self._tables)

    def _enter(self, tokens: list[int]) -> None:
        for token in tokens:
            if self._control[_FILLED] >= HALF:
                self._turn()
            table = self._tables[self._control[_YOUNG]]
            place = _find(table, token)
            if table[place] != token:
                table[place] = token
                self._control[_FILLED] += 1

    def _turn(self) -> None:
        old = 1 - self._control[_YOUNG]
        self._tables[old][:] = memoryview(bytes(SLOTS * 8)).cast("Q")
        self._control[_FILLED] = 0
        self._control[_YOUNG] = old


def _find(table: memoryview, token: int) -> int:
    """The place of a token, or the free one where it belongs."""
    place = token % SLOTS
    while table[place] not in (0, token):
        place = (place + 1) % SLOTS
    return place
