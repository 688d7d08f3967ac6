"""The API conventions of Kubernetes, and our own, held against the generated definitions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests import crdcheck, samples
from trimtab.core.objects import GROUP, Object

KINDS = sorted(crdcheck.definitions())
# What `kubectl apply` sends it also keeps in an annotation, and annotations may take 256 KiB together. Half of that
# leaves room for a second version of the API beside the first.
LARGEST = 128 * 1024


class Node(NamedTuple):
    """One place in a schema."""

    kind: str
    path: str
    schema: crdcheck.Schema

    def __str__(self) -> str:
        return f"{self.kind}{self.path}"


def walk(kind: str, schema: crdcheck.Schema, path: str = "") -> Iterator[Node]:
    yield Node(kind, path, schema)
    for name, child in schema.get("properties", {}).items():
        yield from walk(kind, child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from walk(kind, schema[key], f"{path}[]")


NODES = [node for kind in KINDS for node in walk(kind, crdcheck.schema_of(kind))]
OWN = [node for node in NODES if node.path.startswith((".spec", ".status"))]


def broken(nodes: list[Node], holds: Any) -> list[str]:
    """The places where something does not hold, so that one run names all of them."""
    return [str(node) for node in nodes if not holds(node.schema)]


def version(kind: str) -> Object:
    (only,) = crdcheck.definitions()[kind]["spec"]["versions"]
    return dict(only)


def test_there_are_no_floating_point_numbers() -> None:
    assert broken(NODES, lambda schema: schema.get("type") != "number") == []


def test_every_text_is_bounded() -> None:
    texts = [n for n in OWN if n.schema.get("type") == "string" or n.schema.get("x-kubernetes-int-or-string")]
    assert len(texts) > 40
    assert broken(texts, lambda schema: "maxLength" in schema or "enum" in schema) == []


def test_every_list_is_bounded_and_says_how_it_merges() -> None:
    lists = [node for node in OWN if node.schema.get("type") == "array"]
    assert len(lists) > 10
    assert broken(lists, lambda schema: "maxItems" in schema) == []
    assert broken(lists, lambda schema: schema.get("x-kubernetes-list-type") in ("atomic", "set", "map")) == []


def test_the_keys_of_list_maps_are_required_fields_of_their_items() -> None:
    maps = [node for node in OWN if node.schema.get("x-kubernetes-list-type") == "map"]
    assert len(maps) >= 4
    assert (
        broken(
            maps,
            lambda schema: (
                schema["x-kubernetes-list-map-keys"]
                and set(schema["x-kubernetes-list-map-keys"]) <= set(schema["items"]["required"])
            ),
        )
        == []
    )


def test_every_map_is_bounded_and_no_object_is_open() -> None:
    maps = [node for node in OWN if "additionalProperties" in node.schema]
    assert broken(maps, lambda schema: "maxProperties" in schema) == []
    assert broken(NODES, lambda schema: "x-kubernetes-preserve-unknown-fields" not in schema) == []


def test_every_integer_is_bounded_and_has_a_width() -> None:
    integers = [node for node in OWN if node.schema.get("type") == "integer"]
    assert broken(integers, lambda schema: schema.get("format") in ("int32", "int64")) == []
    in_spec = [node for node in integers if node.path.startswith(".spec")]
    assert broken(in_spec, lambda schema: "minimum" in schema and "maximum" in schema) == []


def test_every_field_is_described_in_a_sentence() -> None:
    fields = [node for node in NODES if node.path and not node.path.endswith("[]") and node.path != ".metadata"]
    assert len(fields) > 100
    sentence = broken(fields, lambda schema: schema.get("description", "").endswith("."))
    assert sentence == []
    assert broken(fields, lambda schema: "\n" not in schema["description"] and "  " not in schema["description"]) == []


def test_objects_have_fields() -> None:
    objects = [node for node in OWN if node.schema.get("type") == "object"]
    assert broken(objects, lambda schema: "properties" in schema or "additionalProperties" in schema) == []


def test_fields_are_written_in_camel_case() -> None:
    names = [name for node in OWN for name in node.schema.get("properties", {})]
    assert [name for name in names if not (name[0].islower() and name.isalnum())] == []


def test_enumerated_values_are_written_as_kubernetes_writes_them() -> None:
    in_spec = [node for node in OWN if "enum" in node.schema and node.path.startswith(".spec")]
    assert len(in_spec) > 8
    assert broken(in_spec, lambda schema: all(value[0].isupper() and value.isalnum() for value in schema["enum"])) == []


@pytest.mark.parametrize("kind", KINDS)
def test_status_is_the_operators_alone(kind: str) -> None:
    status = crdcheck.schema_of(kind)["properties"]["status"]
    assert "required" not in status
    assert "status" in version(kind)["subresources"]
    nodes = [node for node in OWN if node.path.startswith(".status")]
    assert broken(nodes, lambda schema: "default" not in schema) == []


@pytest.mark.parametrize("kind", KINDS)
def test_conditions_are_those_of_the_conventions(kind: str) -> None:
    conditions = crdcheck.schema_of(kind)["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    fields = {"type", "status", "reason", "message", "observedGeneration", "lastTransitionTime"}
    assert set(conditions["items"]["properties"]) == fields
    assert set(conditions["items"]["required"]) == fields


@pytest.mark.parametrize("kind", KINDS)
def test_only_spec_is_required(kind: str) -> None:
    assert crdcheck.schema_of(kind)["required"] == ["spec"]


@pytest.mark.parametrize("kind", KINDS)
def test_columns_show_readiness_and_age(kind: str) -> None:
    shown = [column for column in version(kind)["additionalPrinterColumns"] if not column.get("priority")]
    names = [column["name"] for column in shown]
    assert {"Ready", "Reason"} <= set(names)
    assert names[-1] == "Age"
    assert len(shown) <= 8
    paths = {node.path for node in NODES if node.kind == kind}
    plain = [c["jsonPath"] for c in version(kind)["additionalPrinterColumns"] if "[?" not in c["jsonPath"]]
    assert [path for path in plain if path not in paths | {".metadata.creationTimestamp"}] == []


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_those_of_the_design(kind: str) -> None:
    definition = crdcheck.definitions()[kind]
    names = definition["spec"]["names"]
    assert definition["metadata"]["name"] == f"{names['plural']}.{GROUP}"
    short = {"MLModel": "mlm", "ModelDeployment": "mdep", "ABTest": "abt", "RetrainSchedule": "rts"}
    assert names["shortNames"] == [short[kind]]
    assert names["categories"] == ["mlops"]
    assert definition["spec"]["scope"] == "Namespaced"
    assert [v["name"] for v in definition["spec"]["versions"] if v["storage"] and v["served"]] == ["v1alpha1"]


@pytest.mark.parametrize("kind", KINDS)
def test_definitions_stay_small(kind: str) -> None:
    assert len(json.dumps(crdcheck.definitions()[kind])) < LARGEST


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_is_broken_by_a_manifest_of_the_table(kind: str) -> None:
    messages = {rule["message"] for _, rule in crdcheck.rules(crdcheck.schema_of(kind))}
    rows = [row for row in samples.bad() if row.manifest["kind"] == kind]
    tried = {message for message in messages for row in rows if row.fix in message}
    assert messages - tried == set()
    assert all(len(message) < 200 and not message.endswith(".") for message in messages)
