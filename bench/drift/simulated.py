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
from trimtab.evidence.drift.judge import judge_chosen


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
    """Minutes from the shift of one feature to the alarm; infinite when it is not seen within two days.

    It begins at any time of the third day, because with a daily cycle the time matters.
    """
    begins = 2 * DAY + int(dice.integers(DAY))
    buckets = 5 * DAY
    counts = stream(dice, mix, buckets, shift, begins)
    told = alarms(looks(counts, mix, reference_of(dice, mix, buckets)).ours)
    after = np.flatnonzero(told[begins : begins + 2 * DAY])
    return 5.0 * (after[0] + 1) if len(after) else math.inf


FLEET = 200
"""Deployments of one operator."""
HOURLY = (HOUR,)
DELAYED = (
    Mix("100 rows, windows of 1 h", 100, windows=HOURLY),
    Mix("1,000 rows, windows of 1 h", 1_000, windows=HOURLY),
    Mix("100 rows, windows of 6 h", 100, windows=(6 * HOUR,)),
    Mix("1,000 rows, each entity 20 times, windows of 1 h", 1_000, 20, windows=HOURLY),
)
CYCLES = (
    Mix("100 rows, windows of 1 h, whole reference", 100, cycle=0.5, windows=HOURLY),
    Mix("100 rows, windows of 1 h, reference by hour", 100, cycle=0.5, windows=HOURLY, hourly=True),
    Mix("1,000 rows, windows of 1 h, reference by hour", 1_000, cycle=0.5, windows=HOURLY, hourly=True),
    Mix("100 rows, windows of 24 h", 100, cycle=0.5, windows=(DAY,)),
    Mix("100 rows without a cycle, windows of 1 h", 100, windows=HOURLY),
)
WEATHER = tuple(Mix(f"{rows} rows, {memory} h", rows, weather=memory) for rows in (20, 100) for memory in (1, 6, 24))
SHIFTS = (0.5, 0.75, 1.0)


def delays(dice: Dice, runs: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Median minutes until a shift of one feature in twenty is an alarm."""
    for mix in DELAYED:
        yield mix.name, _delays(dice, mix, runs)


def cycles(dice: Dice, months: int, runs: int) -> Iterator[tuple[str, dict[str, str]]]:
    """A daily cycle of half a deviation: alarms a month without a shift, and minutes to one of a shift."""
    for mix in CYCLES:
        found = [looks(stream(dice, mix, MONTH), mix, reference_of(dice, mix, MONTH)).ours for _ in range(months)]
        begun, share = np.mean([episodes(one) for one in found]), np.mean([alarms(one).mean() for one in found])
        told = {"alarms a month": f"{begun:.1f} ({share:.0%})"}
        # Where the cycle alone is an alarm most of the day, the time to the next one says nothing.
        yield mix.name, told | (_delays(dice, mix, runs) if not begun else dict.fromkeys(map(_sd, SHIFTS), ""))


def apart(dice: Dice, months: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Half the variance of five features is common to all rows and changes slowly: alarms by where they are judged."""
    for mix in WEATHER:
        sums = np.zeros((2, 2))
        for _ in range(months):
            counts, known = stream(dice, mix, MONTH), reference_of(dice, mix, MONTH)
            for row, alone in enumerate((False, True)):
                found = looks(counts, mix, known, apart=alone).ours
                sums[row] += episodes(found), alarms(found).mean()
        told = [f"{begun / months:.1f} ({share / months:.0%})" for begun, share in sums]
        yield mix.name, dict(zip(("window of the median feature", "each in its own"), told, strict=True))


def _delays(dice: Dice, mix: Mix, runs: int) -> dict[str, str]:
    medians = {_sd(shift): np.median([delay(dice, mix, shift) for _ in range(runs)]) for shift in SHIFTS}
    return {name: "never" if math.isinf(value) else f"{value:.0f}" for name, value in medians.items()}


def _sd(shift: float) -> str:
    return f"{shift:g} sd"


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
            judge_chosen(reference, chosen)
            judged.append(time.process_time() - between)
    took = [float(np.median(times)) for times in (kept, judged)]
    yield "taking counts in, ms", {"one": f"{1_000 * took[0]:.1f}", f"{FLEET}": f"{1_000 * FLEET * took[0]:.0f}"}
    yield "judging them, ms", {"one": f"{1_000 * took[1]:.1f}", "": f"{1_000 * FLEET * took[1]:.0f}"}
    yield "of a processor, at a look each 5 minutes", {"one": "", "": f"{FLEET * sum(took) / BUCKET:.2%}"}
    packed = history.size() / 2**20
    yield "a week of counts, MiB", {"one": f"{packed:.2f}", "": f"{FLEET * packed:.0f}"}
