"""What is counted of outcomes: by user bucket for experiments, against score and class for quality, and by delay.

An `outcome` is a measured number (a purchase, a sum); a `label` is the truth the model was to predict. They are
counted under the revision that made the prediction, which need not be the one that is told: a Service spreads
feedback over all pods. Revisions of one model are taken to have its classes and its score cells.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left, bisect_right
from typing import Any, NamedTuple

import numpy as np

from trimtab_serving.counting.fold import Counts
from trimtab_serving.counting.layout import BUCKETS, Layout
from trimtab_serving.outcomes.token import Token

REVISIONS = 8
"""A pod is told of no more revisions than these; further ones are refused and counted as such."""

MAX_CONFUSION_CLASSES = 32
DELAY_EDGES = (1, 10, 60, 600, 3600, 21600, 86400, 172800, 345600, 604800, 1209600, 2592000)
"""Seconds from prediction to its outcome."""

LARGEST_ERROR = 1e30
"""Of a regression. What is farther off, or no number, is not counted: one such label would hide all others."""

LARGEST_OUTCOME = 1e30
"""Farther from zero is refused: the square of one such would leave no finite sum of those that came before."""

_ERRORS = ("sum", "absolute", "squares", "fourths")
"""What is summed of truth less prediction: itself, its absolute value, its square and its fourth power."""

REFUSALS = ("forged", "expired", "replayed", "revision", "label")
_PROBABILITY_EDGES = tuple(step / 50 for step in range(1, 50))


class OutcomeRefused(Exception):  # noqa: N818 - the feedback's fault
    """The outcome cannot be counted; `why` is one of REFUSALS."""

    def __init__(self, why: str, message: str) -> None:
        super().__init__(message)
        self.why = why
        self.message = message


class Feedback(NamedTuple):
    """One verified outcome."""

    token: Token
    outcome: float | None
    label: Any


class Tally:
    """Where each outcome is counted in a pair of vectors."""

    def __init__(self, layout: Layout, revision: str) -> None:
        self.own = revision[:8]
        self.classes = layout.classes
        self._places = {value: index for index, value in enumerate(layout.classes)}
        self.confused = len(self.classes) if len(self.classes) <= MAX_CONFUSION_CLASSES else 0
        known = layout.score.edges if layout.score else _PROBABILITY_EDGES if self.classes else ()
        self.edges = tuple(known)
        self.binary = len(self.classes) == 2
        cells = len(self.edges) + 1
        self._bucket, self._label = 0, BUCKETS
        self._right = self._label + cells
        self._confusion = self._right + cells
        self._errors = self._confusion + self.confused**2
        self.per_revision = self._errors + 1
        delays = 2 * (len(DELAY_EDGES) + 1)
        self._delays = REVISIONS
        self._refused = self._delays + delays
        self._tables = self._refused + len(REFUSALS)
        self.whole = self._tables + REVISIONS * self.per_revision
        self.sums_per_revision = 2 * BUCKETS + len(_ERRORS)
        self.sums = REVISIONS * self.sums_per_revision

    def refuse(self, counts: Counts, why: str) -> None:
        """Count a refusal."""
        counts.whole[self._refused + REFUSALS.index(why)] += 1

    def count(self, counts: Counts, feedback: Feedback, now: float) -> None:
        """Count one outcome; OutcomeRefused before anything was changed when it has no place."""
        if feedback.outcome is not None and not abs(feedback.outcome) <= LARGEST_OUTCOME:
            message = f"outcome is {feedback.outcome:g}; it must be from {-LARGEST_OUTCOME:g} to {LARGEST_OUTCOME:g}"
            raise OutcomeRefused("label", message)
        place = self._label_place(feedback.label)
        table = self._table(counts, feedback.token.revision)
        delay = bisect_left(DELAY_EDGES, max(now - feedback.token.issued, 0))
        if feedback.outcome is not None:
            counts.whole[self._delays + delay] += 1
            self._count_outcome(counts, table, feedback.token.bucket, feedback.outcome)
        if feedback.label is not None:
            counts.whole[self._delays + len(DELAY_EDGES) + 1 + delay] += 1
            self._count_label(counts, table, feedback.token, place, feedback.label)

    def _label_place(self, label: Any) -> int:
        # Compared, not converted: JSON may hold whole numbers that no float can.
        number = isinstance(label, int | float) and abs(label) <= sys.float_info.max
        if label is None or (not self.classes and number):
            return -1
        place = self._places.get(label)
        if place is None:
            wanted = f"one of {list(self.classes[:8])}" if self.classes else "a finite number"
            raise OutcomeRefused("label", f"label is {str(label)[:64]!r}; it must be {wanted}")
        return place

    def _table(self, counts: Counts, revision: str) -> int:
        number = int(revision, 16) + 1
        known: list[int] = counts.whole[:REVISIONS].tolist()
        if number in known:
            return known.index(number)
        if 0 not in known:
            message = f"the token is of revision {revision}, and this server already counts {REVISIONS} others"
            raise OutcomeRefused("revision", message)
        place = known.index(0)
        counts.whole[place] = number
        return place

    def _count_outcome(self, counts: Counts, table: int, bucket: int, value: float) -> None:
        # Without a user each prediction is its own cluster, so any bucket will do: the last one takes them all.
        place = bucket if bucket >= 0 else BUCKETS - 1
        counts.whole[self._tables + table * self.per_revision + place] += 1
        start = table * self.sums_per_revision
        counts.sums[start + place] += value
        counts.sums[start + BUCKETS + place] += value * value

    def _count_label(self, counts: Counts, table: int, token: Token, place: int, label: Any) -> None:
        start = self._tables + table * self.per_revision
        if not self.classes:
            error = float(label) - token.score
            if abs(error) <= LARGEST_ERROR:
                counts.whole[start + self._errors] += 1
                end = (table + 1) * self.sums_per_revision
                counts.sums[end - len(_ERRORS) : end] += np.array([error, abs(error), error**2, error**4])
            return
        if not math.isnan(token.score):
            cell = bisect_right(self.edges, token.score)
            counts.whole[start + self._label + cell] += 1
            counts.whole[start + self._right + cell] += place == (1 if self.binary else token.label)
        if self.confused and 0 <= token.label < self.confused:
            counts.whole[start + self._confusion + token.label * self.confused + place] += 1

    def document(self, counts: Counts) -> dict[str, Any]:
        """The counts as the contract has them."""
        width = len(DELAY_EDGES) + 1
        delays = counts.whole[self._delays : self._delays + 2 * width].tolist()
        refused = counts.whole[self._refused : self._refused + len(REFUSALS)].tolist()
        tables = [self._revision(counts, table) for table in range(REVISIONS) if counts.whole[table]]
        return {
            "delay": {"edges": DELAY_EDGES, "outcomes": delays[:width], "labels": delays[width:]},
            "refused": dict(zip(REFUSALS, refused, strict=True)),
            "revisions": tables,
        }

    def _revision(self, counts: Counts, table: int) -> dict[str, Any]:
        start = self._tables + table * self.per_revision
        whole = counts.whole[start : start + self.per_revision].tolist()
        sums = counts.sums[table * self.sums_per_revision : (table + 1) * self.sums_per_revision].tolist()
        told: dict[str, Any] = {
            "revision": f"{int(counts.whole[table]) - 1:08x}",
            "outcomes": {"n": whole[:BUCKETS], "sum": sums[:BUCKETS], "squares": sums[BUCKETS : 2 * BUCKETS]},
        }
        if self.classes:
            cells = {"n": whole[self._label : self._right], "right": whole[self._right : self._confusion]}
            told["scores"] = {"edges": self.edges, **cells}
            size = self.confused
            flat = whole[self._confusion : self._errors]
            told["confusion"] = [flat[row * size : (row + 1) * size] for row in range(size)]
        else:
            told["errors"] = {
                "n": whole[self._errors],
                **dict(zip(_ERRORS, sums[-len(_ERRORS) :], strict=True)),
            }
        return told
