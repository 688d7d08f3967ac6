"""pydantic models become structural schemas, or an error that says what to write instead."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, create_model

from trimtab.core.api import ApiModel, matching, rule, rules
from trimtab.core.schema import AGE, READY, Column, Definition, Names, crd, structural, without_defaults


class Inner(ApiModel):
    """An inner part."""

    some_number: Annotated[int, Field(ge=1, le=9)] = 3
    """A number."""


def one(kind: Any, default: Any = ...) -> dict[str, Any]:
    """The schema of a single field of that type."""
    schema: dict[str, Any] = structural(create_model("Model", __base__=ApiModel, field=(kind, default)))["properties"]
    return dict(schema["field"])


def test_names_are_camel_case_and_docstrings_are_descriptions() -> None:
    assert structural(Inner) == {
        "description": "An inner part.",
        "type": "object",
        "properties": {
            "someNumber": {
                "description": "A number.",
                "type": "integer",
                "format": "int64",
                "default": 3,
                "maximum": 9,
                "minimum": 1,
            }
        },
    }


def test_a_description_is_one_line_whatever_its_source_looks_like() -> None:
    described = Annotated[str, Field(description="  one\n    two\n\n  three ")]
    assert one(described)["description"] == "one two three"


def test_references_are_replaced_and_what_stands_beside_them_wins() -> None:
    field = one(Annotated[Inner, Field(description="Mine.")])
    assert field["description"] == "Mine."
    assert field["properties"]["someNumber"]["default"] == 3


def test_an_optional_field_has_neither_null_nor_default() -> None:
    assert one(Annotated[str, Field(max_length=5)] | None, None) == {"type": "string", "maxLength": 5}
    assert "default" not in one(Inner | None, None)


def test_the_default_of_a_struct_holds_its_own_defaults() -> None:
    assert one(Inner, Inner())["default"] == {"someNumber": 3}


def test_the_default_of_a_struct_leaves_out_what_it_leaves_out() -> None:
    class Outer(ApiModel):
        """An outer part."""

        inner: Inner | None = None
        """A part that may be missing."""

    assert one(Outer, Outer())["default"] == {}


def test_lists_are_atomic_unless_they_say_otherwise() -> None:
    assert one(list[str])["x-kubernetes-list-type"] == "atomic"
    keyed = Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["someNumber"]})
    assert one(Annotated[list[Inner], keyed])["x-kubernetes-list-type"] == "map"


def test_maps_and_open_objects() -> None:
    assert one(Annotated[dict[str, int], Field(max_length=2)]) == {
        "type": "object",
        "maxProperties": 2,
        "additionalProperties": {"type": "integer", "format": "int64"},
    }
    assert one(dict[str, Any]) == {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def test_a_single_choice_and_several() -> None:
    assert one(Literal["A"])["enum"] == ["A"]
    assert one(Literal["A", "B"])["enum"] == ["A", "B"]


def test_an_integer_or_string_has_no_type() -> None:
    mixed = Annotated[int | str, Field(json_schema_extra={"x-kubernetes-int-or-string": True, "maxLength": 3})]
    assert one(mixed) == {"maxLength": 3, "x-kubernetes-int-or-string": True}


def test_a_pattern_gives_way_to_the_rule_that_says_it_in_a_sentence() -> None:
    field = one(Annotated[str, matching(r"^a+$", "only the letter a", max_length=3)])
    assert field == {
        "type": "string",
        "maxLength": 3,
        "x-kubernetes-validations": [{"rule": "self.matches(r'^a+$')", "message": "only the letter a"}],
    }


def test_a_pattern_stays_beside_a_rule_about_something_else() -> None:
    extra = rules(rule("self != 'aa'", "not twice"))
    field = one(Annotated[str, Field(pattern=r"^a+$", json_schema_extra=extra)])
    assert field["pattern"] == "^a+$"


class Tree(ApiModel):
    """Contains itself."""

    children: list[Tree] = []


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (float, "Model.field: floating point is read back differently; use whole percents, or a decimal string"),
        (Any, "Model.field: a field needs one type; name it in place of Any"),
        (int | str, "Model.field: a choice of types has no structural schema"),
        (Inner | Tree, "Model.field: a choice of types has no structural schema"),
        (tuple[int, str], "Model.field: prefixItems cannot be said in a structural schema"),
        (set[str], "Model.field: uniqueItems cannot be said"),
        (
            Annotated[int, Field(gt=0)],
            "Model.field: exclusiveMinimum cannot be said in a structural schema; use ge, le",
        ),
        (Annotated[int, Field(multiple_of=2)], "Model.field: multipleOf cannot be said"),
        (list[dict[str, float]], "Model.field.[].*: floating point"),
    ],
)
def test_what_cannot_be_said_is_an_error_that_names_place_and_way_out(kind: Any, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        one(kind)


def test_a_type_that_contains_itself_is_an_error() -> None:
    with pytest.raises(
        ValueError, match=r"^Tree\.children\.\[\].*a type that contains itself has no structural schema"
    ):
        structural(Tree)


def test_a_status_has_no_defaults_at_any_depth() -> None:
    class Outer(ApiModel):
        """Outer."""

        inner: Inner = Inner()
        items: list[Inner] = []
        named: dict[str, Inner] = {}

    bare = without_defaults(structural(Outer))
    assert "'default'" in str(structural(Outer))
    assert "'default'" not in str(bare)
    assert set(bare["properties"]) == {"inner", "items", "named"}


def definition(**more: Any) -> Definition:
    names = Names("Thing", "things", "th")
    columns = (Column("Number", ".spec.someNumber", "integer", priority=1), *READY, AGE)
    return Definition(names, "A thing.", Inner, Inner, columns, **more)


def test_a_definition_is_complete() -> None:
    whole = crd(definition())
    assert whole["metadata"] == {"name": "things.trimtab.dev"}
    assert whole["spec"]["names"] == {
        "kind": "Thing",
        "listKind": "ThingList",
        "plural": "things",
        "singular": "thing",
        "shortNames": ["th"],
        "categories": ["mlops"],
    }
    (version,) = whole["spec"]["versions"]
    assert version["subresources"] == {"status": {}}
    assert version["additionalPrinterColumns"][0] == {
        "name": "Number",
        "type": "integer",
        "jsonPath": ".spec.someNumber",
        "priority": 1,
    }
    assert "priority" not in version["additionalPrinterColumns"][-1]
    root = version["schema"]["openAPIV3Schema"]
    assert root["required"] == ["spec"]
    assert root["properties"]["metadata"] == {"type": "object"}
    assert "default" in root["properties"]["spec"]["properties"]["someNumber"]
    assert "default" not in root["properties"]["status"]["properties"]["someNumber"]
    assert "x-kubernetes-validations" not in root


def test_a_definition_with_rules_and_scale() -> None:
    paths = {"specReplicasPath": ".spec.replicas"}
    (version,) = crd(definition(rules=(rule("true", "never"),), scale=paths))["spec"]["versions"]
    assert version["subresources"]["scale"] == paths
    root = version["schema"]["openAPIV3Schema"]
    assert root["x-kubernetes-validations"] == [{"rule": "true", "message": "never"}]


def test_building_a_definition_twice_shares_nothing() -> None:
    first = crd(definition())
    first["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["kind"]["type"] = "spoilt"
    assert "spoilt" not in str(crd(definition()))
