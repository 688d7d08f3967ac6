"""Kinds of traffic, as counts in deciles by buckets of 5 minutes; and what a model was trained on. Seeded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import signal, stats

Dice = np.random.Generator
FEATURES, GROUPS, REFERENCE = 20, 10, 50_000
HOUR, DAY = 12, 288
MONTH = 30 * DAY
WINDOWS = (HOUR, 6 * HOUR, DAY, 7 * DAY)
SHARED = 5
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
    weather: float = 0.0
    """Half of the variance of five features is common to all rows, and forgotten within so many hours."""
    windows: tuple[int, ...] = WINDOWS
    hourly: bool = False
    """The reference knows the hours of the day."""


MIXES = (
    Mix("8 rows", 8),
    Mix("20 rows", 20),
    Mix("100 rows", 100),
    Mix("1,000 rows", 1_000),
    Mix("100 rows, each entity 5 times", 100, 5),
    Mix("1,000 rows, each entity 20 times", 1_000, 20),
    Mix("100 rows, each entity 5 times within an hour", 100, 5, scattered=True),
    Mix("400 rows, each entity 20 times within an hour", 400, 20, scattered=True),
    Mix("100 rows, bursts of one entity", 100, bursts=True),
    Mix("100 rows, busy by day", 100, busy=0.8),
    Mix("100 rows, daily cycle, windows of a day", 100, cycle=0.5, windows=(DAY, 7 * DAY)),
    Mix("100 rows, daily cycle, reference by hour", 100, cycle=0.5, hourly=True),
    Mix("20 rows, each entity 5 times, windows of 6 h", 20, 5, windows=(6 * HOUR,)),
    Mix("20 rows, busy by day, daily cycle, reference by hour", 20, cycle=0.5, busy=0.8, hourly=True),
)


def masses(shift: np.ndarray | float, scale: float = 1.0) -> np.ndarray:
    """The mass of each decile of a standard normal after a shift in deviations; shape of `shift` and GROUPS."""
    below = stats.norm.cdf((EDGES - np.asarray(shift)[..., None]) / scale)
    return np.diff(below, axis=-1, prepend=0.0, append=1.0)


def phase(buckets: int) -> np.ndarray:
    """The time of day as an angle."""
    return 2 * math.pi * (np.arange(buckets) % DAY) / DAY


def stream(dice: Dice, mix: Mix, buckets: int, shift: float = 0.0, begins: int = 0, shifted: int = 1) -> np.ndarray:
    """Counts [feature, bucket, group]; from bucket `begins`, the first `shifted` features are `shift` away."""
    sizes = sizes_of(mix, buckets)
    if mix.bursts:
        sizes = dice.poisson(sizes)
    away = np.tile(mix.cycle * np.sin(phase(buckets)), (FEATURES, 1))
    away[:shifted, begins:] += shift
    if mix.scattered:
        return scattered(dice, sizes, masses(away), mix.repeats)
    shares = masses(away)
    if mix.weather:
        half = math.sqrt(0.5)
        shares[-SHARED:] = masses(away[-SHARED:] + half * wandering(dice, mix.weather, buckets), half)
    counts = dice.multinomial(np.broadcast_to(sizes, away.shape), shares) * mix.repeats
    if mix.bursts:
        counts += burst(dice, buckets)
    return counts


def sizes_of(mix: Mix, buckets: int) -> np.ndarray:
    """Entities in each bucket."""
    return np.maximum(0, mix.rows // mix.repeats * (1 + mix.busy * np.sin(phase(buckets)))).astype(int)


def wandering(dice: Dice, memory: float, buckets: int) -> np.ndarray:
    """Five standard normal values that change slowly [5, bucket]: of the first order, with so many hours of memory."""
    keep = math.exp(-1 / (memory * HOUR))
    noise = dice.normal(size=(buckets, SHARED)) * math.sqrt(1 - keep * keep)
    noise[0] = dice.normal(size=SHARED)
    return signal.lfilter([1.0], [1.0, -keep], noise, axis=0).T


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


def reference_of(dice: Dice, mix: Mix, buckets: int) -> dict[int, np.ndarray]:
    """Counts of 50,000 rows of training, drawn over the whole day, by window: [feature, 1 or bucket, group].

    Where the reference knows the hours they are mixed as the window has rows of them, until the window is a day.
    """
    slots = slots_of(dice, mix)
    whole = slots.sum(axis=1, keepdims=True)
    if not mix.hourly:
        return dict.fromkeys(mix.windows, whole)
    shares = slots / slots.sum(axis=2, keepdims=True)
    found = {}
    for width in mix.windows:
        weight = weights(mix, buckets, width)
        size = 1 / (weight**2 / slots.sum(axis=2)[0]).sum(axis=1)
        mixed = np.einsum("bh,fhg->fbg", weight, shares) * size[:, None]
        full = (np.arange(buckets) >= DAY - 1) & (width >= DAY)
        found[width] = np.where(full[:, None], whole, mixed)
    return found


def slots_of(dice: Dice, mix: Mix) -> np.ndarray:
    """Counts of training by hour of the day [feature, 24, group]."""
    away = mix.cycle * np.sin(phase(DAY))
    return dice.multinomial(REFERENCE // 24, np.broadcast_to(masses(away[6::HOUR]), (FEATURES, 24, GROUPS)))


def weights(mix: Mix, buckets: int, width: int) -> np.ndarray:
    """The share of rows of each hour of the day [bucket, 24] in the windows that end with each bucket."""
    hour = (np.arange(buckets) % DAY) // HOUR
    rows = sizes_of(mix, buckets)[:, None] * (hour[:, None] == np.arange(24))
    sums = windowed(rows[None], width)[0]
    return sums / np.maximum(1, sums.sum(axis=1, keepdims=True))


def windowed(values: np.ndarray, width: int) -> np.ndarray:
    """Sums over the last `width` buckets [feature, bucket, …], fewer at first; long windows begin with an hour."""
    ends = np.arange(values.shape[1]) + 1
    starts = np.maximum(0, ends - width)
    if width > 6 * HOUR:
        starts = -(-starts // HOUR) * HOUR
    whole = np.concatenate([np.zeros_like(values[:, :1]), np.cumsum(values, axis=1)], axis=1)
    return whole[:, ends] - whole[:, starts]
