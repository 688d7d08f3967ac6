"""Columns of text as features: the same edges as the training toolbox, whatever is in them."""

import math

import numpy as np
import pytest

from trimtab.evidence.drift.columns import code, column_of, number
from trimtab_serving.bundle import Tensor
from trimtab_toolbox.profiling.features import profile_features


def feature(values):
    return column_of("x", [repr(value) for value in values], categorical=False).feature


@pytest.mark.parametrize("seed", range(4))
def test_a_number_has_the_cells_that_the_toolbox_gives_it(seed):
    dice = np.random.default_rng(seed)
    values = (dice.normal(5, 2, 997), dice.poisson(2, 500) * 1.0, np.full(40, 7.0), dice.gamma(1, 9, 63))[seed]
    (theirs,) = profile_features({"x": values[:, None]}, [Tensor("x", "FP64", (-1, 1))])
    ours = feature(values.tolist())
    assert ours.edges == pytest.approx(theirs.edges, rel=1e-12)
    assert (sum(ours.counts), len(ours.counts)) == (len(values), len(theirs.counts))
    assert (ours.inside, ours.deciles) == (theirs.inside, theirs.deciles)
    assert (ours.mean, ours.deviation) == pytest.approx((theirs.mean, theirs.deviation), rel=1e-9)


def test_the_last_cell_of_the_range_has_the_largest_value():
    ours = feature([1.0, 2.0, 3.0])
    assert ours.inside == (ours.counts.index(1), len(ours.counts) - 1 - ours.counts[::-1].index(1))


def test_values_that_are_none_and_those_beyond_all():
    column = column_of("x", [str(i) for i in range(100)], categorical=False)
    last = len(column.feature.counts) - 1
    coded = code(column, ["", " NaN ", "x", "1_0", "inf", "-1e300", "5"])
    assert coded.cells[:6] == [last + 1, last + 1, last + 2, last + 2, last, 0]
    assert [math.isnan(z) for z in coded.z] == [True] * 4 + [False] * 3
    assert coded.z[4:6] == [8, -8]
    edges, mean, deviation = column.feature.edges, column.feature.mean, column.feature.deviation
    ends = [(edge - mean) / deviation for edge in (edges[-1], edges[0])]
    assert coded.far == [0, 0, 0, 0, *ends, (5 - mean) / deviation]


def test_one_column_in_twenty_wrong_is_still_a_number():
    assert column_of("x", ["1"] * 95 + ["?"] * 5, categorical=False).feature.kind == "numeric"
    assert column_of("x", ["1"] * 94 + ["?"] * 6, categorical=False).feature.kind == "category"
    assert column_of("x", ["1"] * 100, categorical=True).feature.categories == ("1",)


def test_a_category_that_is_a_number_or_a_truth_is_known_in_any_spelling():
    codes = column_of("x", ["1", "2", "03"] * 9 + ["44"], categorical=True)
    assert codes.feature.categories == ("03", "1", "2")
    assert code(codes, ["1", "1.0", " 2 ", "3.0", "44.0", "5", "x", ""]).cells == [1, 1, 2, 0, 3, 4, 4, 5]
    truths = column_of("x", ["True", "False"] * 9, categorical=False)
    assert code(truths, ["TRUE", "false", "1", "t"]).cells == [1, 0, 3, 3]


@pytest.mark.parametrize("texts", [["1", "1.0", "2"], ["1", "2", "b"]])
def test_spellings_are_told_apart_where_the_reference_does(texts):
    column = column_of("x", texts * 9, categorical=True)
    assert code(column, [texts[0], texts[1], "2.00"]).cells == [0, 1, 4]


def test_what_says_nothing_is_refused():
    with pytest.raises(ValueError, match="the reference has no value in it"):
        column_of("x", ["", "NA"], categorical=False)
    with pytest.raises(ValueError, match="it looks like an identifier: 6 values in 6 rows"):
        column_of("x", list("abcdef"), categorical=False)


def test_numbers():
    assert [number(text) for text in ("1e3", " 7 ", "0x1", "", "-1e400")] == [1000, 7, None, None, -math.inf]
