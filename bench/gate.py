"""How often the gate lets a worse model pass and stops a good one, and how rival rules do on the same holdouts.

    python -m bench.gate [--runs 20000] [--seed 1]

"new > old" promotes whatever is better on the holdout; "elsewhere" when the new model was measured on another holdout
of the same size. Unpaired tests take the two accuracies as if they came from different rows. Everything is at 95 %
confidence with a margin of one percentage point.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from bench.contests import Dice, Population, classifiers, counted, halves, regressions, scored
from bench.evidence import table
from trimtab_toolbox.evaluation.areas import placed
from trimtab_toolbox.evaluation.calibration import calibration
from trimtab_toolbox.evaluation.estimate import pair
from trimtab_toolbox.evaluation.means import Mean
from trimtab_toolbox.evaluation.metrics import METRICS, Needs
from trimtab_toolbox.evaluation.proportions import PairedProportions
from trimtab_toolbox.evaluation.resample import Resampled, resampled
from trimtab_toolbox.evaluation.truth import Answers, Truth

MARGIN, CONFIDENCE = 0.01, 0.95
Z = float(ndtri(CONFIDENCE))
PAIRS = {"equal": 0.0, "0.5 pp worse": -0.005, "1 pp worse": -0.01, "1 pp better": 0.01}
SIZES = (2_000, 10_000)
BOOTSTRAPPED = ("balanced_accuracy", "f1", "pr_auc", "r2")
DRAWS = 400
Rows = Iterator[tuple[str, dict[str, float]]]


def accuracy(dice: Dice, runs: int) -> Rows:
    """Two classifiers with an accuracy of .90 that agree on 94 % of the rows."""
    for rows in SIZES:
        for name, difference in PAIRS.items():
            found = counted(dice, runs, rows, difference)
            better = found.gained > found.lost
            away = (found.elsewhere - found.right) / rows
            error = math.sqrt(2 * 0.9 * 0.1 / rows)
            unpaired = (found.gained - found.lost) / rows
            yield (
                f"{name}, {rows:,} rows",
                {
                    "new > old": float(better.mean()),
                    "new > old elsewhere": float((away > 0).mean()),
                    "superior, unpaired": float((unpaired > Z * error).mean()),
                    "superior": _passed(found.gained, found.lost, rows, 0.0),
                    "non-inferior, unpaired": float((unpaired > Z * error - MARGIN).mean()),
                    "non-inferior": _passed(found.gained, found.lost, rows, -MARGIN),
                },
            )


def _passed(gained: np.ndarray, lost: np.ndarray, rows: int, least: float) -> float:
    cells, times = np.unique(np.stack([gained, lost], axis=1), axis=0, return_counts=True)
    passed = [PairedProportions(int(up), int(down), rows).statistic(least) > Z for up, down in cells]
    return float(times[passed].sum() / times.sum())


def areas(dice: Dice, runs: int) -> Rows:
    """Two scores with an area of .85 under the curve, correlated by .9 within the classes."""
    runs = min(runs // 20, 1_000)
    for rows in SIZES:
        for name, difference in PAIRS.items():
            seen = np.array([_areas(*scored(dice, rows, difference), dice) for _ in range(runs)])
            columns = ("new > old", "new > old elsewhere", "superior", "non-inferior, unpaired", "non-inferior")
            yield f"{name}, {rows:,} rows", dict(zip(columns, seen.mean(axis=0).tolist(), strict=True))


def _areas(truth: Truth, both: Answers, dice: Dice) -> list[bool]:
    old, new = halves(both)
    found = pair("roc_auc", truth, old, new)
    difference, lower = found.improvement.point, found.improvement.lower(CONFIDENCE)
    alone = [placed(truth.codes, answers.scores).error for answers in (old, new)]
    elsewhere = difference + dice.normal() * math.sqrt(max(sum(e**2 for e in alone) - _variance(lower, difference), 0))
    return [difference > 0, elsewhere > 0, lower > 0, difference - Z * math.hypot(*alone) > -MARGIN, lower > -MARGIN]


def _variance(lower: float, point: float) -> float:
    return ((point - lower) / Z) ** 2


def bounds(dice: Dice, runs: int) -> Rows:
    """How often the bound of a difference claims too much, where the truth is known from 400,000 rows."""
    runs = max(runs // 40, 1)
    worlds = {True: regressions(dice, 400_000), False: classifiers(dice, 400_000)}
    for name, metric in METRICS.items():
        world = worlds[metric.needs is Needs.NUMBERS]
        true = true_improvement(name, world)
        for rows in (500, 2_000):
            seen = np.array([_claims(name, true, *held) for held in world.holdouts(dice, runs, rows)])
            rates = np.nanmean(seen, axis=0) if np.isfinite(seen).any() else seen[0]
            columns = ("lower bound too high", "upper bound too low", "rival: lower", "rival: upper")
            shown = {column: float(rate) for column, rate in zip(columns, rates, strict=True)}
            yield f"{name}, {rows:,} rows", shown


def true_improvement(name: str, world: Population) -> float:
    if name in BOOTSTRAPPED:
        old, new = resampled(name, world.truth, [world.champion, world.challenger], 0)
        return METRICS[name].sign * (new.point - old.point)
    return pair(name, world.truth, world.champion, world.challenger).improvement.point


def _claims(name: str, true: float, truth: Truth, old: Answers, new: Answers) -> list[float]:
    """The rival is BCa where the gate takes percentiles, and Student's interval or DeLong's elsewhere."""
    found = pair(name, truth, old, new, DRAWS).improvement
    ours = [found.lower(CONFIDENCE) > true, found.upper(CONFIDENCE) < true]
    if isinstance(found, Resampled):
        low, high = _bca(name, found, truth, old, new)
    elif isinstance(found, Mean):
        reach = Z * float(found.influence.std(ddof=1)) / math.sqrt(len(truth))
        low, high = found.point - reach, found.point + reach
    elif isinstance(found, PairedProportions):
        reach = Z * math.sqrt((found.gained + found.lost) / len(truth) - found.point**2) / math.sqrt(len(truth))
        low, high = found.point - reach, found.point + reach
    else:
        low, high = found.lower(CONFIDENCE), found.upper(CONFIDENCE)
    return [*map(float, ours), float(low > true), float(high < true)]


def _bca(
    name: str, found: Resampled, truth: Truth, old: Answers, new: Answers, groups: int = 20
) -> tuple[float, float]:
    """Bias-corrected and accelerated bounds (Efron, 1987), the acceleration from a jackknife of groups."""
    left = np.arange(len(truth)) % groups
    values = []
    for group in range(groups):
        kept = left != group
        first, second = resampled(name, truth.part(kept), [old.part(kept), new.part(kept)], 0)
        values.append(second.point - first.point)
    away = np.mean(values) - np.array(values)
    speed = float((away**3).sum() / (6 * max((away**2).sum() ** 1.5, 1e-300)))
    below = np.clip((found.draws < found.point).mean(), 0.5 / DRAWS, 1 - 0.5 / DRAWS)
    bias = float(ndtri(below))
    shares = [float(ndtr(bias + (bias + z) / (1 - speed * (bias + z)))) for z in (-Z, Z)]
    low, high = np.quantile(found.draws, shares)
    return float(low), float(high)


def enumerated(dice: Dice, runs: int) -> Rows:
    """The worst case of the paired test of shares over all holdouts there can be, none drawn: exact."""
    for rows in (50, 200, 500, 2_000):
        worst = {0.5: 0.0, 0.0: 0.0}
        for margin in (0.0, 0.005, 0.01, 0.02, 0.05):
            for differing in (0.01, 0.02, 0.03, 0.06, 0.1, 0.2, 0.4):
                if differing >= margin:
                    for correction in worst:
                        rate = _exactly(rows, differing, margin, correction)
                        worst[correction] = max(worst[correction], rate)
        yield f"{rows:,} rows", {"with the correction": worst[0.5], "without": worst[0.0]}


def _exactly(rows: int, differing: float, margin: float, correction: float) -> float:
    total = 0.0
    for number in range(rows + 1):
        weight = float(binom.pmf(number, rows, differing))
        if weight < 1e-9:
            continue
        low, high = 0, number + 1
        while low < high:
            middle = (low + high) // 2
            found = PairedProportions(middle, number - middle, rows)
            score = found.statistic(-margin)
            if correction == 0.0:
                excess = 2 * middle - number + rows * margin
                score *= excess / (excess - 0.5) if excess != 0.5 else 1.0
            low, high = (low, middle) if score > Z else (middle + 1, high)
        total += weight * float(binom.sf(low - 1, number, (differing - margin) / 2 / differing))
    return total


def calibrated(dice: Dice, runs: int) -> Rows:
    """How often the upper bound of the calibration error is below the truth, beside the usual error in bins."""
    for off in (0.0, 0.02, 0.05, 0.1):
        for rows in (500, 2_000):
            seen = np.array([_calibrated(dice, rows, off) for _ in range(runs // 40)])
            names = ("bound too low", "estimate, mean", "usual error in 15 bins, mean")
            yield f"off by {off:g}, {rows:,} rows", dict(zip(names, seen.mean(axis=0).tolist(), strict=True))


def _calibrated(dice: Dice, rows: int, off: float) -> list[float]:
    said = dice.uniform(0.1, 0.9, size=rows)
    codes = (dice.random(rows) < said + off * np.sign(dice.random(rows) - 2)).astype(np.int64)
    scores = np.stack([1 - said, said], axis=1)
    found = calibration(Truth(codes, np.empty(0), ("0", "1")), Answers(codes, scores, np.empty(0)))
    cells = np.array_split(np.argsort(said), 15)
    usual = sum(len(cell) / rows * abs(float((codes[cell] - said[cell]).mean())) for cell in cells)
    return [float(found.upper(CONFIDENCE) < off), found.point, float(usual)]


TABLES: tuple[tuple[str, Callable[[Dice, int], Rows]], ...] = (
    ("promoted, accuracy .90, 94 % agreement", accuracy),
    ("promoted, area .85 under the curve", areas),
    ("bounds of a difference, nominal .05", bounds),
    ("paired test of shares, worst case, nominal .05", enumerated),
    ("calibration error, nominal .05", calibrated),
)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20_000, help="holdouts a row; slow metrics get fewer (20000)")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default 1)")
    parser.add_argument("--only", default="", help="tables whose title has this in it")
    chosen = parser.parse_args()
    dice = np.random.default_rng(chosen.seed)
    for title, rows in TABLES:
        if chosen.only in title:
            began = time.process_time()
            print("\n".join(table(title, list(rows(dice, chosen.runs)))))
            print(f"({time.process_time() - began:.0f} s of the processor)\n", flush=True)


if __name__ == "__main__":
    main()
