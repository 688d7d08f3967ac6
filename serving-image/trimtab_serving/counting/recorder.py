"""What happens between a prediction and its answer: one slot is written, and the answer gets its token.

This runs for every request, so it allocates little and calls few things: a row is a dozen stores into mapped
memory. Adding the slots up happens later, when the answer is on its way.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from hashlib import blake2b
from itertools import accumulate
from struct import Struct
from typing import NamedTuple

import numpy as np

from trimtab_serving.bundle import BundleInfo
from trimtab_serving.counting.fold import Block
from trimtab_serving.counting.layout import (
    BUCKET,
    BUCKETS,
    CELL,
    CLASS,
    HEAD,
    KIND_REQUEST,
    KIND_ROW,
    LATENCIES,
    LATENCY_EDGES,
    SCORE,
    SECONDS,
    status_index,
)
from trimtab_serving.counting.rows import FEW, RowReader, Seen, Verdict
from trimtab_serving.counting.sketch import note
from trimtab_serving.counting.slab import PAGE, SLOTS
from trimtab_serving.counting.state import State
from trimtab_serving.outcomes.token import Signer

Headers = tuple[tuple[bytes, bytes], ...]

FOLD_AT = SLOTS // 2
MAX_TOKENS = 16
"""A request of more rows gets no tokens: a header must stay small."""

TOKEN_HEADER = b"x-trimtab-token"
_HEAD = Struct("=6d")
_HASH = blake2b(digest_size=8)
_USER = Struct(">Q")
_OK = status_index(200) * LATENCIES
_NO_VERDICT = Verdict(-1, float("nan"))

_seen: ContextVar[Seen | None] = ContextVar("seen", default=None)


def saw(seen: Seen | None) -> None:
    """Note, in the request's own context, what it showed; None before a request begins."""
    _seen.set(seen)


class Answered(NamedTuple):
    """What is counted of a request besides its rows."""

    seconds: float
    headers: Mapping[bytes, bytes]


