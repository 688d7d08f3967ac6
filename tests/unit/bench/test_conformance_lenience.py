"""What `--lenient` lets pass, and what it does not."""

import json
from typing import Any

import pytest

from bench.conformance.case import Target
from bench.conformance.checks import answered
from bench.conformance.wire import Answer

STRICT = Target("http://server", "iris", "1", "input", "FP64", (1.0,), ("label",))
LENIENT = Target("http://server", "iris", "1", "input", "FP64", (1.0,), ("label",), lenient=True)
LABEL = {"name": "label", "shape": [1], "datatype": "INT64", "data": [2]}


def answer(**change: Any) -> Answer:
    body = {"model_name": "iris", "outputs": [LABEL]} | change
    return Answer(200, {"content-type": "application/json"}, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"parameters": None}, r"null at \$\.parameters"),
        ({"model_version": None}, r"null at \$\.model_version"),
        ({"id": "made-up"}, "id is 'made-up'"),
    ],
)
def test_two_habits_pass_leniently_alone(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        answered()(STRICT, answer(**change))
    answered()(LENIENT, answer(**change))


def test_an_id_that_was_given_must_come_back_even_leniently() -> None:
    with pytest.raises(AssertionError, match="id is 'made-up', not 'mine'"):
        answered(1, "mine")(LENIENT, answer(id="made-up"))


def test_wrong_outputs_fail_even_leniently() -> None:
    with pytest.raises(AssertionError, match="0 values for the shape"):
        answered()(LENIENT, answer(outputs=[LABEL | {"data": []}]))
