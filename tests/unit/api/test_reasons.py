"""Every condition and every reason that the code can give is told on the pages, and nothing else is."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from hack import ROOT

TOLD: dict[str, dict[str, dict[str, str]]] = yaml.safe_load((ROOT / "docs" / "reasons.yaml").read_text())
# The functions that take a reason, and the place of that argument.
REASON_AT = {
    "ready": 0, "progressing": 0, "failing": 0, "Condition": 2, "Trouble": 1,
    "Refused": 0, "RegistryError": 0, "_unresolved": 0, "Cause": 0, "ended": 2, "Hold": 0, "MlflowError": 0,
}  # fmt: skip
WORD = re.compile(r"[A-Z][A-Za-z0-9]+")
# Job controllers give these, and the operator passes them on when a pod left no words.
FROM_JOBS = {"DeadlineExceeded", "BackoffLimitExceeded", "PodFailurePolicy"}


@cache
def sources() -> list[tuple[Path, ast.Module]]:
    found = sorted((ROOT / "operator" / "trimtab").glob("**/*.py"))
    return [(path, ast.parse(path.read_text())) for path in found]


def words(node: ast.AST) -> set[str]:
    found = (item.value for item in ast.walk(node) if isinstance(item, ast.Constant) and isinstance(item.value, str))
    return {value for value in found if WORD.fullmatch(value)}


def reasons_in(tree: ast.Module) -> set[str]:
    """Constants in the place of a reason: in calls, and in what is assigned to or returned as one."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            place = REASON_AT.get(name)
            if place is not None and len(node.args) > place:
                found |= words(node.args[place])
        elif isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "reason" for target in node.targets):
            found |= words(node.value)
        elif isinstance(node, ast.FunctionDef) and node.name == "_reason":
            found |= {word for item in ast.walk(node) if isinstance(item, ast.Return) for word in words(item)}
    return found


def spoken_by_images() -> set[str]:
    """What the contract lets containers leave as their last words."""
    (paragraph,) = re.findall(r"^Failure reasons and exit codes: .*$", (ROOT / "docs/contract.md").read_text(), re.M)
    return {word for word in re.findall(r"`(\w+)`", paragraph) if WORD.fullmatch(word)}


def told(what: str) -> set[str]:
    return {word for group in TOLD[what].values() for word in group}


def test_every_reason_is_told_and_none_that_does_not_exist() -> None:
    given = FROM_JOBS | spoken_by_images()
    for _, tree in sources():
        given |= reasons_in(tree)
    assert len(given) > 40
    assert given - told("reasons") == set(), "describe these in docs/reasons.yaml"
    assert told("reasons") - given == set(), "these are in docs/reasons.yaml, but nothing gives them"


def test_every_condition_is_told_and_none_that_does_not_exist() -> None:
    given: set[str] = set()
    for _, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "Condition":
                given |= words(node.args[0])
    assert given == told("conditions")


def test_a_reason_that_all_kinds_share_is_told_once() -> None:
    for what in TOLD.values():
        assert set(what["both"]) & {word for kind, group in what.items() if kind != "both" for word in group} == set()


def test_meanings_are_sentences() -> None:
    meanings: list[Any] = [text for what in TOLD.values() for group in what.values() for text in group.values()]
    assert [text for text in meanings if not isinstance(text, str) or not text.endswith(".") or "\n" in text] == []


def test_the_collector_finds_reasons_wherever_they_may_stand() -> None:
    tree = ast.parse(
        "yield Condition('Ready', 'True', 'One', 'm')\n"
        "conditions.failing('Two', f'{x}')\n"
        "reason = 'Three' if x else 'Four'\n"
        "def _reason(e):\n    return 'Five'\n"
        "print('NotAReason')\n"
    )
    assert reasons_in(tree) == {"One", "Two", "Three", "Four", "Five"}
