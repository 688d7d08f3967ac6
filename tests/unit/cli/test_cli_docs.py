"""docs/cli.md shows what the commands print, and the commands do what it shows."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from hack import ROOT
from tests.unit.cli.objects import counted
from trimtab.cli.commands import main

PAGE = (ROOT / "docs" / "cli.md").read_text()
SHOWN = [
    shlex.split(line.split(" | ")[0].split(" > ")[0].split(" < ")[0].split(" #")[0])[2:]
    for line in re.findall(r"^ {4}(kubectl trimtab .*)$", PAGE, re.MULTILINE)
]


def test_the_lines_shown_for_explain_are_those_it_prints(tmp_path: Path) -> None:
    file = tmp_path / "abt.json"
    file.write_text(json.dumps(counted()))
    printed = CliRunner().invoke(main, ["explain", "-f", str(file)]).stdout.splitlines()
    block = next(part for part in PAGE.split("```") if part.startswith("\nQuestion:"))
    lines = [line for line in block.splitlines() if line]
    assert len(lines) > 6
    assert [line for line in lines if line not in printed] == []


@pytest.mark.parametrize("words", SHOWN, ids=" ".join)
def test_each_command_shown_has_options_that_exist(words: list[str]) -> None:
    result = CliRunner().invoke(main, [*words, "--help"])
    assert result.exit_code == 0, result.output
    known = set(re.findall(r"(?<![\w-])--?[a-z]+", result.stdout))
    assert {word for word in words if word.startswith("-") and word != "-"} <= known


def test_every_command_is_described() -> None:
    assert [name for name in main.commands if not re.search(rf"^## .*\b{name}\b", PAGE, re.MULTILINE)] == []
