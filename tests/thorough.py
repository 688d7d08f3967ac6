"""Whether tests that sample what they try, by seeds, try all of it: with TRIMTAB_THOROUGH=1."""

from __future__ import annotations

import os

THOROUGH = os.environ.get("TRIMTAB_THOROUGH") == "1"


def examples(full: int) -> int:
    """How many examples a law is tried on: a third, if not all are asked for."""
    return full if THOROUGH else full // 3


def spread(points: int, last: int) -> list[int]:
    """So many of the numbers 1 to `last`, evenly spread; all of them where there are no more."""
    count = min(points, last)
    return [1 + number * last // count for number in range(count)]
