"""A worker's counts in a mapped file: what was counted before an answer left survives any end of the process.

The file has a page of gauges, a ring of slots, two copies of the counts, and the registers of a sketch, of which each
store is right by itself. Counting a request writes its slot
and then moves the cursor: one store of eight bytes, before which the request was not counted and after which it
was. Folding the ring into the counts writes the copy not in use and then turns the generation: one store again.
A process that is killed between any two instructions leaves a file that is right, and whoever maps it next goes
on from there. Only one process writes a slab. Others read it, and read again when the generation has turned.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path

import numpy as np

from trimtab_serving.counting.fold import Block, Counts, Folder, Whole
from trimtab_serving.counting.sketch import REGISTERS

SLOTS = 512
"""Half of them are added up at once: what that costs is mostly to look up each edge, however many rows there are; and
longer columns than 256 sort several times slower on some processors."""

PAGE = 4096
GAUGES = 64
_GENERATION, _CURSOR = 0, 1
_READ_TRIES = 100


class Slab:
    """The mapped counts of one worker."""

    def __init__(self, folder: Folder, path: Path | None, *, write: bool = True) -> None:
        self._folder = folder
        layout = folder.layout
        ring = SLOTS * layout.width * 8
        copy = 8 * (1 + layout.counters + layout.sums)
        size = PAGE + ring + 2 * copy + REGISTERS
        self._file: int | None = None
        if path is None:
            self._map = mmap.mmap(-1, size)
        else:
            self._map = self._open(path, size, write)
        buffer = memoryview(self._map)
        self.control = buffer[: PAGE // 2].cast("q")
        self.gauges = np.frombuffer(self._map, np.float64, GAUGES, PAGE // 2)
        self.ring: Block = np.frombuffer(self._map, np.float64, ring // 8, PAGE).reshape(SLOTS, layout.width)
        self._copies = [self._copy(PAGE + ring + index * copy) for index in (0, 1)]
        self.memory = buffer
        self.users = buffer[size - REGISTERS : size]
        self.pending = self._pending()

    def _open(self, path: Path, size: int, write: bool) -> mmap.mmap:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC if write else os.O_RDONLY | os.O_CLOEXEC
        file = os.open(path, flags, 0o600)
        if write:
            # Held until the process ends, whatever ends it.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, size)
            self._file = file
            return mmap.mmap(file, size)
        try:
            return mmap.mmap(file, size, access=mmap.ACCESS_READ)
        finally:
            os.close(file)

    def _copy(self, offset: int) -> tuple[Whole, Counts]:
        layout = self._folder.layout
        folded = np.frombuffer(self._map, np.int64, 1, offset)
        whole = np.frombuffer(self._map, np.int64, layout.counters, offset + 8)
        sums = np.frombuffer(self._map, np.float64, layout.sums, offset + 8 + 8 * layout.counters)
        return folded, Counts(whole, sums)

    def _pending(self) -> int:
        folded, _ = self._copies[self.control[_GENERATION] & 1]
        return self.control[_CURSOR] - int(folded[0])

    def position(self) -> int:
        """Where in the ring the next slot belongs; makes room first when the ring is full."""
        if self.pending >= SLOTS:
            self.fold()
        return self.control[_CURSOR] % SLOTS

    def room(self, count: int) -> int | None:
        """Where in the ring the next `count` slots belong, one behind the other; None when they do not lie so."""
        if self.pending + count > SLOTS:
            self.fold()
        first = self.control[_CURSOR] % SLOTS
        return first if first + count <= SLOTS else None

    def commit(self, count: int = 1) -> None:
        """Count so many slots from `position` on, all of them or none: from here on they are never lost."""
        self.control[_CURSOR] += count
        self.pending += count

    def append(self, block: Block) -> None:
        """Count these slots, all of them or, if the process is killed, none."""
        if len(block) > SLOTS // 2:
            self.fold(block)
            return
        if self.pending + len(block) > SLOTS:
            self.fold()
        cursor = self.control[_CURSOR]
        first = cursor % SLOTS
        before_end = min(len(block), SLOTS - first)
        self.ring[first : first + before_end] = block[:before_end]
        self.ring[: len(block) - before_end] = block[before_end:]
        self.control[_CURSOR] = cursor + len(block)
        self.pending += len(block)

    def fold(self, extra: Block | None = None) -> None:
        """Move the ring's slots, and `extra` ones that never were in it, into the counts."""
        generation, cursor = self.control[_GENERATION], self.control[_CURSOR]
        _, current = self._copies[generation & 1]
        folded, spare = self._copies[(generation + 1) & 1]
        waiting = self._waiting(cursor, self.pending)
        block = waiting if extra is None else np.concatenate([waiting, extra])
        added = self._folder.fold(block)
        np.add(current.whole, added.whole, out=spare.whole)
        np.add(current.sums, added.sums, out=spare.sums)
        folded[0] = cursor
        self.control[_GENERATION] = generation + 1
        self.pending = 0

    def _waiting(self, cursor: int, pending: int) -> Block:
        first = (cursor - pending) % SLOTS
        if first + pending <= SLOTS:
            return self.ring[first : first + pending]
        return np.concatenate([self.ring[first:], self.ring[: first + pending - SLOTS]])

    def read(self) -> Counts:
        """All that was counted up to now, by whichever process writes here."""
        for _ in range(_READ_TRIES):
            generation = self.control[_GENERATION]
            folded, current = self._copies[generation & 1]
            cursor = self.control[_CURSOR]
            pending = cursor - int(folded[0])
            whole, sums = current.whole.copy(), current.sums.copy()
            waiting = self._waiting(cursor, pending).copy() if 0 <= pending <= SLOTS else None
            if self.control[_GENERATION] == generation and waiting is not None:
                counts = Counts(whole, sums)
                counts.add(self._folder.fold(waiting))
                return counts
        raise RuntimeError("a worker's counts turned over faster than they could be read; ask again")
