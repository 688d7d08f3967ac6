"""POST /trimtab/v1/feedback: what became of predictions, one or up to a thousand at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from trimtab_serving.counting.fold import Counts
from trimtab_serving.outcomes.ledger import Ledger
from trimtab_serving.outcomes.tally import Feedback, OutcomeRefused, Tally
from trimtab_serving.outcomes.token import Signer, TokenRefused
from trimtab_serving.protocol.errors import RequestError
from trimtab_serving.protocol.v2 import describe

MAX_ITEMS = 1000
MAX_TOLD = 100
_STATUS = {"forged": 403, "expired": 410, "replayed": 409, "revision": 409, "label": 400}
_WHY = {
    "forged": "token is not one this model's servers have signed",
    "expired": "token is older than this server takes",
    "replayed": "token was used before; each prediction has one outcome and one label",
}


class Item(msgspec.Struct, forbid_unknown_fields=True):
    """One outcome as it is posted."""

    token: str
    outcome: float | bool | None = None
    label: str | bool | int | float | None = None


class Told(msgspec.Struct):
    """One item of a batch that was not taken."""

    index: int
    error: str


_one = msgspec.json.Decoder(Item).decode
_many = msgspec.json.Decoder(list[Item]).decode
_encode = msgspec.json.encode


class FeedbackDesk:
    """Takes feedback and counts it."""

    def __init__(
        self, signer: Signer, ledger: Ledger, tally: Tally, lifetime: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._signer, self._ledger, self._tally = signer, ledger, tally
        self._lifetime, self._clock = lifetime, clock

    def take(self, body: bytes) -> bytes:
        """The answer to a request; RequestError when it, or its only item, is at fault."""
        batch = body.lstrip()[:1] == b"["
        items = _decode(body, batch)
        refusals = self._count(items)
        if refusals and not batch:
            _, why, message = refusals[0]
            raise RequestError(message, _STATUS[why])
        told = [Told(index, message) for index, _, message in refusals[:MAX_TOLD]]
        return _encode({"accepted": len(items) - len(refusals), "refused": len(refusals), "errors": told})

    def document(self) -> dict[str, Any]:
        """What was counted, for the counts document."""
        return self._tally.document(self._ledger.read())

    def _count(self, items: list[Item]) -> list[tuple[int, str, str]]:
        refusals: list[tuple[int, str, str]] = []

        def apply(counts: Counts, seen: Callable[[int], bool]) -> list[int]:
            fresh: set[int] = set()

            def known(mark: int) -> bool:
                return mark in fresh or seen(mark)

            for index, item in enumerate(items):
                try:
                    fresh |= self._one(counts, item, known)
                except OutcomeRefused as refusal:
                    self._tally.refuse(counts, refusal.why)
                    refusals.append((index, refusal.why, refusal.message))
            return list(fresh)

        self._ledger.change(apply)
        return refusals

    def _one(self, counts: Counts, item: Item, seen: Callable[[int], bool]) -> set[int]:
        try:
            token = self._signer.verify(item.token, self._lifetime)
        except TokenRefused as refusal:
            raise OutcomeRefused(refusal.why, _WHY[refusal.why]) from None
        # A prediction may get its outcome and its label at different times, but each only once.
        marks = {
            token.fingerprint << 1 | kind for kind, given in enumerate((item.outcome, item.label)) if given is not None
        }
        if any(seen(mark) for mark in marks):
            raise OutcomeRefused("replayed", _WHY["replayed"])
        outcome = None if item.outcome is None else float(item.outcome)
        self._tally.count(counts, Feedback(token, outcome, item.label), self._clock())
        return marks


def _decode(body: bytes, batch: bool) -> list[Item]:
    try:
        items = _many(body) if batch else [_one(body)]
    except msgspec.ValidationError as error:
        raise RequestError(describe(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"the body is not valid JSON: {error}") from None
    if len(items) > MAX_ITEMS:
        raise RequestError(f"the batch has {len(items)} items; at most {MAX_ITEMS} are taken at a time", 413)
    for index, item in enumerate(items):
        if item.outcome is None and item.label is None:
            where = f"[{index}]" if batch else "the body"
            raise RequestError(f"{where}: it has neither outcome nor label; give one of them, or both")
    return items
