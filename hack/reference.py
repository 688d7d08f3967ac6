"""A reference page per kind, from the very schema the API server enforces: the two cannot disagree."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from hack import ROOT
from trimtab.core.objects import API_VERSION
from trimtab.core.schema import Definition, crd

Schema = Mapping[str, Any]


class Row(NamedTuple):
    """One field of the schema, by its dotted path."""

    path: str
    schema: Schema
    required: bool


def page(package: str, definition: Definition, examples: Path) -> str:
    """The page in Markdown; its examples are read from the folder `examples`."""
    root = crd(definition)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    names = definition.names
    parts = [
        f"<!-- Generated from operator/trimtab/kinds/{package}/api.py by `make generate`: edit that. -->",
        f"# {names.kind}",
        definition.description,
        f"`apiVersion: {API_VERSION}`, `kind: {names.kind}`; in kubectl `{names.plural}` or `{names.short}`. "
        f"`kubectl explain {names.short}.spec` says the same as this page.",
        *_example(names.kind, examples),
        "## Spec",
        "A field without a default that is not marked required may be left out.",
        _fields(root["properties"]["spec"], with_bounds=True),
        "## What is refused",
        "Beyond types and bounds, the API server refuses what breaks one of these rules, with the sentence given here.",
        _bullets(f"{place}: {message}" for place, message in rules(root)),
        "## Status",
        _fields(root["properties"]["status"], with_bounds=False),
        "## Conditions",
        _meanings(("Type", "Meaning"), _documented("conditions", names.kind)),
        "## Reasons",
        "The reason is one word for scripts; the message beside it says the same of this very object.",
        _meanings(("Reason", "Meaning, and what to do"), _documented("reasons", names.kind)),
        "## Columns of `kubectl get`",
        _columns(definition),
    ]
    return "\n\n".join(parts) + "\n"


def _documented(what: str, kind: str) -> dict[str, str]:
    """Conditions or reasons of a kind, its own first, and then those that all kinds share."""
    told = _reasons()[what]
    return {**told[kind], **told["both"]}


@cache
def _reasons() -> Mapping[str, Mapping[str, dict[str, str]]]:
    """Every condition and reason there is, as docs/reasons.yaml tells them."""
    told: Mapping[str, Mapping[str, dict[str, str]]] = yaml.safe_load((ROOT / "docs" / "reasons.yaml").read_text())
    return told


def rules(node: Schema, path: str = "") -> Iterator[tuple[str, str]]:
    """The CEL rules of a schema: the path they stand at, as code, and what they say to the user."""
    for item in node.get("x-kubernetes-validations", ()):
        yield f"`{path or 'metadata'}`", item["message"]
    for name, child in node.get("properties", {}).items():
        yield from rules(child, f"{path}.{name}" if path else name)
    for key, suffix in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(node.get(key), Mapping):
            yield from rules(node[key], path + suffix)


def rows(node: Schema, prefix: str = "") -> Iterator[Row]:
    """Every field below a schema, parents before children."""
    for name, child in node.get("properties", {}).items():
        path = prefix + name
        yield Row(path, child, name in node.get("required", ()))
        yield from rows(child, f"{path}.")
        yield from rows(child.get("items", {}), f"{path}[].")


def _fields(node: Schema, with_bounds: bool) -> str:
    heads = ("Field", "Type", "Default", "Bounds", "Meaning")
    table = [(f"`{r.path}`", _type(r.schema), _default(r), _bounds(r.schema), _text(r.schema)) for r in rows(node)]
    if with_bounds:
        return _table(heads, table)
    return _table((heads[0], heads[1], heads[4]), [(row[0], row[1], row[4]) for row in table])


def _type(node: Schema) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if node["type"] == "array":
        return f"list of {_type(node['items'])}"
    if isinstance(node.get("additionalProperties"), Mapping):
        return f"map of {_type(node['additionalProperties'])}"
    return str(node["type"])


def _default(row: Row) -> str:
    if row.required:
        return "*required*"
    return f"`{json.dumps(row.schema['default'])}`" if "default" in row.schema else ""


def _bounds(node: Schema) -> str:
    parts = []
    if "enum" in node:
        parts.append(", ".join(f"`{value}`" for value in node["enum"]))
    if "minimum" in node or "maximum" in node:
        parts.append(f"{node.get('minimum', '')} to {node.get('maximum', '')}".strip())
    for key, unit in (("maxLength", "characters"), ("maxItems", "entries"), ("maxProperties", "entries")):
        if key in node and "enum" not in node:
            parts.append(f"at most {node[key]} {unit}")
    return "; ".join(parts)


def _text(node: Schema) -> str:
    return str(node.get("description", ""))


def _example(kind: str, folder: Path) -> tuple[str, ...]:
    """The quickstart's object of this kind in full, and where there are more."""
    found = {path: text for path in sorted(folder.glob("**/*.yaml")) if (text := _document(path, kind))}
    if not found:
        return ()
    first = min(found, key=lambda path: (path.parent.name != "quickstart", path))
    parts = ["## Example", f"```yaml\n{found[first]}\n```"]
    if more := [f"`examples/{path.relative_to(folder)}`" for path in found if path != first]:
        parts.append(f"More: {', '.join(more)}.")
    return tuple(parts)


def _document(path: Path, kind: str) -> str:
    """The first document of a kind in a file, as it is written there; empty when there is none."""
    for text in path.read_text().split("\n---\n"):
        document = yaml.load(text, yaml.CSafeLoader)
        if isinstance(document, dict) and document.get("kind") == kind:
            return text.removeprefix("---\n").strip()
    return ""


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _columns(definition: Definition) -> str:
    shown = [(c.name, f"`{c.path}`", "with `-o wide`" if c.priority else "always") for c in definition.columns]
    return _table(("Column", "From", "Shown"), shown)


def _meanings(heads: Sequence[str], told: Mapping[str, str]) -> str:
    return _table(heads, [(f"`{word}`", meaning) for word, meaning in told.items()])


def _table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
