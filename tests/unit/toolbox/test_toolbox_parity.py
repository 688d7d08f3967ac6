"""The comparison of two runtimes' answers, and the figures it gives."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_serving.bundle import Parity, Tensor
from trimtab_toolbox.parity import compare, rounded_up

LABEL = Tensor("label", "INT64", (-1,))
PROBABILITIES = Tensor("probabilities", "FP32", (-1, 2))
PREDICTION = Tensor("prediction", "FP64", (-1,))


def test_labels_are_counted_by_row() -> None:
    expected = {"label": np.array([0, 1, 1, 0]), "probabilities": np.full((4, 2), 0.5)}
    given_ = {"label": np.array([0, 1, 0, 0]), "probabilities": np.full((4, 2), 0.5)}
    agreement = compare(expected, given_, (LABEL, PROBABILITIES))
    assert not agreement.holds
    assert agreement.parity() == Parity(rows=4, max_abs_diff="0", mismatch_percent="25")
    assert str(agreement) == "labels differ on 1 of 4 rows, numbers by up to 0, which is within the tolerance"


@pytest.mark.parametrize(("difference", "holds"), [(0.9e-5, True), (1.1e-5, False)])
def test_probabilities_have_a_fixed_tolerance(difference: float, holds: bool) -> None:
    expected = {"probabilities": np.array([[0.25, 0.75]])}
    given_ = {"probabilities": np.array([[0.25 + difference, 0.75]])}
    assert compare(expected, given_, (PROBABILITIES,)).holds is holds


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e12])
def test_other_numbers_are_measured_against_the_largest(size: float) -> None:
    expected = {"prediction": np.array([0.0, -size])}
    near = compare(expected, {"prediction": np.array([0.9e-5 * size, -size])}, (PREDICTION,))
    far = compare(expected, {"prediction": np.array([1.1e-5 * size, -size])}, (PREDICTION,))
    assert (near.holds, far.holds) == (True, False)


@pytest.mark.parametrize(
    ("left", "right", "holds"),
    [
        ([math.nan, 1.0], [math.nan, 1.0], True),
        ([math.inf, 1.0], [math.inf, 1.0], True),
        ([math.nan, 1.0], [0.0, 1.0], False),
        ([1.0, 1.0], [math.nan, 1.0], False),
        ([math.inf, 1.0], [-math.inf, 1.0], False),
        ([0.0, 0.0], [0.0, 1e-300], False),
        ([0.0, 0.0], [0.0, -0.0], True),
    ],
)
def test_what_is_no_number_must_be_none_on_both_sides(left: list[float], right: list[float], holds: bool) -> None:
    agreement = compare({"prediction": np.array(left)}, {"prediction": np.array(right)}, (PREDICTION,))
    assert agreement.holds is holds


def test_another_shape_is_a_difference_in_all_rows() -> None:
    agreement = compare({"prediction": np.zeros(3)}, {"prediction": np.zeros((3, 1))}, (PREDICTION,))
    assert (agreement.mismatched, agreement.holds) == (3, False)
    assert agreement.parity().max_abs_diff == "Infinity"


@pytest.mark.parametrize(
    ("difference", "text"),
    [(0.0, "0"), (1.2e-7, "1e-06"), (1e-5, "1e-05"), (0.4, "1e+00"), (3.0, "1e+01"), (5e-320, "1e-319")],
)
def test_figures_are_bounds(difference: float, text: str) -> None:
    assert rounded_up(difference) == text


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_a_bound_is_never_below_the_difference_and_within_ten_times(difference: float) -> None:
    bound = float(rounded_up(difference))
    assert difference <= bound * (1 + 1e-12)
    assert bound <= difference * 10 * (1 + 1e-12)


def test_percentages_are_short() -> None:
    expected = {"label": np.zeros(3, int)}
    parity = compare(expected, {"label": np.array([0, 0, 1])}, (LABEL,)).parity()
    assert parity.mismatch_percent == "33.33"
