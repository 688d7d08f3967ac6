"""Manifests as data, each with what is to become of it; every test of the API's shape walks the same tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from trimtab.core.objects import API_VERSION, Object

FOLDER = Path(__file__).parent


class Bad(NamedTuple):
    """A manifest to be refused, with what the message must say about where and how to mend it."""

    name: str
    manifest: Object
    where: str
    fix: str


class Good(NamedTuple):
    """A manifest to be taken, with what its spec must hold once defaults are in."""

    name: str
    manifest: Object
    becomes: Object


def bad() -> list[Bad]:
    """Every manifest that must be refused."""
    return [Bad(row["name"], _manifest(row), row["where"], row["fix"]) for row in _rows("bad_manifests.yaml")]


def good() -> list[Good]:
    """Every manifest that must be taken."""
    return [Good(row["name"], _manifest(row), row.get("becomes", {})) for row in _rows("good_manifests.yaml")]


def _rows(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = yaml.load((FOLDER / name).read_text(), yaml.CSafeLoader)
    names = [row["name"] for row in rows]
    twice = {item for item in names if names.count(item) > 1}
    if twice:
        raise ValueError(f"{name}: names that stand twice: {', '.join(sorted(twice))}")
    return rows


def _manifest(row: dict[str, Any]) -> Object:
    short = row.get("manifest") or {"kind": row["kind"], "metadata": {"name": "sample"}, "spec": row["spec"]}
    return {"apiVersion": API_VERSION, **short}
