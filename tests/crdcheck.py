"""Judges a manifest by a CustomResourceDefinition without an API server: defaults, schema, list maps, CEL.

It is how thousands of generated manifests can be judged in seconds. The same tables of good and bad manifests
go through this and through a real API server, so it cannot drift from the truth unnoticed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from decimal import InvalidOperation
from functools import cache, lru_cache
from typing import Any

import celpy
import celpy.adapter
import jsonschema_rs
import yaml
from celpy import celtypes
from celpy.evaluation import CELFunction

from hack import ROOT
from tests.copies import copied
from trimtab.core.divergence import quantity
from trimtab.core.objects import Object

Schema = Mapping[str, Any]
# One for all, and made on import: it raises the recursion limit, which nobody likes in the middle of a test.
ENVIRONMENT = celpy.Environment()


@cache
def definitions() -> Mapping[str, Object]:
    """The generated definitions as they lie in crds/, by kind."""
    loaded = [yaml.load(path.read_text(), yaml.CSafeLoader) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    return {crd["spec"]["names"]["kind"]: crd for crd in loaded}


def schema_of(kind: str) -> Schema:
    """The structural schema of a kind."""
    (version,) = definitions()[kind]["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def violations(manifest: Object) -> list[str]:
    """What is wrong with a manifest, each with its place; rules are looked at only if the schema is met."""
    schema, value = schema_of(manifest["kind"]), defaulted(manifest)
    errors = _validator(manifest["kind"]).iter_errors(value)
    found = [f"{_place(error.instance_path)}: {error.message}" for error in errors]
    found += _duplicates(schema, value, "")
    return found or list(_broken(schema, value, ""))


def defaulted(manifest: Object) -> Object:
    """The manifest with the schema's defaults filled in, as the API server does before it validates."""
    return _default(schema_of(manifest["kind"]), copied(manifest))


def rules(node: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every CEL rule below a schema, with the path of the schema it stands in."""
    for item in node.get("x-kubernetes-validations", ()):
        yield path, item
    for name, child in node.get("properties", {}).items():
        yield from rules(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), Mapping):
            yield from rules(node[key], f"{path}[]")


def _default(node: Schema, value: Any) -> Any:
    if isinstance(value, dict):
        for name, child in node.get("properties", {}).items():
            if name not in value and "default" in child:
                value[name] = copied(child["default"])
            if name in value:
                value[name] = _default(child, value[name])
        extra = node.get("additionalProperties", {})
        return {k: v if k in node.get("properties", {}) else _default(extra, v) for k, v in value.items()}
    if isinstance(value, list):
        return [_default(node.get("items", {}), item) for item in value]
    return value


@cache
def _validator(kind: str) -> jsonschema_rs.Draft202012Validator:
    """Of the schema as JSON Schema that refuses unknown fields, as a strict API server does."""
    return jsonschema_rs.Draft202012Validator(_close(schema_of(kind)))


def _close(node: Schema) -> Schema:
    out = {key: value for key, value in node.items() if not key.startswith("x-")}
    if node.get("x-kubernetes-int-or-string"):
        out["type"] = ["integer", "string"]
    if "properties" in node:
        out["properties"] = {name: _close(child) for name, child in node["properties"].items()}
        out["additionalProperties"] = False
    elif isinstance(node.get("additionalProperties"), Mapping):
        out["additionalProperties"] = _close(node["additionalProperties"])
    if "items" in node:
        out["items"] = _close(node["items"])
    return out


def _duplicates(node: Schema, value: Any, path: str) -> list[str]:
    found = []
    if isinstance(value, dict):
        for name, child in node.get("properties", {}).items():
            found += _duplicates(child, value.get(name), f"{path}.{name}")
    if isinstance(value, list) and node.get("x-kubernetes-list-type") == "map":
        keys = [tuple(item.get(key) for key in node["x-kubernetes-list-map-keys"]) for item in value]
        found += [f"{path}: duplicate entries for key {key}" for key in set(keys) if keys.count(key) > 1]
    return found


def _broken(node: Schema, value: Any, path: str) -> Iterator[str]:
    for item in node.get("x-kubernetes-validations", ()):
        if not evaluate(item["rule"], value):
            yield f"{path}: {item['message']}"
    if isinstance(value, dict):
        for name, child in value.items():
            inner = node.get("properties", {}).get(name, node.get("additionalProperties"))
            if isinstance(inner, Mapping):
                yield from _broken(inner, child, f"{path}.{name}")
    if isinstance(value, list) and "items" in node:
        for index, child in enumerate(value):
            yield from _broken(node["items"], child, f"{path}[{index}]")


def evaluate(rule: str, value: Any) -> bool:
    """The verdict of one CEL rule on a value; CELEvalError where the rule cannot be applied to it."""
    return _verdict(rule, json.dumps(value, sort_keys=True))


@lru_cache(8_192)
def _verdict(rule: str, text: str) -> bool:
    """Remembered: a test that judges every write judges mostly what it has judged before."""
    return bool(_program(rule).evaluate({"self": celpy.adapter.json_to_cel(json.loads(text))}))


@cache
def _program(rule: str) -> celpy.Runner:
    return ENVIRONMENT.program(ENVIRONMENT.compile(rule), functions=LIBRARY)


def _quantity(text: str) -> celtypes.DoubleType:
    """Not a number where the text is no quantity: both sides of an `||` are evaluated, so it must not raise."""
    try:
        return celtypes.DoubleType(float(quantity(str(text))))
    except InvalidOperation:
        return celtypes.DoubleType("nan")


# What Kubernetes adds to CEL and the rules use.
LIBRARY: dict[str, CELFunction] = {
    "isQuantity": lambda text: celtypes.BoolType(not math.isnan(_quantity(text))),
    "quantity": _quantity,
    "compareTo": lambda one, other: celtypes.IntType((one > other) - (one < other)),
    "isSorted": lambda items: celtypes.BoolType(list(items) == sorted(items)),
    "sum": lambda items: celtypes.IntType(sum(items)),
    "lowerAscii": lambda text: celtypes.StringType(str(text).lower()),
}


def _place(path: Any) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
