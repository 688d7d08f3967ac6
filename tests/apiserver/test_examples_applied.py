"""The examples before a real API server, which alone runs every rule of the definitions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hack import ROOT
from tests.argocd import PATCH
from tests.controlplane import ControlPlane
from trimtab.kinds import KINDS

OURS = "apiVersion: trimtab.dev/"
FOLDERS = sorted({path.parent for path in (ROOT / "examples").glob("*/*.yaml") if OURS in path.read_text()})
OTHER_SETTINGS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-cm, namespace: argocd}
data: {url: "https://argocd.example.com"}
"""


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
@pytest.mark.parametrize("how", [("apply",), ("apply", "--server-side")], ids=" ".join)
def test_an_example_is_accepted_as_it_stands(
    plane: ControlPlane, namespace: str, folder: Path, how: tuple[str, ...]
) -> None:
    done = plane.kubectl(*how, f"--filename={folder}", f"--namespace={namespace}", "--validate=strict")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(list(folder.glob("*.yaml")))
    assert done.stderr == ""


def test_the_health_scripts_join_what_argo_cd_already_has(plane: ControlPlane) -> None:
    assert plane.kubectl("create", "namespace", "argocd").returncode == 0
    assert plane.kubectl("apply", "--filename=-", stdin=OTHER_SETTINGS).returncode == 0
    where = ("configmap", "argocd-cm", "--namespace=argocd")
    done = plane.kubectl("patch", *where, "--type=merge", f"--patch-file={PATCH}")
    assert done.returncode == 0, done.stderr
    found = plane.kubectl("get", *where, "--output=json")
    data = json.loads(found.stdout)["data"]
    scripts = {key: text for key, text in data.items() if key.startswith("resource.customizations.health.trimtab.dev_")}
    assert {name.rpartition("_")[2] for name in scripts} == set(KINDS)
    assert len(set(scripts.values())) == 1
    # Server-side apply would have taken this away: kubectl hands over what an earlier apply owned, then prunes it.
    assert data["url"] == "https://argocd.example.com"


def test_the_patch_cannot_be_applied_by_mistake(plane: ControlPlane) -> None:
    done = plane.kubectl("apply", "--server-side", f"--filename={PATCH}")
    assert done.returncode != 0
    assert "kind not set" in done.stderr
