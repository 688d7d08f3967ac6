"""One manifest for each bound of the schema, valid but for the breach of that bound.

Whoever adds a field gets its tests with it: the breaches follow from the schema, and a sample that
leaves the new field out is itself an error.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests import crdcheck, samples
from trimtab.core.objects import Object

Path = tuple[str | int, ...]
WRONG_TYPE: Mapping[str, Any] = {"string": 1, "integer": "one", "boolean": "yes", "array": "one", "object": "one"}


class Breach(NamedTuple):
    """A manifest that breaks one bound, the field it stands at, and words of which the refusal must have one."""

    name: str
    manifest: Object
    field: str
    words: tuple[str, ...]


def breaches(kind: str) -> list[Breach]:
    """Every way to break the bounds of a kind's spec; ValueError when no full sample has a field.

    Fields that exclude each other take several samples.
    """
    full = [row for row in samples.good() if row.name.startswith("every field") and row.manifest["kind"] == kind]
    schema = crdcheck.schema_of(kind)["properties"]["spec"]
    found: dict[str, Breach] = {}
    covered: set[Path] = set()
    for row in full:
        for path, node in _fields(schema, row.manifest["spec"], ("spec",)):
            covered.add(path)
            for how, value, words in _values(node, _at(row.manifest, path)):
                name = f"{kind}.{_dotted(path)} {how}"
                found.setdefault(name, Breach(name, _changed(row.manifest, path, value), _field(path), words))
    if lacking := sorted(_dotted(path) for path in _paths(schema, ("spec",)) if path not in covered):
        raise ValueError(f"the samples with every field lack {', '.join(lacking)}")
    return list(found.values())


class Absent:
    """In place of a value: the field is left out."""


def _fields(node: crdcheck.Schema, value: Any, path: Path) -> Iterator[tuple[Path, crdcheck.Schema]]:
    for name, child in node.get("properties", {}).items():
        if name not in value:
            continue
        required = name in node.get("required", ())
        yield (*path, name), {**child, "x-required": required}
        yield from _fields(child, value[name], (*path, name))
    if "items" in node:
        yield from _fields(node["items"], value[0], (*path, 0))


def _paths(node: crdcheck.Schema, path: Path) -> Iterator[Path]:
    for name, child in node.get("properties", {}).items():
        yield (*path, name)
        yield from _paths(child, (*path, name))
    if "items" in node:
        yield from _paths(node["items"], (*path, 0))


def _values(node: crdcheck.Schema, value: Any) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    yield from _beyond_bounds(node)
    yield from _beyond_sizes(node, value)
    if node["x-required"]:
        yield "left out", Absent, ("Required value", "omits all key fields")
    yield "of the wrong type", WRONG_TYPE[node["type"]], ("expected ", "must be of type")


def _beyond_bounds(node: crdcheck.Schema) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    if "minimum" in node:
        yield "below its minimum", node["minimum"] - 1, (f"greater than or equal to {node['minimum']}",)
    if "maximum" in node:
        yield "above its maximum", node["maximum"] + 1, (f"less than or equal to {node['maximum']}",)
    if "maxLength" in node:
        yield "too long", "x" * (node["maxLength"] + 1), (f"may not be more than {node['maxLength']} bytes",)
    if "enum" in node:
        yield "not among its values", "Nonsense", (f'supported values: "{node["enum"][0]}"',)


def _beyond_sizes(node: crdcheck.Schema, value: Any) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    if "maxItems" in node:
        words = f"must have at most {node['maxItems']} items", "duplicate entries"
        yield "with too many entries", [value[0]] * (node["maxItems"] + 1), words
    if node.get("minItems"):
        yield "without entries", [], (f"should have at least {node['minItems']} items",)
    if "maxProperties" in node:
        many = {f"example.com/x{index}": next(iter(value.values())) for index in range(node["maxProperties"] + 1)}
        yield "with too many entries", many, (f"must have at most {node['maxProperties']} items",)


def _changed(manifest: Object, path: Path, value: Any) -> Object:
    changed = copy.deepcopy(manifest)
    parent = _at(changed, path[:-1])
    if value is Absent:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return changed


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _dotted(path: Path) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


def _field(path: Path) -> str:
    return next(str(key) for key in reversed(path) if isinstance(key, str))