class Recorder:
    """Counts requests and rows into this process's slab."""

    def __init__(self, state: State, info: BundleInfo, *, rows: bool, signer: Signer | None, user_header: str) -> None:
        self.state = state
        self._slab = state.slab
        self._reader = RowReader(state.folder.layout, info)
        self._inputs = {tensor.name: index for index, tensor in enumerate(info.inputs)}
        self._rows = rows
        self._signer = signer
        self._user_header = user_header.lower().encode() if rows else b""
        self._values = [state.slab.ring[index : index + 1, HEAD:] for index in range(SLOTS)]
        self._stride = state.slab.ring.strides[0]
        self._fold_asked = False

    def answered(
        self, status: int, seconds: float, headers: Mapping[bytes, bytes], refused: str | None = None
    ) -> Headers:
        """Count an answered request before it is sent, and return the headers its answer gets.

        `refused` names the input whose values had a wrong type, when that is why the status is 400.
        """
        cell = status_index(status) * LATENCIES + bisect_left(LATENCY_EDGES, seconds)
        (bucket,) = self._buckets([headers]) if not 400 <= status < 500 else (-1,)
        seen = _seen.get() if self._rows else None
        if seen is None or status != 200:
            place = self._inputs.get(refused) if refused is not None else None
            self._write(cell, seconds, _NO_VERDICT, -1, KIND_REQUEST if place is None else -1.0 - place)
            return ()
        rows = _rows(seen)
        if rows == 1:
            return self._one(cell, seconds, seen, bucket)
        return self._together([cell], [seconds], [bucket], [rows], seen)[0]

    def alone(self, status: int, seconds: float) -> None:
        """Count an answered request without its rows, which cannot be counted."""
        cell = status_index(status) * LATENCIES + bisect_left(LATENCY_EDGES, seconds)
        self._write(cell, seconds, _NO_VERDICT, -1, KIND_REQUEST)

    def _one(self, cell: int, seconds: float, seen: Seen, bucket: int) -> Headers:
        verdict = self._reader.verdict(seen)
        self._reader.fill(self._values[self._slab.position()], seen)
        self._write(cell, seconds, verdict, bucket, KIND_ROW)
        if self._signer is None:
            return ()
        return ((TOKEN_HEADER, self._signer.sign(verdict.score, verdict.label, bucket)),)

    def answered_together(self, requests: Sequence[Answered], rows: Sequence[int], seen: Seen) -> list[Headers]:
        """Count requests that were answered 200 as one batch; `seen` has the `rows` of each, one behind the other."""
        cells = [_OK + bisect_left(LATENCY_EDGES, request.seconds) for request in requests]
        if not self._rows:
            for request, cell in zip(requests, cells, strict=True):
                self._write(cell, request.seconds, _NO_VERDICT, -1, KIND_REQUEST)
            return [()] * len(requests)
        buckets = self._buckets([request.headers for request in requests])
        if len(rows) == 1 and rows[0] == 1:
            return [self._one(cells[0], requests[0].seconds, seen, buckets[0])]
        return self._together(cells, [request.seconds for request in requests], buckets, rows, seen)

    def _together(
        self,
        cells: Sequence[int],
        seconds: Sequence[float],
        buckets: Sequence[int],
        rows: Sequence[int],
        seen: Seen,
    ) -> list[Headers]:
        total = sum(rows)
        if total == len(rows) <= FEW and (place := self._slab.room(total)) is not None:
            return self._few(place, cells, seconds, buckets, seen)
        block = self._reader.block(seen, total)
        firsts = [end - count for end, count in zip(accumulate(rows), rows, strict=True)]
        block[:, CELL], block[:, SECONDS] = -1, 0
        block[firsts, CELL], block[firsts, SECONDS] = cells, seconds
        block[:, BUCKET] = np.repeat(buckets, rows)
        self._append(block)
        tokens = self._tokens(block) if min(rows) <= MAX_TOKENS else []
        return [
            ((TOKEN_HEADER, b",".join(tokens[first : first + count])),) if tokens and count <= MAX_TOKENS else ()
            for first, count in zip(firsts, rows, strict=True)
        ]

    def _few(
        self, place: int, cells: Sequence[int], seconds: Sequence[float], buckets: Sequence[int], seen: Seen
    ) -> list[Headers]:
        """Write the slots of requests of one row each from `place` on."""
        slab, rows = self._slab, len(cells)
        labels, scores = (
            part if isinstance(part, list) else part.tolist() for part in self._reader.verdicts(seen, rows)
        )
        self._reader.fill(slab.ring[place : place + rows, HEAD:], seen)
        memory, pack, at = slab.memory, _HEAD.pack_into, PAGE + place * self._stride
        for row in zip(cells, seconds, labels, scores, buckets, strict=True):
            pack(memory, at, *row, KIND_ROW)
            at += self._stride
        slab.commit(rows)
        if slab.pending >= FOLD_AT and not self._fold_asked:
            self._fold_soon()
        if self._signer is None:
            return [()] * rows
        return [((TOKEN_HEADER, token),) for token in self._signer.sign_all(scores, labels, buckets)]

    def _append(self, block: Block) -> None:
        self._slab.append(block)
        if self._slab.pending >= FOLD_AT and not self._fold_asked:
            self._fold_soon()

    def _tokens(self, block: Block) -> list[bytes]:
        """A token for each row; none when none are given."""
        if self._signer is None:
            return []
        whole = block[:, [CLASS, BUCKET]].astype(int).T.tolist()
        return self._signer.sign_all(block[:, SCORE].tolist(), *whole)

    def _write(self, cell: int, seconds: float, verdict: Verdict, bucket: int, kind: float) -> None:
        slab = self._slab
        place = slab.position()
        _HEAD.pack_into(
            slab.memory, PAGE + place * self._stride, cell, seconds, verdict.label, verdict.score, bucket, kind
        )
        slab.commit()
        if slab.pending >= FOLD_AT and not self._fold_asked:
            self._fold_soon()

    def _fold_soon(self) -> None:
        try:
            asyncio.get_running_loop().call_soon(self._fold)
        except RuntimeError:  # no loop: somebody counts without a server
            return
        self._fold_asked = True

    def _fold(self) -> None:
        self._fold_asked = False
        self._slab.fold()

    @property
    def users(self) -> bytes | None:
        """The sketch of all workers' users; None when no header names them."""
        return self.state.users() if self._user_header else None

    def _buckets(self, requests: Sequence[Mapping[bytes, bytes]]) -> list[int]:
        """The buckets of the users the headers name, who are noted in the sketch; -1 where they name none."""
        if not self._user_header:
            return [-1] * len(requests)
        buckets: list[int] = []
        users: list[int] = []
        for headers in requests:
            name = headers.get(self._user_header)
            if not name:
                buckets.append(-1)
                continue
            hashing = _HASH.copy()  # in two thirds of the time of a new one
            hashing.update(name)
            (user,) = _USER.unpack(hashing.digest())
            users.append(user)
            buckets.append(user % BUCKETS)
        note(self._slab.users, users)
        return buckets


def _rows(seen: Seen) -> int:
    for array in seen.arrays.values():
        return int(array.shape[0]) if array.ndim else 1
    return 1
