"""Whether binned statistics say what raw ones say: scipy on raw values, NannyML's estimates, and the time it takes.

    python -m bench.drift.agreement

Columns are those of scikit-learn's breast cancer, halved at random, with shifts in some; and drawn ones. `pod` is from
the counts of a model pod, `file` from those of `kubectl trimtab drift`, which also has sums by cell.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import jensenshannon
from sklearn.datasets import load_breast_cancer

from bench.drift import peers
from bench.drift.counting import Pod
from bench.drift.show import show
from bench.peers.install import PeerError
from trimtab.evidence.drift.judge import FeatureLook, judge
from trimtab.evidence.drift.performance import Calibration, estimated
from trimtab.evidence.drift.table import Binning, Rows

Array = NDArray[Any]
Pairs = dict[str, tuple[Array, Array]]
Cells = dict[str, str]
CELLS = 50
CHUNK = 5_000


def real(dice: np.random.Generator) -> Pairs:
    """Thirty columns in two halves: the first three shifted, the others as chance parted them."""
    data = load_breast_cancer()
    rows = data.data[dice.permutation(len(data.data))]
    before, after = rows[:285].copy(), rows[285:].copy()
    after[:, 0] += 0.5 * before[:, 0].std()
    middle = after[:, 4].mean()
    after[:, 4] = middle + 1.5 * (after[:, 4] - middle)
    after[:28, 8] *= 10
    return {name: (before[:, i], after[:, i]) for i, name in enumerate(data.feature_names)}


def drawn(dice: np.random.Generator) -> Pairs:
    """Large samples of several shapes, a little apart."""
    n = 20_000
    normal = dice.normal(size=(4, n))
    return {
        "normal, +0.1 sd": (normal[0], normal[1] + 0.1),
        "normal, spread ×1.15": (normal[0], 1.15 * normal[2]),
        "normal, 1 % at +6 sd": (normal[0], np.where(dice.random(n) < 0.01, 6.0, normal[3])),
        "exponential": (dice.exponential(size=n), dice.exponential(1.1, n)),
        "log-normal": (dice.lognormal(size=n), dice.lognormal(0.05, 1.0, n)),
        "counts": (dice.poisson(4, n).astype(float), dice.poisson(4.2, n).astype(float)),
        "half of it zero": (np.maximum(0, normal[0]), np.maximum(0, normal[1] + 0.05)),
    }


def compared(before: Array, after: Array) -> dict[str, float]:
    """Differences from scipy on one column."""
    before, after = (side.astype(np.float32).astype(float) for side in (before, after))
    spread = before.std()
    ks, distance = stats.ks_2samp(before, after), stats.wasserstein_distance(before, after) / spread
    pod = Pod(before.astype(np.float32)[:, None])
    reference, window = pod.reference(), pod.window(after.astype(np.float32)[:, None])
    by_pod = judge(reference, window, [1.0]).features[0]
    feature, cells = reference.features[0], window.cells[0]
    largest = max(max(side) / sum(side) for side in (feature.counts, cells))
    groups = [feature.grouped(side) for side in (feature.counts, cells)]
    shares = [np.asarray(side) / sum(side) for side in groups]
    kept = [side[(np.asarray(groups[0]) + np.asarray(groups[1])) > 0] for side in map(np.asarray, groups)]
    chi = stats.chi2_contingency(np.array(kept), correction=False).pvalue
    return {
        "KS": abs(ks.statistic - by_pod.ks),
        "largest cell": largest,
        "W/sd, pod": abs(distance - float(by_pod.wasserstein or 0)),
        "W/sd, file": abs(distance - float(by_file(before, after).wasserstein or 0)),
        "Jensen-Shannon": abs(jensenshannon(*shares, base=2) - by_pod.jensen_shannon),
        "chi², log10 p": abs(np.log10(max(chi, 1e-300)) - np.log10(max(by_pod.p_value, 1e-300))),
    }


def by_file(before: Array, after: Array) -> FeatureLook:
    """The same column as the offline command sees it."""
    binning = Binning({"x": [repr(x) for x in before.tolist()]})
    window = Rows(binning, {"x": [repr(x) for x in after.tolist()]}).window(0, len(after))
    return judge(binning.reference, window, [1.0]).features[0]


def agreement(dice: np.random.Generator) -> Iterator[tuple[str, Cells]]:
    """The largest differences over the real columns, and those of each drawn one."""
    found = {name: compared(*pair) for name, pair in real(dice).items()}
    beyond = found.pop("mean symmetry")
    columns = list(found.values())
    yield "29 real columns, largest", {key: f"{max(told[key] for told in columns):.2g}" for key in beyond}
    yield "a real column, a tenth of it ×10", {key: f"{value:.2g}" for key, value in beyond.items()}
    for name, pair in drawn(dice).items():
        yield name, {key: f"{value:.2g}" for key, value in compared(*pair).items()}


def answers(dice: np.random.Generator, rows: int, tilt: float, noise: float) -> pd.DataFrame:
    """Scores that are the truth's chances up to noise, predictions and truths of two classes."""
    sense = dice.normal(tilt, 2.0, rows)
    chance = 1 / (1 + np.exp(-sense))
    score = 1 / (1 + np.exp(-(sense + dice.normal(0, noise, rows))))
    truth = (dice.random(rows) < chance).astype(int)
    return pd.DataFrame({"score": score, "predicted": (score >= 0.5).astype(int), "truth": truth})


