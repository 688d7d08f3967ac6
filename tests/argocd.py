"""What Argo CD would say of an object: the health scripts the chart ships, run in a Lua as bare as Argo CD's.

Unit tests feed it status objects of every case, the end-to-end tests the real ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lupa.lua51 import LuaRuntime

PATCH = Path(__file__).parents[1] / "charts/trimtab/files/argocd-health.yaml"
STATUSES = ("Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown")
# Argo CD opens the base, package and table libraries and no other; lupa opens all, and its own bridge to Python.
STRIP = """
getmetatable("").__index = nil
for _, name in ipairs({"string", "math", "io", "os", "debug", "coroutine", "bit", "jit", "python"}) do
  _G[name] = nil
end
"""


@dataclass(frozen=True)
class Health:
    """One verdict, as Argo CD shows it."""

    status: str
    message: str


def scripts() -> dict[str, str]:
    """The shipped scripts by `<group>/<Kind>`."""
    prefix = "resource.customizations.health."
    data: dict[str, str] = yaml.safe_load(PATCH.read_text())["data"]
    assert all(key.startswith(prefix) for key in data), f"{PATCH}: keys other than {prefix}*: {list(data)}"
    return {key.removeprefix(prefix).replace("_", "/"): script for key, script in data.items()}


def health(obj: Mapping[str, Any]) -> Health:
    """Judge one object; AssertionError where Argo CD would not accept the script's answer."""
    group = str(obj["apiVersion"]).partition("/")[0]
    script = scripts()[f"{group}/{obj['kind']}"]
    lua = LuaRuntime(register_eval=False, unpack_returned_tuples=True)
    lua.globals().obj = lua.table_from(obj, recursive=True)
    lua.execute(STRIP)
    answer = lua.execute(script)
    assert answer is not None, f"the script of {obj['kind']} returned nothing"
    verdict = Health(answer["status"], answer["message"])
    assert verdict.status in STATUSES, f"Argo CD does not know the status {verdict.status!r}"
    assert isinstance(verdict.message, str), f"Argo CD needs text for a message, not {verdict.message!r}"
    return verdict
