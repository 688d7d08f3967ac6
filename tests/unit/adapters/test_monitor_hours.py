"""Drift profiles with the hours of the day: what is read of them, and which are not believed."""

import json
from typing import Any

import numpy as np
import pytest

from tests.unit.adapters.test_monitor import pod, profile_document
from trimtab.adapters.monitor.profile import Profile, read_profile
from trimtab.adapters.polling import Distrusted
from trimtab.evidence.drift.judge import judge
from trimtab.evidence.drift.window import Window
from trimtab_serving.bundle import Tensor
from trimtab_toolbox.profiling.profile import build_profile


def dated_document() -> dict[str, Any]:
    """Half of the rows are of midnight, half of noon; nothing is known of the other hours."""

    def hours(midnight: list[int], noon: list[int]) -> list[list[int]]:
        return [noon if hour == 12 else midnight if hour == 0 else [0] * len(noon) for hour in range(24)]

    features = {"age": hours([100, 300, 0], [0, 200, 400]), "city": hours([450, 50, 0], [450, 50, 0])}
    return {
        **profile_document(),
        "hours": {
            "features": features,
            "score": hours([500, 0], [100, 400]),
            "predictions": hours([500, 0], [100, 400]),
        },
    }


def read(document: dict[str, Any]) -> Profile:
    return read_profile(pod(), 200, json.dumps(document).encode(), None)


def test_the_hours_of_features_scores_and_predictions_are_read() -> None:
    by_name = {feature.name: feature for feature in read(dated_document()).reference.features}
    noon = [1_000 if hour == 12 else 0 for hour in range(24)]
    assert by_name["age"].expected(noon) == pytest.approx([0, 200, 400])
    assert by_name["score"].expected(noon) == by_name["prediction"].expected(noon) == pytest.approx([100, 400])
    assert by_name["age"].expected([0] * 6 + [1] + [0] * 17) == pytest.approx([100, 500, 400])


def test_a_profile_without_hours_is_compared_as_a_whole() -> None:
    reference = read(profile_document()).reference
    assert not reference.dated
    assert reference.features[0].expected([0] * 12 + [100] + [0] * 11) == (100, 500, 400)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": {"age": [[1, 1, 1]] * 23}}, "hours: feature 'age' needs 24 rows of as many counts"),
        ({"features": {"age": [[1, 1]] * 24}}, "hours: feature 'age' needs 24 rows of as many counts"),
        ({"features": {"age": [[1, 1, 1]] * 24}}, "hours: feature 'age' does not add up to the whole day"),
        ({"features": {"height": [[1, 1]] * 24}}, "hours: feature 'height' needs 24 rows of as many counts"),
        ({"features": {"age": [[-1, 1, 1]] * 24}}, "hours.features.age.0.0: Input should be greater than or equal"),
        ({"features": {str(n): [] for n in range(257)}}, "hours.features: Dictionary should have at most 256 items"),
        ({"score": [[1]] * 24}, "hours: score needs 24 rows of as many counts"),
        ({"predictions": [[25, 25]] * 24}, "hours: predictions does not add up to the whole day"),
    ],
)
def test_hours_that_contradict_the_profile_are_not_believed(change: dict[str, Any], message: str) -> None:
    document = dated_document()
    document["hours"] |= change
    with pytest.raises(Distrusted) as caught:
        read(document)
    assert message in str(caught.value)


def test_what_the_toolbox_writes_is_what_the_operator_reads() -> None:
    """Noon is a deviation above midnight in training; an hour of noon is like noon and unlike midnight."""
    dice = np.random.default_rng(1)
    hours = np.tile(np.arange(24), 500)
    warmth = np.sin(np.pi * hours / 24)
    rows = (dice.normal(size=len(hours)) + 2 * warmth).astype(np.float32)[:, None]
    tensor = Tensor("X", "FP32", (-1, 1))
    reference = read_profile(pod(), 200, build_profile(None, {"X": rows}, [tensor], None, None, hours), None).reference
    edges = np.asarray(reference.features[0].edges)
    noon = np.searchsorted(edges, dice.normal(size=1_000) + 2, side="right")
    cells = tuple(np.bincount(noon, minlength=len(edges) + 1).tolist())
    states = [
        judge(reference, Window(1_000, (cells,), (0,), tuple(1_000 * (at == hour) for at in range(24))), [1.0]).state
        for hour in (12, 0)
    ]
    assert states == ["OK", "Critical"]
