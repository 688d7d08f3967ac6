"""One row of the verdict: what was looked at, what came out, and what the limit was."""

from __future__ import annotations

from dataclasses import dataclass

REASONS = (
    "SchemaIncompatible",
    "NotFinite",
    "TooLarge",
    "ProfileMissing",
    "BelowFloor",
    "Worse",
    "Inconclusive",
    "NotSuperior",
    "SliceWorse",
    "ClassBelowFloor",
    "Uncalibrated",
    "Unfair",
    "TooSlow",
)
"""Why a challenger may be rejected, the gravest first: the first one that applies is the verdict's."""


@dataclass(frozen=True, slots=True)
class Check:
    """`passed` is None when the rows are too few to tell; `reason` is one of REASONS, `message` says what is wrong."""

    name: str
    passed: bool | None
    value: str
    limit: str
    reason: str = ""
    message: str = ""

    def row(self) -> dict[str, object]:
        """As the result has it: `passed` is absent when it is undecided."""
        decided = {} if self.passed is None else {"passed": self.passed}
        return {"name": self.name, **decided, "value": self.value, "limit": self.limit}


def shown(number: float) -> str:
    """A number as a short decimal string, never in exponential notation."""
    text = f"{number:.6f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def decided(held: bool, broken: bool) -> bool | None:
    """True when it is shown to hold, False when it is broken, None between the two."""
    return True if held else False if broken else None
