"""pydantic models → structural schemas → CustomResourceDefinitions.

A structural schema (KEP-1979, "structural schemas" in the API documentation) is narrower than JSON Schema:
no `$ref`, no `null`, no `anyOf` around types, no `additionalProperties: false`. Whatever cannot be said in it is
an error here, at generation time, and never a silently weaker schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from trimtab.core.objects import GROUP, VERSION

DROPPED = frozenset({"title", "$defs"})


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
    categories: Sequence[str] = field(default=("mlops",))


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of a model; ValueError names what cannot be expressed."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(raw, raw.get("$defs", {}), (model.__name__,))


def _convert(node: Mapping[str, Any], defs: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    node = _inline(node, defs, path)
    if len(path) > 24:
        raise ValueError(f"{'.'.join(path)}: recursive types have no structural schema")
    if "prefixItems" in node or ("type" not in node and "x-kubernetes-int-or-string" not in node):
        raise ValueError(
            f"{'.'.join(path)}: tuples and untyped values have no structural schema: {dict(node)}"
        )
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
    return out


def _inline(node: Mapping[str, Any], defs: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    """Resolve `$ref` and `T | None`: whatever stands beside the reference wins over what it refers to."""
    if "x-kubernetes-int-or-string" in node:
        return {key: value for key, value in node.items() if key != "anyOf"}
    while "$ref" in node or "anyOf" in node or "allOf" in node:
        rest = {k: v for k, v in node.items() if k not in ("$ref", "anyOf", "allOf")}
        if "$ref" in node:
            target = defs[node["$ref"].rpartition("/")[2]]
        else:
            options = [o for o in (node.get("anyOf") or node["allOf"]) if o.get("type") != "null"]
            if len(options) != 1:
                raise ValueError(f"{'.'.join(path)}: a union has no structural schema")
            target = options[0]
            if rest.get("default", ...) is None:
                rest.pop("default")
        node = {**target, **rest}
    return node


def crd(definition: Definition) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind."""
    names = definition.names
    subresources: dict[str, Any] = {"status": {}}
    if definition.scale:
        subresources["scale"] = dict(definition.scale)
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
                "categories": list(definition.categories),
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": subresources,
                    "additionalPrinterColumns": [_column(c) for c in definition.columns],
                    "schema": {"openAPIV3Schema": _root(definition)},
                }
            ],
        },
    }


def _column(column: Column) -> dict[str, Any]:
    body = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return {**body, "priority": column.priority} if column.priority else body


def _root(definition: Definition) -> dict[str, Any]:
    root = {
        "type": "object",
        "description": definition.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(definition.spec),
            "status": structural(definition.status),
        },
    }
    return {**root, "x-kubernetes-validations": list(definition.rules)} if definition.rules else root