def ours(reference: pd.DataFrame, chunk: pd.DataFrame) -> tuple[float, float]:
    """Our estimates of accuracy and area under the curve."""
    edges = np.arange(1, CELLS) / CELLS
    cells = [np.searchsorted(edges, table["score"], side="right") for table in (reference, chunk)]
    counts = np.bincount(cells[0], minlength=CELLS)
    right = np.bincount(cells[0], reference["truth"], CELLS).astype(int)
    known = Calibration("positive", tuple(edges.tolist()), tuple(counts.tolist()), tuple(right.tolist()))
    found = estimated(known, np.bincount(cells[1], minlength=CELLS).tolist())
    return found["Accuracy"], found["RocAuc"]


def estimates(dice: np.random.Generator) -> Iterator[tuple[str, Cells]]:
    """Estimates without labels beside NannyML's and the truth, means over ten chunks and the largest difference."""
    for name, tilt, noise in (
        ("same inputs", 0.0, 0.0),
        ("worse calibrated", 0.0, 1.0),
        ("more positives", 1.0, 0.0),
        ("fewer positives", -1.5, 0.5),
    ):
        reference = answers(dice, 50_000, 0.0, noise)
        analysis = answers(dice, 10 * CHUNK, tilt, noise)
        theirs = np.array(peers.ask("nannyml", "estimates", {"reference": reference, "current": analysis}, size=CHUNK))
        chunks = [analysis.iloc[start : start + CHUNK] for start in range(0, len(analysis), CHUNK)]
        found = np.array([ours(reference, chunk) for chunk in chunks])
        actual = np.mean([truth(chunk) for chunk in chunks], axis=0)
        cells = {}
        for place, metric in enumerate(("accuracy", "AUC")):
            told = found.mean(0)[place], theirs.mean(0)[place], actual[place]
            cells[metric] = " / ".join(f"{x:.4f}" for x in told)
            cells[f"{metric}, apart"] = f"{np.abs(found - theirs).max(0)[place]:.4f}"
        yield name, cells


def truth(chunk: pd.DataFrame) -> tuple[float, float]:
    """Accuracy and area under the curve as they were."""
    from sklearn.metrics import roc_auc_score

    return float((chunk["predicted"] == chunk["truth"]).mean()), float(roc_auc_score(chunk["truth"], chunk["score"]))


def cost(dice: np.random.Generator, rows: int = 100_000) -> Iterator[tuple[str, Cells]]:
    """Seconds to compare so many rows of 20 numbers with as many, in one run on one machine."""
    sides = [dice.normal(size=(rows, 20)).astype(np.float32) for _ in range(2)]
    marks = [time.process_time()]
    pod = Pod(sides[0])
    marks.append(time.process_time())
    window = pod.window(sides[1])
    marks.append(time.process_time())
    judge(pod.reference(), window, [1.0] * 20)
    marks.append(time.process_time())
    once, counting, judging = np.diff(marks)
    names = [f"f{i}" for i in range(20)]
    tables = {key: pd.DataFrame(side, columns=names) for key, side in zip(("reference", "current"), sides, strict=True)}
    theirs = peers.ask("evidently", "preset", tables)["processor"]
    yield "profile of the reference, once a model", {"seconds": f"{once:.3f}", "Evidently by ours": ""}
    yield "counting the rows", {"seconds": f"{counting:.3f}", "": ""}
    yield "judging the counts", {"seconds": f"{judging:.4f}", "": ""}
    yield "Evidently's preset, each time", {"seconds": f"{theirs:.2f}", "": f"{theirs / (counting + judging):.0f}×"}
    yield "the same, our profile made anew", {"seconds": "", "": f"{theirs / (once + counting + judging):.0f}×"}


def main() -> None:
    dice = np.random.default_rng(42)
    show("Differences from scipy on raw values", agreement(dice))
    try:
        show("Estimated without labels: ours / NannyML / truth", estimates(dice))
        show("Time to compare 100,000 rows of 20 numbers", cost(dice))
    except PeerError as error:
        print(error, file=sys.stderr)


if __name__ == "__main__":
    main()
