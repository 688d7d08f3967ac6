"""What came of it all: passed or rejected, why, and the numbers, small enough for a container's last words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trimtab_serving.outcome import MAX_RESULT_BYTES
from trimtab_toolbox.evaluation.check import REASONS, Check

MAX_NAME = 80
MAX_MESSAGE = 600


@dataclass(frozen=True, slots=True)
class Verdict:
    """`numbers` are the fields of the comparison as the result has them; without a champion there are fewer."""

    passed: bool
    reason: str
    message: str
    numbers: Mapping[str, Any]
    checks: tuple[Check, ...]

    def whole(self) -> dict[str, Any]:
        """All of it, as gate.json has it."""
        undecided = sum(check.passed is None for check in self.checks)
        return {
            "schema": 1,
            "verdict": "Passed" if self.passed else "Rejected",
            "reason": self.reason,
            "message": self.message,
            **self.numbers,
            **({"undecided": undecided} if undecided else {}),
            "checks": [check.row() for check in self.checks],
        }

    def result(self) -> dict[str, Any]:
        """At most 4,096 bytes of it: of the checks those that passed are left out first, then the undecided ones."""
        result = self.whole()
        result["message"] = _cut(self.message, MAX_MESSAGE)
        rows = [row | {"name": _cut(row["name"], MAX_NAME)} for row in result["checks"]]
        dispensable = [row for row in rows if row.get("passed")][::-1] + [row for row in rows if "passed" not in row][
            ::-1
        ]
        dispensable += [row for row in rows if row.get("passed") is False][::-1]
        for omitted in range(len(rows) + 1):
            gone = [id(row) for row in dispensable[:omitted]]
            result["checks"] = [row for row in rows if id(row) not in gone]
            if omitted:
                result["checksOmitted"] = omitted
            if len(json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode()) <= MAX_RESULT_BYTES:
                break
        return result


def conclude(checks: Sequence[Check], numbers: Mapping[str, Any], passing: str, summary: str) -> Verdict:
    """The verdict on `checks`: the gravest that failed gives the reason; `passing` and `summary` when none did."""
    failed = sorted((check for check in checks if check.passed is False), key=lambda check: REASONS.index(check.reason))
    open_ones = [check.name for check in checks if check.passed is None]
    notes = [f"{len(failed) - 1} more checks failed"] if len(failed) > 1 else []
    if open_ones:
        more = f" and {len(open_ones) - 3} more" if len(open_ones) > 3 else ""
        notes.append(f"undecided: {', '.join(open_ones[:3])}{more}")
    message = "; ".join([failed[0].message if failed else summary, *notes])
    return Verdict(not failed, failed[0].reason if failed else passing, message, numbers, tuple(checks))


def _cut(text: object, length: int) -> str:
    return str(text) if len(str(text)) <= length else f"{str(text)[: length - 1]}…"
