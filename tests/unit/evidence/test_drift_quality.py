"""Broken data is named as what it is, and sound data is not."""

import random

import pytest

from trimtab.evidence.drift.columns import code, column_of
from trimtab.evidence.drift.quality import problems
from trimtab.evidence.drift.reference import Feature, Reference
from trimtab.evidence.drift.table import Binning, Rows
from trimtab.evidence.drift.window import Window

DICE = random.Random(1)
TRAINED = [DICE.gauss(100, 10) for _ in range(5_000)]
NOW = [DICE.gauss(100, 10) for _ in range(600)]


def found(now, trained=TRAINED):
    binning = Binning({"x": [str(value) for value in trained]})
    rows = Rows(binning, {"x": [str(value) for value in now]})
    return {finding.problem: finding.message for finding in problems(binning.reference, rows.window(0, len(now)))}


def test_sound_data_has_no_problem():
    assert found(NOW) == {}
    assert found([value + 5 for value in NOW]) == {}
    assert found(["", *NOW[:20]]) == {}


def test_missing_and_wrong_values():
    assert found(["", "nan", "NULL"] * 100 + NOW[:300]) == {"Missing": "50.0% are missing, 0.0% in training"}
    assert found(["12 kg"] * 60 + NOW[:540]) == {"Type": "10.0% of the values are of a wrong type"}
    assert found([""] * 300)["Missing"] == "100.0% are missing, 0.0% in training"
    assert found([*NOW[:300], *[""] * 30], [*TRAINED[:900], *[""] * 100]) == {}


@pytest.mark.parametrize("factor", [10, 1000, 0.1, 0.001, 2.54])
def test_another_unit(factor):
    said = found([value * factor for value in NOW])
    assert said["Unit"].startswith("the values look like those of training times ")
    assert said["Range"] == "100.0% are out of the range of training"


def test_a_factor_that_can_be_told_is_told():
    trained, now = ([DICE.expovariate(0.1) for _ in range(n)] for n in (5_000, 600))
    assert found([value / 10 for value in now], trained)["Unit"].endswith("times 0.1")
    assert "Unit" not in found(now, trained)


def test_a_shift_is_no_unit():
    assert set(found([value + 40 for value in NOW])) <= {"Range"}


def test_a_stuck_sensor():
    assert found([101.5] * 200) == {"Stuck": "nearly all values are in one cell: it looks stuck"}
    assert found([1] * 200, [1] * 990 + [0] * 10) == {}


def test_unseen_categories():
    given = Feature("c", "category", (900, 90, 10, 0), categories=("a", "b"))
    window = Window(100, ((60, 20, 0, 20),), (0,))
    (finding,) = problems(Reference((given,)), window)
    assert (finding.problem, finding.share) == ("Unseen", 0.2)
    assert finding.message == "20.0% are categories that training did not have"
    assert problems(Reference((given,)), Window(100, ((75, 20, 2, 3),), (0,))) == []
    column = column_of("c", ["a"] * 5 + ["b"] * 5 + ["rare"], categorical=True)
    assert code(column, ["a", "b", "rare", "new", ""]).cells == [0, 1, 2, 3, 4]
