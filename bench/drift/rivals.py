"""False alarms of Evidently's and NannyML's defaults on the streams that the rule is simulated on.

    python -m bench.drift.rivals [--days 1] [--seed 1]

The counts are those of `bench.drift`; for the peers a value is drawn within each row's decile. Everybody looks once an
hour at the same window, of an hour where the mix has no other, after the first window has filled. What is shown is the
share of looks with a claim of drift; for the rule of Trimtab the share of them within an episode.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from bench.drift import peers
from bench.drift.mixes import DAY, FEATURES, GROUPS, HOUR, MIXES, REFERENCE, Dice, Mix, reference_of, stream
from bench.drift.rule import alarms, looks
from bench.drift.show import show
from bench.peers.install import PeerError

LESS = 5_000
"""Rows of the reference that Evidently is given: with all 50,000 each of its looks would take ten times as long."""
NAMES = [f"f{i}" for i in range(FEATURES)]


def values(dice: Dice, counts: NDArray[Any]) -> NDArray[Any]:
    """Rows of one feature from its counts by bucket and decile, shuffled within each bucket."""
    found = []
    for bucket in counts:
        groups = np.repeat(np.arange(GROUPS), bucket)
        dice.shuffle(groups)
        found.append(stats.norm.ppf((groups + dice.random(len(groups))) / GROUPS))
    return np.concatenate(found)


def tables(dice: Dice, mix: Mix, counts: NDArray[Any]) -> dict[str, pd.DataFrame]:
    """The stream as rows, and the reference."""
    known = reference_of(dice, replace(mix, hourly=False), 1)[mix.windows[0]][:, 0]
    training = [np.repeat(np.arange(GROUPS), dice.multinomial(REFERENCE, row / row.sum())) for row in known]
    drawn = [stats.norm.ppf((dice.permutation(groups) + dice.random(REFERENCE)) / GROUPS) for groups in training]
    return {
        "reference": pd.DataFrame(dict(zip(NAMES, drawn, strict=True))),
        "current": pd.DataFrame({name: values(dice, part) for name, part in zip(NAMES, counts, strict=True)}),
    }


class Simulated(NamedTuple):
    """One stream without drift: what our rule and the bare ones say at each look, and the stream for the peers."""

    told: dict[str, NDArray[Any]]
    rows: peers.Stream


def simulated(dice: Dice, mix: Mix, days: int) -> Simulated:
    """A day before the first look, so that everybody's first window is whole and the spread of rows is known."""
    buckets = (days + 1) * DAY
    counts = stream(dice, mix, buckets)
    found = looks(counts, mix, reference_of(dice, mix, buckets))
    at = np.arange(DAY, buckets, HOUR)
    ends = np.cumsum(counts[0].sum(axis=1))
    starts = np.concatenate([[0], ends])
    bounds = [(int(starts[place + 1 - mix.windows[0]]), int(ends[place])) for place in at]
    size = max(1, int(np.median([stop - start for start, stop in bounds])))
    given = tables(dice, mix, counts)
    told = {"Trimtab": alarms(found.ours)[at], "PSI > 0.2": found.psi[at], "p < 0.05": found.p_value[at]}
    rows = peers.Stream(given["reference"], given["current"], bounds, size=min(size, REFERENCE // 5))
    return Simulated(told, rows)


def rivals(dice: Dice, days: int) -> Iterator[tuple[str, dict[str, str]]]:
    """A row for each mix."""
    made = [simulated(dice, mix, days) for mix in MIXES]
    less = [one.rows._replace(reference=one.rows.reference.iloc[:LESS]) for one in made]
    evidently = map(np.array, peers.claims("evidently", less))
    nannyml = map(np.array, peers.claims("nannyml", [one.rows for one in made]))
    for mix, one, theirs, others in zip(MIXES, made, evidently, nannyml, strict=True):
        told = {
            **one.told,
            "Evidently, any column": theirs.any(axis=1),
            "Evidently, half of them": theirs.mean(axis=1) >= 0.5,
            "NannyML, any column": others.any(axis=1),
        }
        yield mix.name, {name: f"{np.mean(claims):.0%}" for name, claims in told.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=1, help="simulated days for each of the mixes")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.perf_counter()
    try:
        show("Looks that claim drift where there is none", rivals(np.random.default_rng(given.seed), given.days))
    except PeerError as error:
        sys.exit(str(error))
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
