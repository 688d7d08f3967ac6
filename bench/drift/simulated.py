"""Twenty features, counts in deciles, a look every 5 minutes: no alarm without a shift, and soon one with it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np

from bench.drift.mixes import DAY, FEATURES, HOUR, MIXES, MONTH, Dice, Mix, reference_of, stream
from bench.drift.rule import alarms, episodes, looks
from trimtab.evidence.drift.history import History
from trimtab.evidence.drift.judge import judge
from trimtab.evidence.drift.table import Binning, Rows


def stationary(dice: Dice, months: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Nothing drifts: episodes a month, and the share of looks in alarm, for three rules with the same patience."""
    for mix in MIXES:
        sums = np.zeros((3, 2))
        for _ in range(months):
            counts = stream(dice, mix, MONTH)
            found = looks(counts, mix, reference_of(dice, mix, MONTH))
            for row, rule in enumerate((found.ours, found.psi, found.p_value)):
                sums[row] += episodes(rule), alarms(rule).mean()
        told = [f"{begun / months:.1f} ({share / months:.0%})" for begun, share in sums]
        yield mix.name, dict(zip(("rule R", "PSI > 0.2", "p < 0.05"), told, strict=True))


def delay(dice: Dice, mix: Mix, shift: float) -> float:
    """Minutes from the shift of one feature to the alarm; infinite when it is not seen within two days."""
    begins, buckets = 2 * DAY, 4 * DAY
    counts = stream(dice, mix, buckets, shift, begins)
    told = alarms(looks(counts, mix, reference_of(dice, mix, buckets)).ours)
    after = np.flatnonzero(told[begins:])
    return 5.0 * (after[0] + 1) if len(after) else math.inf


DELAYED = (Mix("100 rows, 1 h", 100), Mix("1,000 rows, 1 h", 1_000), Mix("100 rows, 6 h", 100, window=6 * HOUR))


def delays(dice: Dice, runs: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Median minutes until a shift of one feature in twenty is an alarm."""
    for mix in (*DELAYED, Mix("1,000 rows, each entity 20 times, 1 h", 1_000, 20)):
        medians = {f"{s} sd": float(np.median([delay(dice, mix, s) for _ in range(runs)])) for s in (0.5, 0.75, 1.0)}
        yield mix.name, {name: f"{value:.0f}" for name, value in medians.items()}


def cost(dice: Dice) -> Iterator[tuple[str, dict[str, str]]]:
    """Processor time of one look at twenty numbers, from counts, as the operator has them."""
    texts = {f"f{i}": [repr(x) for x in dice.normal(size=10_000).tolist()] for i in range(FEATURES)}
    binning = Binning(texts)
    rows = Rows(binning, texts)
    history, window = History(binning.reference), rows.window(0, 100, 0)
    judged, kept = [], []
    for place in range(300):
        began = time.process_time()
        history.add(place * 300, window)
        chosen = history.choose()
        between = time.process_time()
        judge(binning.reference, chosen.window, chosen.effects)
        kept.append(between - began)
        judged.append(time.process_time() - between)
    found = {"taking counts in": kept, "judging them": judged}
    yield "milliseconds, median", {name: f"{1_000 * float(np.median(times)):.1f}" for name, times in found.items()}
