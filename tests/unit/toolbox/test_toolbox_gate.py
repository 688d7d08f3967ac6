"""The gate's verdict from answers alone: each rule, and what is said when it is broken."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from trimtab_serving.bundle import Tensor
from trimtab_serving.outcome import MAX_RESULT_BYTES, Failure
from trimtab_toolbox.evaluation.check import REASONS, Check, decided, shown
from trimtab_toolbox.evaluation.contender import Contender
from trimtab_toolbox.evaluation.fitness import difference
from trimtab_toolbox.evaluation.gate import Gate, read_gate
from trimtab_toolbox.evaluation.judge import judge
from trimtab_toolbox.evaluation.latency import latency_ratio
from trimtab_toolbox.evaluation.parts import groups
from trimtab_toolbox.evaluation.truth import Answers, Truth
from trimtab_toolbox.evaluation.verdict import Verdict, conclude

ROWS = 4000
REST = np.empty((0, 0))


def gate(**fields: Any) -> Gate:
    return read_gate(json.dumps({"metric": "accuracy"} | fields))


def truth(ones: float = 0.5) -> Truth:
    return Truth((np.random.default_rng(1).random(ROWS) < ones).astype(int), np.empty(0), ("no", "yes"))


def labelled(true: Truth, wrong: Any) -> Answers:
    """Right but in the rows `wrong`, sure of itself at .9."""
    codes = np.where(wrong, 1 - true.codes, true.codes)
    scores = np.where(np.arange(2) == codes[:, None], 0.9, 0.1)
    return Answers(codes, scores, np.empty(0))


def some(share: float, seed: int = 2) -> Any:
    return np.random.default_rng(seed).random(ROWS) < share


def judged(
    limits: Gate, challenger: Any, champion: Any = None, table: pd.DataFrame | None = None, true: Truth | None = None
) -> Verdict:
    """The verdict on models that are wrong in these rows."""
    true = true or truth()
    old = None if champion is None else labelled(true, champion)
    checks, numbers = judge(limits, pd.DataFrame() if table is None else table, true, old, labelled(true, challenger))
    return conclude(checks, numbers, "Fine", "all is well")


def the(verdict: Verdict, name: str) -> Check:
    (found,) = [check for check in verdict.checks if check.name == name]
    return found


def test_an_equal_model_is_not_inferior_and_not_superior() -> None:
    wrong = some(0.1)
    found = judged(gate(), wrong, wrong)
    assert (found.passed, found.reason) == (True, "Fine")
    assert found.numbers["difference"] == "0"
    assert found.numbers["chanceIfWorse"] == "0.05"
    found = judged(gate(mode="Superior"), wrong, wrong)
    assert (found.passed, found.reason) == (False, "NotSuperior")
    assert "which is not above 0" in found.message


def test_a_worse_model_is_said_to_be_worse() -> None:
    found = judged(gate(), some(0.1) | some(0.1, 3), some(0.1))
    assert found.reason == "Worse"
    assert "the challenger is worse by at least 0.09" in found.message
    assert the(found, "nonInferior").row() == {
        "name": "nonInferior",
        "passed": False,
        "value": found.numbers["lower"],
        "limit": "-0.01",
    }


def test_a_better_model_is_superior() -> None:
    found = judged(gate(mode="Superior"), some(0.1), some(0.1) | some(0.1, 3))
    assert found.passed
    assert float(found.numbers["lower"]) > 0
    assert float(found.numbers["chanceIfWorse"]) < 0.001


def test_too_few_rows_are_inconclusive_and_the_message_says_how_many_it_takes() -> None:
    found = judged(gate(), some(0.3), some(0.3, 3))
    assert found.reason == "Inconclusive"
    needed = found.numbers["neededRows"]
    assert f"an equal model passes 80 % of the time on about {needed} rows like these" in found.message
    assert ROWS < needed < 20 * ROWS


def test_the_chance_of_superiority_for_a_worse_model_is_that_of_the_normal_distribution() -> None:
    found = judged(gate(mode="Superior", margin="0.005"), some(0.1), some(0.1, 3))
    error = (float(found.numbers["upper"]) - float(found.numbers["lower"])) / 2 / stats.norm.ppf(0.95)
    expected = stats.norm.cdf(-stats.norm.ppf(0.95) - 0.005 / error)
    assert float(found.numbers["chanceIfWorse"]) == pytest.approx(expected, abs=1e-4)


def test_without_a_champion_the_floor_decides_by_its_lower_bound() -> None:
    found = judged(gate(floor="0.88"), some(0.1))
    assert found.passed
    assert set(found.numbers) == {"metric", "challenger", "rows"}
    assert found.numbers["challenger"] == shown(1 - some(0.1).mean())
    found = judged(gate(floor="0.899"), some(0.1))
    assert (found.passed, found.reason) == (False, "BelowFloor")
    assert float(found.numbers["challenger"]) > 0.899
    assert "or better is shown; the floor is 0.899" in found.message


def test_the_floor_of_a_loss_is_the_most_that_is_allowed() -> None:
    assert judged(gate(metric="log_loss", floor="0.4"), some(0.1)).passed
    assert judged(gate(metric="log_loss", floor="0.3"), some(0.1)).reason == "BelowFloor"


def test_one_bad_slice_stops_a_model_that_is_fine_on_the_whole() -> None:
    site = np.where(np.arange(ROWS) < 600, "north", "south")
    wrong = np.where(site == "north", some(0.2, 4), some(0.08, 4))
    found = judged(gate(slices=["site"], sliceMargin="0.05"), wrong, some(0.1, 5), pd.DataFrame({"site": site}))
    assert the(found, "nonInferior").passed
    assert the(found, "slice site=south").passed
    assert (found.passed, found.reason) == (False, "SliceWorse")
    assert "in the slice site=north (600 rows) accuracy went from 0." in found.message


def test_slices_with_few_rows_are_undecided_and_said_to_be() -> None:
    site = np.where(np.arange(ROWS) < 15, "tiny", np.where(np.arange(ROWS) < 60, "small", "south"))
    found = judged(gate(slices=["site"], sliceMargin="0.02"), some(0.1), some(0.1), pd.DataFrame({"site": site}))
    assert found.passed
    assert the(found, "slice site=tiny").row() == {"name": "slice site=tiny", "value": "15 rows", "limit": "-0.02"}
    assert the(found, "slice site=small").passed is None
    assert found.message == "all is well; undecided: slice site=small, slice site=tiny"
    assert found.result()["undecided"] == 2


@pytest.mark.parametrize(("share", "passed"), [(0.1, True), (0.16, None), (0.4, False)])
def test_the_recall_of_each_class_has_a_floor(share: float, passed: bool | None) -> None:
    true = truth(0.05)
    found = judged(gate(classFloor="0.8"), some(share) & (true.codes == 1), true=true)
    assert the(found, "recall no").passed is True
    assert the(found, "recall yes").passed is passed
    if passed is False:
        assert found.reason == "ClassBelowFloor"
        assert "rows of the class 'yes' the challenger finds" in found.message


def test_a_class_with_few_rows_is_undecided() -> None:
    found = judged(gate(classFloor="0.8"), some(0.0), true=truth(0.003))
    assert the(found, "recall yes").passed is None
    assert the(found, "recall yes").value.endswith(" rows")


@pytest.mark.parametrize(("share", "passed"), [(0.1, True), (0.2, False)])
def test_probabilities_must_come_true(share: float, passed: bool) -> None:
    found = judged(gate(maxCalibrationError="0.05"), some(share))
    assert the(found, "calibration").passed is passed
    assert found.reason == ("Fine" if passed else "Uncalibrated")


@pytest.mark.parametrize(("share", "passed"), [(0.1, True), (0.2, None), (0.4, False)])
def test_groups_may_not_differ_by_more_than_the_gap(share: float, passed: bool | None) -> None:
    group = pd.DataFrame({"group": np.where(np.arange(ROWS) % 4 == 0, "a", "b")})
    wrong = np.where(group["group"] == "a", some(share), some(0.1, 3))
    found = judged(gate(fairness={"column": "group", "maxGap": "0.1"}), wrong, table=group)
    assert the(found, "fairness group").passed is passed
    if passed is False:
        assert found.reason == "Unfair"
        assert "between the groups of 'group': a has 0.6" in found.message


def test_groups_of_a_column() -> None:
    numbers = pd.Series([*range(100), None])
    assert [int(rows.sum()) for rows in groups(numbers).values()] == [25, 25, 25, 25, 1]
    texts = pd.Series([f"v{index}" for index in range(25) for _ in range(index + 1)])
    found = groups(texts)
    assert len(found) == 21
    assert int(found["other"].sum()) == 1 + 2 + 3 + 4 + 5
    assert list(groups(pd.Series([True, False, True]))) == ["1", "0"]


def test_the_gravest_reason_is_the_verdicts_and_the_others_are_counted() -> None:
    checks = [Check(name, False, "0", "1", name, f"says {name}") for name in reversed(REASONS)]
    found = conclude(checks, {}, "", "")
    assert found.reason == "SchemaIncompatible"
    assert found.message == f"says SchemaIncompatible; {len(REASONS) - 1} more checks failed"


def test_last_words_fit_and_keep_what_failed() -> None:
    states = [None, True, False]
    checks = [
        Check(f"slice {'ü' * 90}={number}", states[number % 3], "0.5", "1", "SliceWorse", "x" * 5000)
        for number in range(90)
    ]
    found = conclude(checks, {"metric": "accuracy"}, "", "")
    result = found.result()
    assert len(json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode()) <= MAX_RESULT_BYTES
    assert result["checksOmitted"] + len(result["checks"]) == 90
    assert all(check.get("passed") is False for check in result["checks"])
    assert result["undecided"] == 30
    assert len(found.whole()["checks"]) == 90


def test_numbers_are_short_and_never_in_exponents() -> None:
    assert [shown(number) for number in (0.05, -0.0, 1e-9, 100.0, 1 - 0.95, 123456.7)] == [
        "0.05",
        "0",
        "0",
        "100",
        "0.05",
        "123456.7",
    ]
    assert [decided(True, True), decided(False, True), decided(False, False)] == [True, False, None]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"metric": "auc"}, "the gate's metric is 'auc'; it must be one of accuracy, balanced_accuracy, f1, roc_auc"),
        ({"mode": "Better"}, "the gate's mode is 'Better'; it must be one of NonInferior, Superior"),
        ({"margin": "-1"}, "the gate's margin is '-1'; it must be a number of at least 0"),
        ({"confidencePercent": "100"}, "the gate's confidencePercent is '100'; it must be a number of at least 50 and"),
        ({"floor": "nan"}, "the gate's floor is 'nan'; it must be a number"),
        ({"classFloor": "high"}, "the gate's classFloor is 'high'; it must be a number of at least 0 and of at most 1"),
        ({"mergin": "1"}, "TRIMTAB_GATE cannot be read: Object contains unknown field `mergin`"),
        ({"fairness": {"column": "a"}}, "TRIMTAB_GATE cannot be read: Object missing required field `maxGap`"),
    ],
)
def test_a_gate_that_makes_no_sense_is_named(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(Failure, match="SettingsInvalid") as failure:
        gate(**fields)
    assert says in failure.value.message


def test_the_margin_of_slices_is_twice_the_margin_unless_it_is_given() -> None:
    assert gate(margin="0.03").slice_margin == 0.06
    assert gate(margin="0.03", sliceMargin="0.1").slice_margin == 0.1
    assert gate(holdout={"uri": "x"}, slices=["a"], fairness={"column": "b", "maxGap": "1"}).aside == {"a", "b"}


WIDE = (
    Tensor("age", "FP64", (-1, 1)),
    Tensor("town", "BYTES", (-1, 1), missing=True),
    Tensor("x", "FP32", (-1, 1), missing=True),
)


def contender(role: str = "challenger", **changes: Any) -> Contender:
    fields: dict[str, Any] = {
        "inputs": WIDE[:2],
        "outputs": (Tensor("label", "INT64", (-1,)),),
        "classes": ("0", "1"),
    } | changes
    return Contender(role, f"models:/m/{role}", size_bytes=1, profile=None, answer=lambda rows: rows, **fields)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        ({"inputs": WIDE[1::-1]}, ""),
        ({"inputs": (WIDE[0], WIDE[2])}, "it lacks the input 'town', wants the input 'x' too"),
        ({"inputs": (WIDE[0], Tensor("town", "BYTES", (-1, 1)))}, "it takes no missing values in 'town'"),
        ({"inputs": WIDE}, "it wants the input 'x' too"),
        (
            {"inputs": (Tensor("age", "INT64", (-1, 1)), WIDE[1])},
            "it takes 'age' as INT64 and not FP64",
        ),
        (
            {"inputs": (Tensor("input", "FP64", (-1, 2), ("age", "town"), missing=("town",)),)},
            "it takes 'town' as FP64 and not BYTES",
        ),
        ({"outputs": (Tensor("label", "BYTES", (-1,)),)}, "it answers label BYTES[-1] and not label INT64[-1]"),
        ({"classes": ("0", "1", "2")}, "it knows the classes ('0', '1', '2') and not ('0', '1')"),
    ],
)
def test_what_a_client_of_the_champion_would_stumble_over(changes: dict[str, Any], says: str) -> None:
    assert difference(contender("champion"), contender(**changes)) == says


def test_columns_of_a_matrix_have_an_order() -> None:
    first, second = ((Tensor("input", "FP64", (-1, 2), names),) for names in (("a", "b"), ("b", "a")))
    assert difference(contender(inputs=first), contender(inputs=second)) == "it takes its columns in another order"


def test_latency_is_a_ratio_of_what_the_clock_said() -> None:
    now = [0.0]

    def taking(seconds: float) -> tuple[Contender, dict[str, Any]]:
        def answer(rows: Any) -> Any:
            assert len(rows["x"]) == 32
            now[0] += seconds
            return rows

        slow = contender()
        object.__setattr__(slow, "answer", answer)
        return slow, {"x": np.zeros(500)}

    assert latency_ratio(taking(0.01), taking(0.03), 1.5, lambda: now[0]) == pytest.approx(3.0)
    assert latency_ratio(taking(0.03), taking(0.01), 1.5, lambda: now[0]) == pytest.approx(1 / 3)
