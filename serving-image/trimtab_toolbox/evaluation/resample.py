"""Bounds by the bootstrap, for the metrics that are no mean over rows.

Rows are drawn in pairs, so both models always answer the same ones, and within each true class, because how many rows
of a class a holdout has was somebody's choice. The seed is fixed: the same files give the same verdict.
Percentiles are used as they are. BCa, the usual refinement, was measured beside them (bench.gate) and did not hold its
error rate better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from trimtab_toolbox.evaluation.metrics import Ranking, from_counts, looked_at
from trimtab_toolbox.evaluation.truth import Answers, Codes, Floats, Truth

SEED = 20240229
DRAWS = 2000
MAX_WORK = 400_000_000
"""Rows drawn at most, over all draws: large holdouts get fewer draws, down to MIN_DRAWS."""
MIN_DRAWS = 400


@dataclass(frozen=True, slots=True)
class Resampled:
    """An estimate, and what it would have been on other rows."""

    point: float
    draws: Floats

    def lower(self, confidence: float) -> float:
        """The bound that the true value is above with this `confidence`."""
        return float(np.quantile(self.draws, 1 - confidence))

    def upper(self, confidence: float) -> float:
        """The bound that the true value is below with this `confidence`."""
        return float(np.quantile(self.draws, confidence))


def resampled(name: str, truth: Truth, models: Sequence[Answers], draws: int = DRAWS) -> list[Resampled]:
    """balanced_accuracy, f1, pr_auc or r2 of each of `models`, drawn together: their draws may be subtracted.

    ValueError for rows on which the metric says nothing: fewer than two classes, or targets that are all the same.
    """
    draws = min(draws, max(MAX_WORK // max(len(truth), 1), MIN_DRAWS))
    if name == "r2":
        values = _explained(truth, models, draws)
    elif len(np.unique(truth.codes)) < 2:
        raise ValueError(f"{name} needs rows of two classes")
    else:
        values = _ranked(truth, models, draws) if name == "pr_auc" else _counted(name, truth, models, draws)
    return [Resampled(float(column[0]), column[1:]) for column in values.T]


def _counted(name: str, truth: Truth, models: Sequence[Answers], draws: int) -> Floats:
    """Shape [1 + draws, models]. Rows with the same labels are the same, so cells of a table are drawn, not rows."""
    dice, width = np.random.default_rng(SEED), len(truth.classes)
    hits = np.zeros((len(models), draws + 1, width))
    given, true = np.zeros_like(hits), np.zeros_like(hits)
    for code in np.unique(truth.codes):
        labels = np.stack([model.labels[truth.codes == code] for model in models], axis=1)
        cells, counts = np.unique(labels, axis=0, return_counts=True)
        drawn = np.vstack([counts, dice.multinomial(counts.sum(), counts / counts.sum(), size=draws)])
        for number in range(len(models)):
            for label in np.unique(cells[:, number]):
                rows = drawn[:, cells[:, number] == label].sum(axis=1)
                if label >= 0:
                    given[number, :, label] += rows
                if label == code:
                    hits[number, :, code] += rows
        true[:, :, code] = counts.sum()
    return from_counts(name, hits, given, true).T


def _ranked(truth: Truth, models: Sequence[Answers], draws: int) -> Floats:
    codes = looked_at(truth.codes, len(truth.classes))
    rankings = [[Ranking(truth.codes == code, model.scores[:, code]) for code in codes] for model in models]
    return np.array(
        [
            [np.mean([ranking.average_precision(weights) for ranking in curves]) for curves in rankings]
            for weights in _weights(truth.codes, draws)
        ]
    )


def _explained(truth: Truth, models: Sequence[Answers], draws: int) -> Floats:
    centred = truth.values - truth.values.mean()
    if not centred.any():
        raise ValueError("r2 needs targets that are not all the same")
    sums = np.stack([np.ones(len(truth)), centred, centred**2, *((m.values - truth.values) ** 2 for m in models)])
    drawn = np.array([sums @ weights for weights in _weights(np.zeros(len(truth), dtype=np.int64), draws)])
    spread = drawn[:, 2] - drawn[:, 1] ** 2 / drawn[:, 0]
    return np.asarray(1 - drawn[:, 3:] / spread[:, None])


def _weights(strata: Codes, draws: int) -> Iterator[Floats]:
    """How often each row is drawn: first once each, then `draws` times at random within its stratum."""
    dice = np.random.default_rng(SEED)
    members = [np.flatnonzero(strata == code) for code in np.unique(strata)]
    yield np.ones(len(strata))
    for _ in range(draws):
        weights = np.empty(len(strata))
        for rows in members:
            weights[rows] = np.bincount(dice.integers(len(rows), size=len(rows)), minlength=len(rows))
        yield weights
