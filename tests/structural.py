"""Judges a value by a structural schema, in a tenth of the time a validator of all of JSON Schema takes.

It knows the keywords that our definitions use; the schema of a kind that uses another is refused. Tests break every
bound of every field, and a real API server comes to the same verdicts, so none of them is passed over unnoticed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
TYPES: Mapping[str, type] = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
Test = Callable[[Any, Any], bool]
ENUM: Mapping[str, Test] = {"enum": lambda value, known: value not in known}
# A bound holds for the values that can have it: a number that may also be a text has no length.
BROKEN: Mapping[type, Mapping[str, Test]] = {
    str: {
        **ENUM,
        "pattern": lambda value, pattern: re.search(pattern, value) is None,
        "minLength": lambda value, limit: len(value) < limit,
        "maxLength": lambda value, limit: len(value) > limit,
    },
    int: {
        **ENUM,
        "minimum": lambda value, limit: value < limit,
        "maximum": lambda value, limit: value > limit,
    },
    list: {
        "minItems": lambda value, limit: len(value) < limit,
        "maxItems": lambda value, limit: len(value) > limit,
    },
    dict: {
        "maxProperties": lambda value, limit: len(value) > limit,
        "required": lambda value, names: any(name not in value for name in names),
    },
    bool: ENUM,
}
BOUNDS = {keyword for tests in BROKEN.values() for keyword in tests}
# What holds others, and what says nothing of the value (`format` is only told, as by the API server).
OTHERS = {"type", "properties", "items", "additionalProperties", "description", "default", "format"}


def check(node: Schema, path: str = "") -> None:
    """Raise ValueError where a schema uses a keyword that is not known here."""
    if unknown := [key for key in node if key not in BOUNDS | OTHERS and not key.startswith("x-")]:
        raise ValueError(f"{path or 'the schema'} uses {', '.join(unknown)}: teach tests/structural.py what that means")
    for name, child in node.get("properties", {}).items():
        check(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), Mapping):
            check(node[key], f"{path}[]")


def breaches(node: Schema, value: Any, path: str = "") -> Iterator[str]:
    """What is wrong with a value, each with its place; a field that is not in the schema is wrong, too."""
    if not _is_of(node, value):
        yield f"{path}: {value!r} is no {node.get('type', 'integer or string')}"
        return
    tests = BROKEN[type(value)]
    for key, given in node.items():
        if key in tests and tests[key](value, given):
            yield f"{path}: {value!r} breaks {key} {given!r}"
    if isinstance(value, dict):
        yield from _fields(node, value, path)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from breaches(node["items"], item, f"{path}[{index}]")


def _is_of(node: Schema, value: Any) -> bool:
    wanted = (int, str) if node.get("x-kubernetes-int-or-string") else TYPES[node["type"]]
    return isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))


def _fields(node: Schema, value: Mapping[str, Any], path: str) -> Iterator[str]:
    known, others = node.get("properties", {}), node.get("additionalProperties")
    for name, child in value.items():
        inner = known.get(name, others)
        if isinstance(inner, Mapping):
            yield from breaches(inner, child, f"{path}.{name}")
        elif known:
            yield f"{path}.{name}: there is no such field"
