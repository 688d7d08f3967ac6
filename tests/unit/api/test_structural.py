"""What judges manifests knows every keyword of our schemas, or says that it does not."""

from __future__ import annotations

from typing import Any

import pytest

from tests import structural

NODE: dict[str, Any] = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"x-kubernetes-int-or-string": True, "maxLength": 3},
        "on": {"type": "boolean"},
        "marks": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
    },
}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"size": 5_000}, []),
        ({"size": "5Gi", "on": False, "marks": {"a": 1}}, []),
        ({}, [": {} breaks required ['size']"]),
        ({"size": "5000"}, [".size: '5000' breaks maxLength 3"]),
        ({"size": True}, [".size: True is no integer or string"]),
        ({"size": 1, "on": 1}, [".on: 1 is no boolean"]),
        ({"size": 1, "marks": {"a": 0, "b": None}}, [".marks.a: 0 breaks minimum 1", ".marks.b: None is no integer"]),
        ({"size": 1, "of": 2}, [".of: there is no such field"]),
    ],
)
def test_each_breach_is_told_with_its_place(value: Any, said: list[str]) -> None:
    assert list(structural.breaches(NODE, value)) == said


def test_a_keyword_that_nobody_would_look_at_is_refused() -> None:
    structural.check(NODE)
    with pytest.raises(ValueError, match=r"\.on\[\] uses oneOf: teach tests/structural\.py"):
        structural.check({"properties": {"on": {"type": "array", "items": {"type": "string", "oneOf": []}}}})
