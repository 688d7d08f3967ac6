"""Programs from npm: installed once, as a whole, at exactly one version, and never by a script of their own."""

import re
from pathlib import Path

import pytest

from hack.cluster import nodejs, packages, paths
from hack.cluster.catalog import AZURITE, NodePackage
from hack.command import Failure

TOOL = NodePackage("tool", "1.2.3", "2025-01-31")
WORKS = """#!/bin/sh
echo "$@" >> "$CALLS"
while [ "$1" != --prefix ]; do shift; done
mkdir -p "$2/node_modules/.bin" && touch "$2/node_modules/.bin/tool"
"""
FAILS = """#!/bin/sh
while [ "$1" != --prefix ]; do shift; done
mkdir -p "$2/node_modules" && echo "no such version" >&2 && exit 1
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose PATH begins with programs of the test."""
    (tmp_path / "node").write_text("#!/bin/sh\n")
    (tmp_path / "node").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setattr(paths, "BIN", tmp_path / "cache" / "bin")
    monkeypatch.setattr(paths, "LOGS", tmp_path / "cache" / "logs")
    return tmp_path


def npm(machine: Path, script: str) -> None:
    (machine / "npm").write_text(script)
    (machine / "npm").chmod(0o755)


def test_a_package_is_installed_once(machine: Path) -> None:
    npm(machine, WORKS)
    first = nodejs.ensure(TOOL, "tool")
    assert first == nodejs.ensure(TOOL, "tool")
    assert first.relative_to(paths.BIN).as_posix() == "tool-1.2.3/node_modules/.bin/tool"
    assert first.is_file()
    (call,) = (machine / "calls").read_text().splitlines()
    assert call.startswith("install tool@1.2.3 ")
    assert {"--ignore-scripts", "--no-save", "--before=2025-01-31"} <= set(call.split())


def test_what_was_not_installed_leaves_nothing_and_is_quoted(machine: Path) -> None:
    (paths.BIN / ".npm-tool-killed" / "node_modules").mkdir(parents=True)
    npm(machine, FAILS)
    with pytest.raises(Failure, match=r"(?s)npm install tool@1\.2\.3.*no such version"):
        nodejs.ensure(TOOL, "tool")
    assert [path.name for path in paths.BIN.iterdir()] == [".tool.lock"]
    npm(machine, WORKS)
    assert nodejs.ensure(TOOL, "tool").is_file()


def test_a_machine_without_node_is_told_what_it_lacks(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(machine))
    monkeypatch.setattr(packages, "locate", lambda program: None)
    with pytest.raises(Failure, match="this machine lacks nodejs, npm and apt-get"):
        nodejs.ensure(TOOL, "tool")


def test_the_catalog_pins_a_version_and_a_day() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", AZURITE.version)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", AZURITE.before)
