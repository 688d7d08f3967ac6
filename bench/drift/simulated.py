"""Twenty features, counts in deciles, a look every 5 minutes: no alarm without a shift, and soon one with it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np

from bench.drift.counting import Pod
from bench.drift.mixes import DAY, FEATURES, HOUR, MIXES, MONTH, Dice, Mix, reference_of, stream
from bench.drift.rule import alarms, episodes, looks
from trimtab.evidence.drift.history import BUCKET, History
from trimtab.evidence.drift.judge import judge


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


FLEET = 200
"""Deployments of one operator."""
DELAYED = (Mix("100 rows, 1 h", 100), Mix("1,000 rows, 1 h", 1_000), Mix("100 rows, 6 h", 100, window=6 * HOUR))


def delays(dice: Dice, runs: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Median minutes until a shift of one feature in twenty is an alarm."""
    for mix in (*DELAYED, Mix("1,000 rows, each entity 20 times, 1 h", 1_000, 20)):
        medians = {f"{s} sd": float(np.median([delay(dice, mix, s) for _ in range(runs)])) for s in (0.5, 0.75, 1.0)}
        yield mix.name, {name: f"{value:.0f}" for name, value in medians.items()}


def cost(dice: Dice) -> Iterator[tuple[str, dict[str, str]]]:
    """Processor time of one look at twenty numbers, from counts as pods give them, and what a week of them takes."""
    pod = Pod(dice.normal(size=(10_000, FEATURES)).astype(np.float32))
    reference = pod.reference()
    windows = [pod.window(dice.normal(size=(100, FEATURES)).astype(np.float32)) for _ in range(50)]
    history = History(reference)
    judged, kept = [], []
    for place in range(7 * DAY):
        began = time.process_time()
        history.add(place * BUCKET, windows[place % len(windows)])
        chosen = history.choose()
        between = time.process_time()
        kept.append(between - began)
        if place % 7 == 0:
            judge(reference, chosen.window, chosen.effects)
            judged.append(time.process_time() - between)
    took = [float(np.median(times)) for times in (kept, judged)]
    yield "taking counts in, ms", {"one": f"{1_000 * took[0]:.1f}", f"{FLEET}": f"{1_000 * FLEET * took[0]:.0f}"}
    yield "judging them, ms", {"one": f"{1_000 * took[1]:.1f}", "": f"{1_000 * FLEET * took[1]:.0f}"}
    yield "of a processor, at a look each 5 minutes", {"one": "", "": f"{FLEET * sum(took) / BUCKET:.2%}"}
    packed = history.size() / 2**20
    yield "a week of counts, MiB", {"one": f"{packed:.2f}", "": f"{FLEET * packed:.0f}"}
