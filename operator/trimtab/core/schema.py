"""pydantic models → structural schemas → CustomResourceDefinitions.

A structural schema ("structural schemas" in the Kubernetes documentation) is narrower than JSON Schema:
no `$ref`, no `null`, no `anyOf` around types, no `additionalProperties: false`. Whatever cannot be said
in it is an error here, at generation time, and never a silently weaker schema.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from trimtab.core.objects import GROUP, VERSION

CATEGORY = "mlops"
DROPPED = frozenset({"title", "$defs"})
# The order in which a person reads a field; what is not named here stands between.
FIRST = ("description", "type", "format", "default", "enum")
LAST = ("required", "x-kubernetes-validations", "properties", "items", "additionalProperties")
BOUNDS = (
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)
KEYWORDS = frozenset((*FIRST, *LAST, *BOUNDS, "const", *DROPPED))
DEEPEST = 24
# The API server allows no description of `metadata`: it brings its own.
IDENTITY: dict[str, Any] = {
    "apiVersion": {"description": "The version of this API.", "type": "string"},
    "kind": {"description": "The name of this kind.", "type": "string"},
    "metadata": {"type": "object"},
}


@dataclass(frozen=True)
class Names:
    """How users call a kind."""

    kind: str
    plural: str
    short: str


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; priority 1 shows it only with `-o wide`."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0


READY = (
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
)
AGE = Column("Age", ".metadata.creationTimestamp", "date")


@dataclass(frozen=True)
class Definition:
    """Everything a CustomResourceDefinition is made of."""

    names: Names
    description: str
    spec: type[BaseModel]
    status: type[BaseModel]
    columns: Sequence[Column]
    rules: Sequence[Mapping[str, str]] = ()
    scale: Mapping[str, str] | None = None


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of a model; ValueError names what cannot be expressed."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(raw, raw.get("$defs", {}), (model.__name__,))


def without_defaults(node: Mapping[str, Any]) -> dict[str, Any]:
    """The same schema for a status: an observation nobody made must not appear by itself."""
    out = {key: value for key, value in node.items() if key != "default"}
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), Mapping):
            out[key] = without_defaults(node[key])
    if "properties" in node:
        out["properties"] = {name: without_defaults(child) for name, child in node["properties"].items()}
    return out


def _convert(node: Mapping[str, Any], defs: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    node = _inline(node, defs, path)
    _refuse(node, path)
    out = {key: value for key, value in node.items() if key not in DROPPED}
    if "const" in out:
        out["enum"] = [out.pop("const")]
    if "properties" in out:
        out.pop("additionalProperties", None)
        out["properties"] = {k: _convert(v, defs, (*path, k)) for k, v in node["properties"].items()}
    elif isinstance(node.get("additionalProperties"), Mapping):
        out["additionalProperties"] = _convert(node["additionalProperties"], defs, (*path, "*"))
    elif out.pop("additionalProperties", None) is True:
        out["x-kubernetes-preserve-unknown-fields"] = True
    if "items" in node:
        out["items"] = _convert(node["items"], defs, (*path, "[]"))
        out.setdefault("x-kubernetes-list-type", "atomic")
    return _tidy(out)


def _refuse(node: Mapping[str, Any], path: tuple[str, ...]) -> None:
    """ValueError for whatever would be lost, or refused by the API server, if it were written down."""
    place = ".".join(path)
    if len(path) > DEEPEST:
        raise ValueError(f"{place}: a type that contains itself has no structural schema")
    foreign = sorted(key for key in node if key not in KEYWORDS and not key.startswith("x-kubernetes-"))
    if foreign:
        raise ValueError(
            f"{place}: {', '.join(foreign)} cannot be said in a structural schema; use ge, le, or a CEL rule"
        )
    if "type" not in node and "x-kubernetes-int-or-string" not in node:
        raise ValueError(f"{place}: a field needs one type; name it in place of Any")
    if node.get("type") == "number":
        raise ValueError(f"{place}: floating point is read back differently; use whole percents, or a decimal string")


def _tidy(node: dict[str, Any]) -> dict[str, Any]:
    """The same schema in reading order, with what each part needs to be taken well by the API server."""
    if "description" in node:
        node["description"] = " ".join(node["description"].split())
    if isinstance(node.get("default"), dict):
        # What is left out by default is not there: a null would be refused.
        node["default"] = {key: value for key, value in node["default"].items() if value is not None}
    if node.get("type") == "integer":
        node.setdefault("format", "int64")
    # The API server skips CEL where a pattern fails: the bare pattern would hide the rule's sentence.
    if any(node.get("pattern", "\0") in item["rule"] for item in node.get("x-kubernetes-validations", ())):
        del node["pattern"]
    middle = [key for key in node if key not in FIRST and key not in LAST]
    return {key: node[key] for key in (*FIRST, *middle, *LAST) if key in node}


def _inline(node: Mapping[str, Any], defs: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    """Resolve `$ref` and `T | None`: whatever stands beside the reference wins over what it refers to."""
    if "x-kubernetes-int-or-string" in node:
        return {key: value for key, value in node.items() if key != "anyOf"}
    while "$ref" in node or "anyOf" in node:
        rest = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
        if "$ref" in node:
            target = defs[node["$ref"].rpartition("/")[2]]
        else:
            options = [option for option in node["anyOf"] if option.get("type") != "null"]
            if len(options) != 1:
                raise ValueError(
                    f"{'.'.join(path)}: a choice of types has no structural schema; use one struct per type"
                )
            target = options[0]
            if rest.get("default", ...) is None:
                rest.pop("default")
        node = {**target, **rest}
    return node


def crd(definition: Definition) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind."""
    names = definition.names
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.kind,
                "listKind": f"{names.kind}List",
                "plural": names.plural,
                "singular": names.kind.lower(),
                "shortNames": [names.short],
                "categories": [CATEGORY],
            },
            "versions": [_version(definition)],
        },
    }


def _version(definition: Definition) -> dict[str, Any]:
    subresources: dict[str, Any] = {"status": {}}
    if definition.scale:
        subresources["scale"] = dict(definition.scale)
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": subresources,
        "additionalPrinterColumns": [_column(column) for column in definition.columns],
        "schema": {"openAPIV3Schema": _root(definition)},
    }


def _column(column: Column) -> dict[str, Any]:
    body = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return {**body, "priority": column.priority} if column.priority else body


def _root(definition: Definition) -> dict[str, Any]:
    root = {
        "description": definition.description,
        "type": "object",
        "required": ["spec"],
        "x-kubernetes-validations": [dict(item) for item in definition.rules],
        "properties": {
            **copy.deepcopy(IDENTITY),
            "spec": structural(definition.spec),
            "status": without_defaults(structural(definition.status)),
        },
    }
    return root if definition.rules else {k: v for k, v in root.items() if k != "x-kubernetes-validations"}
