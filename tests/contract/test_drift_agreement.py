"""Statistics from a pod's counts against scipy on the raw values: real columns with shifts, and large drawn samples."""

import numpy as np
import pytest

from bench.drift import agreement, rivals
from bench.drift.mixes import DAY, EDGES, FEATURES, GROUPS, MIXES, stream

OUTLIERS = "mean symmetry"
REAL = agreement.real(np.random.default_rng(42))
DRAWN = agreement.drawn(np.random.default_rng(42))


@pytest.mark.parametrize("name", [*REAL, *DRAWN])
def test_counts_say_what_raw_values_say(name):
    found = agreement.compared(*(REAL | DRAWN)[name])
    assert found["KS"] <= found["largest cell"] + 1e-9
    assert found["W/sd, file"] <= 0.01
    assert found["Jensen-Shannon"] == pytest.approx(0, abs=1e-9)
    # A pod has no sums: in the wide cells of long tails it cannot know where rows are, and beyond the edges neither.
    assert found["W/sd, pod"] <= (0.05 if name in REAL else 0.01) or name == OUTLIERS


def test_an_estimate_follows_the_inputs_and_is_blind_to_what_they_mean():
    dice = np.random.default_rng(1)
    known, tilted = agreement.answers(dice, 50_000, 0.0, 0.0), agreement.answers(dice, 50_000, 1.0, 0.0)
    accuracy, area = agreement.ours(known, tilted)
    truth = agreement.truth(tilted)
    assert (accuracy, area) == pytest.approx(truth, abs=0.01)
    flipped = tilted.assign(truth=np.where(dice.random(len(tilted)) < 0.15, 1 - tilted["truth"], tilted["truth"]))
    assert agreement.ours(known, flipped) == (accuracy, area)
    assert agreement.truth(flipped)[0] < accuracy - 0.05


def test_peers_are_given_the_rows_that_the_rule_counts():
    dice = np.random.default_rng(1)
    counts = stream(dice, MIXES[4], DAY)
    rows = rivals.tables(dice, MIXES[4], counts)["current"].to_numpy()
    assert rows.shape == (counts[0].sum(), FEATURES)
    deciles = np.searchsorted(EDGES, rows, side="right")
    ends = np.cumsum(counts[0].sum(axis=1))
    for feature in (0, 19):
        for bucket in (0, 7, DAY - 1):
            start = ends[bucket - 1] if bucket else 0
            told = np.bincount(deciles[start : ends[bucket], feature], minlength=GROUPS)
            assert told.tolist() == counts[feature, bucket].tolist()
