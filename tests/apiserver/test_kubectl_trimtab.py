"""`kubectl trimtab` against a real API server: what it reads, what it writes, and how it says what it may not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.apiclient import apply, path_of, send
from tests.controlplane import ControlPlane
from tests.unit.cli.objects import abtest, modeldeployment
from tests.unit.cli.test_cli_live_drift import drifting
from trimtab.cli.commands import main
from trimtab.core.metadata import ABORT, PROMOTE, ROLLOUT_PAUSED
from trimtab.core.objects import Object

Live = Callable[[Object], None]


@pytest.fixture
def live(plane: ControlPlane, namespace: str) -> Live:
    """Puts an object with its status into the namespace."""

    def put(obj: Object) -> None:
        bare = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": {"name": obj["metadata"]["name"]}}
        made = apply(plane, {**bare, "spec": obj["spec"]}, namespace)
        assert made.status == 201, made.message
        told = apply(plane, {**bare, "spec": obj["spec"], "status": obj["status"]}, namespace, "status")
        assert told.status == 200, told.message

    return put


def annotations(plane: ControlPlane, namespace: str, obj: Object) -> Mapping[str, str]:
    found: Mapping[str, str] = send(plane, "GET", path_of(obj, namespace)).body["metadata"].get("annotations", {})
    return found


def run(plane: ControlPlane, namespace: str, *words: str, kubeconfig: Path | None = None) -> Result:
    given = ["--kubeconfig", str(kubeconfig or plane.kubeconfig), "-n", namespace]
    return CliRunner().invoke(main, [*words, *given])


def done(plane: ControlPlane, namespace: str, *words: str) -> str:
    result = run(plane, namespace, *words)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_a_rollout_is_told_and_steered(plane: ControlPlane, namespace: str, live: Live) -> None:
    obj = modeldeployment()
    live(obj)
    assert "Stage:        Stepping, step 2 of 3, 25 % of the traffic" in done(
        plane, namespace, "explain", "mdep/tumour"
    )
    done(plane, namespace, "pause", "mdep/tumour")
    assert annotations(plane, namespace, obj) == {ROLLOUT_PAUSED: "true"}
    done(plane, namespace, "resume", "modeldeployments/tumour")
    assert annotations(plane, namespace, obj) == {}
    done(plane, namespace, "promote", "mdep/tumour")
    assert annotations(plane, namespace, obj) == {PROMOTE: "5e6f7a8b"}
    done(plane, namespace, "abort", "mdep/tumour", "--revision", "5e6f7a8b")
    assert annotations(plane, namespace, obj) == {ABORT: "5e6f7a8b"}


def test_drift_is_told_and_pods_are_looked_for(plane: ControlPlane, namespace: str, live: Live, tmp_path: Path) -> None:
    live(drifting())
    lines = done(plane, namespace, "drift", "mdep/tumour").splitlines()
    assert lines[0] == f"ModelDeployment {namespace}/tumour"
    assert "State:        Critical, in an episode at Critical since 2030-01-01T00:00:00Z" in lines
    page = tmp_path / "page.html"
    told: Any = json.loads(done(plane, namespace, "drift", "mdep/tumour", "--json", "--html", str(page)))
    assert (told["features"]["age"]["psi"], told["notes"]) == (0.63, ["no pod of revision 1a2b3c4d runs"])
    assert "no pod of revision 1a2b3c4d runs" in page.read_text()


def test_an_experiment_is_told_assigned_and_decided(plane: ControlPlane, namespace: str, live: Live) -> None:
    obj = abtest()
    live(obj)
    told: Any = json.loads(done(plane, namespace, "explain", "abt/credit", "-o", "json"))
    assert told["assignment"]["weights"] == "control=50,gbm=50/100"
    assert done(plane, namespace, "assign", "abt/credit", "anna") in ("anna\tcontrol\n", "anna\tgbm\n")
    done(plane, namespace, "promote", "abtest/credit", "--arm", "gbm")
    assert annotations(plane, namespace, obj) == {PROMOTE: "gbm"}
    done(plane, namespace, "abort", "abt/credit")
    assert annotations(plane, namespace, obj) == {ABORT: "0123456789"}


def test_what_is_not_there_or_not_allowed_is_said_in_a_line(plane: ControlPlane, namespace: str, live: Live) -> None:
    absent = run(plane, namespace, "abort", "mdep/nobody")
    assert absent.exit_code == 1
    assert absent.stderr == f"there is no mdep/nobody in namespace {namespace}; try -n, or kubectl get mdep -A\n"
    live(modeldeployment())
    guest = run(plane, namespace, "abort", "mdep/tumour", kubeconfig=plane.kubeconfig_for("guest"))
    assert (guest.exit_code, guest.stderr.count("\n")) == (1, 1)
    assert guest.stderr.startswith("the API server refuses (HTTP 403): modeldeployments.trimtab.dev")
    assert annotations(plane, namespace, modeldeployment()) == {}
