"""How often drift is claimed where there is none, how soon a real one is seen, and rival rules on the same streams.

    python -m bench.drift [--months 3] [--seed 1]

Twenty features, counts in deciles, a look every 5 minutes; every stream is simulated. The rule is the operator's, in
numpy; tests/contract holds both against each other.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from trimtab.evidence.drift.history import History
from trimtab.evidence.drift.judge import judge
from trimtab.evidence.drift.table import Binning, Rows

Dice = np.random.Generator
FEATURES, GROUPS, REFERENCE = 20, 10, 50_000
HOUR, DAY = 12, 288
MONTH = 30 * DAY
LEAST, DISCOVERIES, WARN, RUN = 200, 0.01, 0.2, 3
EDGES = stats.norm.ppf(np.arange(1, GROUPS) / GROUPS)


@dataclass(frozen=True)
class Mix:
    """A kind of traffic: rows every 5 minutes, rows of one entity, and what else is peculiar to it."""

    name: str
    rows: int
    repeats: int = 1
    scattered: bool = False
    """The rows of an entity are spread over an hour, not sent at once."""
    cycle: float = 0.0
    """The amplitude, in deviations, of a daily cycle of all features."""
    busy: float = 0.0
    """How much traffic itself goes up and down with the day."""
    bursts: bool = False
    window: int = HOUR
    hourly: bool = False
    """The reference knows the hours of the day."""


MIXES = (
    Mix("8 rows, never enough in an hour", 8),
    Mix("20 rows", 20),
    Mix("100 rows", 100),
    Mix("1,000 rows", 1_000),
    Mix("100 rows, each entity 5 times", 100, 5),
    Mix("1,000 rows, each entity 20 times", 1_000, 20),
    Mix("100 rows, each entity 5 times within an hour", 100, 5, scattered=True),
    Mix("400 rows, each entity 20 times within an hour", 400, 20, scattered=True),
    Mix("100 rows, bursts of one entity", 100, bursts=True),
    Mix("100 rows, busy by day", 100, busy=0.8),
    Mix("100 rows, daily cycle, windows of a day", 100, cycle=0.5, window=DAY),
    Mix("100 rows, daily cycle, reference by hour", 100, cycle=0.5, hourly=True),
    Mix("20 rows, each entity 5 times, 6 h", 20, 5, window=6 * HOUR),
)


def masses(shift: np.ndarray | float) -> np.ndarray:
    """The mass of each decile of a standard normal after a shift in deviations; shape of `shift` and GROUPS."""
    below = stats.norm.cdf(EDGES - np.asarray(shift)[..., None])
    return np.diff(below, axis=-1, prepend=0.0, append=1.0)


def phase(buckets: int) -> np.ndarray:
    """The time of day as an angle."""
    return 2 * math.pi * (np.arange(buckets) % DAY) / DAY


def stream(dice: Dice, mix: Mix, buckets: int, shift: float = 0.0, begins: int = 0, shifted: int = 1) -> np.ndarray:
    """Counts [feature, bucket, group]; from bucket `begins`, the first `shifted` features are `shift` away."""
    sizes = np.maximum(0, mix.rows // mix.repeats * (1 + mix.busy * np.sin(phase(buckets)))).astype(int)
    if mix.bursts:
        sizes = dice.poisson(sizes)
    away = np.tile(mix.cycle * np.sin(phase(buckets)), (FEATURES, 1))
    away[:shifted, begins:] += shift
    if mix.scattered:
        return scattered(dice, sizes, masses(away), mix.repeats)
    counts = dice.multinomial(np.broadcast_to(sizes, away.shape), masses(away)) * mix.repeats
    if mix.bursts:
        counts += burst(dice, buckets)
    return counts


def burst(dice: Dice, buckets: int) -> np.ndarray:
    """Once in an hour or so, one entity sends 30 rows that are all alike."""
    where = dice.random(buckets) < 1 / HOUR
    return np.where(where[:, None], 30 * dice.multinomial(1, np.full(GROUPS, 0.1), (FEATURES, buckets)), 0)


def scattered(dice: Dice, sizes: np.ndarray, shares: np.ndarray, repeats: int) -> np.ndarray:
    """Entities drawn hour by hour, their rows sent at any time of it."""
    entities = sizes.reshape(-1, HOUR).sum(axis=1)
    drawn = dice.multinomial(np.broadcast_to(entities, (FEATURES, len(entities))), shares[:, ::HOUR])
    counts = np.zeros(shares.shape, np.int64)
    for row in range(FEATURES):
        for group in range(GROUPS):
            parts = dice.multinomial(drawn[row, :, group] * repeats, np.full(HOUR, 1 / HOUR))
            counts[row, :, group] = parts.ravel()
    return counts


def moving(values: np.ndarray, width: int) -> np.ndarray:
    """Sums over the last `width` buckets, fewer at the beginning; axis 1."""
    whole = np.cumsum(values, axis=1)
    whole[:, width:] -= whole[:, :-width].copy()
    return whole


def design(counts: np.ndarray, width: int) -> np.ndarray:
    """The design effect [feature, bucket], as evidence.drift.history has it."""
    rows = counts.sum(axis=2, keepdims=True)
    hours = (counts.shape[0], -1, HOUR, GROUPS)
    squares = np.divide(counts**2, rows, out=np.zeros(counts.shape), where=rows > 0)
    square, whole = (part.reshape(hours).cumsum(axis=2) for part in (squares, counts))
    parts = (rows > 0).reshape(*hours[:3]).cumsum(axis=2)
    fit = np.divide(square, whole, out=np.zeros(square.shape), where=whole > 0).sum(axis=3) - 1
    freedom = np.maximum(0, (parts - 1) * ((whole > 0).sum(axis=3) - 1))
    fit = np.where(freedom > 0, fit * whole.sum(axis=3), 0.0)
    fit, freedom = (
        part + moving(part[:, :, -1].astype(float), 6)[..., None] - part[:, :, -1:] for part in (fit, freedom)
    )
    effect = np.maximum(1.0, np.divide(fit, freedom, out=np.ones(fit.shape), where=freedom > 0))
    effect = effect.reshape(counts.shape[:2])
    for scale, over in ((HOUR, DAY), (DAY, 7 * DAY)):
        if scale <= width:
            effect = np.maximum(effect, successions(counts, scale, over))
    return effect


def successions(counts: np.ndarray, scale: int, over: int) -> np.ndarray:
    """The median difference of successive sub-windows, held until the next is complete."""
    features, buckets, _ = counts.shape
    whole = counts.reshape(features, buckets // scale, scale, GROUPS).sum(axis=2)
    a, b = whole[:, :-1], whole[:, 1:]
    m, n = a.sum(axis=2, keepdims=True), b.sum(axis=2, keepdims=True)
    both = a + b
    terms = np.divide((b * m - a * n) ** 2, both * m * n, out=np.zeros(both.shape), where=both * m * n > 0)
    freedom = (both > 0).sum(axis=2) - 1
    ratios = terms.sum(axis=2) / (freedom * (1 - 2 / (9 * freedom)) ** 3)
    found = np.ones((features, buckets))
    kept = over // scale - 1
    for last in range(5, ratios.shape[1] + 1):
        middle = np.median(ratios[:, max(0, last - kept) : last], axis=1)
        start = (last + 1) * scale
        found[:, start : start + scale] = np.maximum(1.0, middle)[:, None]
    return found


@dataclass(frozen=True)
class Looks:
    """What each rule says of each look; [bucket] booleans."""

    ours: np.ndarray
    psi: np.ndarray
    p_value: np.ndarray


def looks(counts: np.ndarray, mix: Mix, reference: np.ndarray) -> Looks:
    """`reference` is [feature, bucket or 1, group] of counts."""
    now = moving(counts, mix.window)
    n, m = now.sum(axis=2), reference.sum(axis=2)
    p = (now + 0.5) / (n[..., None] + GROUPS / 2)
    q = (reference + 0.5) / (m[..., None] + GROUPS / 2)
    psi = ((p - q) * np.log(p / q)).sum(axis=2)
    effect = design(counts, mix.window)
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = psi - (GROUPS - 1) * effect * (1 / n + 1 / m)
        x2 = ((now * m[..., None] - reference * n[..., None]) ** 2 / (now + reference)).sum(axis=2) / (m * n)
    p_values = stats.chi2.sf(x2 / effect, GROUPS - 1)
    ordered = np.sort(p_values, axis=0) * FEATURES / np.arange(1, FEATURES + 1)[:, None]
    limit = np.where(ordered <= DISCOVERIES, np.sort(p_values, axis=0), -1).max(axis=0)
    ready = counts[0].sum(axis=1)
    rows = moving(ready[None], mix.window)[0]
    drifted = (excess >= WARN) & (p_values <= limit) & (n / effect >= LEAST)
    ours = drifted.any(axis=0) & (rows / np.median(effect, axis=0) >= LEAST)
    return Looks(ours, (psi > 0.2).any(axis=0), (stats.chi2.sf(x2, GROUPS - 1) < 0.05).any(axis=0))


def reference_of(dice: Dice, mix: Mix, buckets: int) -> np.ndarray:
    """Counts of 50,000 rows of training [feature, 1 or bucket, group], drawn over the whole day."""
    away = mix.cycle * np.sin(phase(DAY))
    slots = dice.multinomial(REFERENCE // 24, np.broadcast_to(masses(away[6::HOUR]), (FEATURES, 24, GROUPS)))
    if not mix.hourly:
        return slots.sum(axis=1, keepdims=True)
    shares = slots / slots.sum(axis=2, keepdims=True)
    hour = (np.arange(buckets) % DAY) // HOUR
    weight = np.zeros((buckets, 24))
    for back in range(HOUR):
        weight[np.arange(buckets), np.roll(hour, back)] += 1 / HOUR
    size = 1 / (weight**2 / slots.sum(axis=2)[0]).sum(axis=1)
    return np.einsum("bh,fhg->fbg", weight, shares) * size[:, None]


def alarms(found: np.ndarray) -> np.ndarray:
    """In alarm or not, look by look: on after three in a row, off after three without."""
    state, run, quiet, told = False, 0, 0, np.zeros(len(found), bool)
    for place, seen in enumerate(found):
        run, quiet = (run + 1, 0) if seen else (0, quiet + 1)
        state = (state or run >= RUN) and quiet < RUN
        told[place] = state
    return told


def episodes(found: np.ndarray) -> int:
    """How many alarms began."""
    told = alarms(found)
    return int(told[0]) + int((told[1:] & ~told[:-1]).sum())


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


def show(title: str, rows: Iterator[tuple[str, dict[str, str]]]) -> None:
    print(f"\n{title}\n")
    for place, (name, cells) in enumerate(rows):
        if not place:
            print(f"| | {' | '.join(cells)} |\n|---|{'---|' * len(cells)}")
        print(f"| {name} | {' | '.join(cells.values())} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--months", type=int, default=3, help="simulated months for each of the mixes")
    parser.add_argument("--runs", type=int, default=20, help="simulated shifts for each delay")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    dice, began = np.random.default_rng(given.seed), time.process_time()
    show("False episodes a month (share of the time in alarm), without drift", stationary(dice, given.months))
    show("Minutes from a shift to the alarm, median", delays(dice, given.runs))
    show("One look at 20 numbers", cost(dice))
    print(f"\n{time.process_time() - began:.0f} s of processor time")


if __name__ == "__main__":
    main()
