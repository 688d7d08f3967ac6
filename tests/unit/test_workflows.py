"""The workflows: valid, pinned to commits, with no rights to spare, and calling only targets that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.cluster import binaries

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.y*ml"))
IDS = [path.name for path in WORKFLOWS]


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def test_there_is_one() -> None:
    assert IDS == ["ci.yaml"]


def test_actionlint_finds_nothing() -> None:
    command: list[str | Path] = [binaries.ensure("actionlint")["actionlint"], "-no-color", *WORKFLOWS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", WORKFLOWS, ids=IDS)
def test_actions_are_pinned_to_a_commit_that_is_named(path: Path) -> None:
    lines = [line.strip() for line in path.read_text().splitlines() if re.search(r"\buses:", line)]
    assert lines
    assert [line for line in lines if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=IDS)
def test_jobs_may_only_read_and_must_end(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert "permissions" not in job, name
        assert 0 < job["timeout-minutes"] <= 60, name
    for step in steps(path):
        if "actions/checkout@" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=IDS)
def test_nothing_an_outsider_wrote_gets_into_a_script(path: Path) -> None:
    """A branch or a title can hold shell: expressions go through `env`, never into `run`."""
    assert [step["run"] for step in steps(path) if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=IDS)
def test_every_target_called_is_in_the_makefile(path: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = {target for step in steps(path) for target in re.findall(r"\bmake ([a-z][a-z0-9-]*)", step.get("run", ""))}
    assert called == {"check", "verify", "contract", "apiserver", "demo", "e2e"}
    assert called <= targets


@pytest.mark.parametrize("path", WORKFLOWS, ids=IDS)
def test_files_that_keys_of_caches_depend_on_exist(path: Path) -> None:
    text = path.read_text()
    named = re.findall(r"(?:cache-dependency-path|go-version-file): (\S+)", text)
    named += [name for group in re.findall(r"hashFiles\(([^)]*)\)", text) for name in re.findall(r"'([^']+)'", group)]
    assert named
    assert [name for name in named if not list(ROOT.glob(name))] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=IDS)
def test_what_is_kept_of_a_failed_run_has_objects_of_every_kind(path: Path) -> None:
    crds = [yaml.safe_load(text.read_text()) for text in sorted((ROOT / "crds").glob("*.yaml"))]
    assert len(crds) > 3
    assert all("mlops" in crd["spec"]["names"]["categories"] for crd in crds)
    (gather,) = [step["run"] for step in steps(path) if "cluster-state/" in step.get("run", "")]
    assert re.findall(r"kubectl get (\S+) .*> (\S+) ", gather) == [
        ("all,mlops,jobs,events", "cluster-state/objects.txt"),
        ("mlops", "cluster-state/kinds.yaml"),
    ]
