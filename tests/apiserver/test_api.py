"""The two kinds as a real API server serves them: defaults, columns, scale, status, merging."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hack import ROOT
from tests import samples
from tests.apiclient import Answer, apply, path_of, send
from tests.controlplane import ControlPlane
from trimtab.core.divergence import contains
from trimtab.core.objects import Object
from trimtab.kinds import KINDS

STORED = sorted((samples.FOLDER / "stored").glob("*.yaml"))
DEPLOYMENT: Object = {
    "apiVersion": "trimtab.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "sample"},
    "spec": {"model": {"name": "m"}},
}


@pytest.mark.parametrize("row", samples.good(), ids=lambda row: row.name)
def test_good_manifests_are_taken_and_defaulted_as_the_operator_would(plane: ControlPlane, row: samples.Good) -> None:
    answer = apply(plane, row.manifest, "default", dryRun="All", force="true")
    assert answer.status in (200, 201), answer.message
    assert contains(answer.body["spec"], row.becomes)
    parse = KINDS[row.manifest["kind"]].parse
    assert parse(answer.body).spec == parse({**row.manifest, "metadata": {}}).spec


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("**/*.yaml")), ids=lambda path: path.parent.name)
def test_examples_are_taken(plane: ControlPlane, path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        if document.get("kind") in KINDS:
            answer = apply(plane, document, "default", dryRun="All", force="true")
            assert answer.status in (200, 201), answer.message


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_what_releases_stored_stays_writable_and_readable(plane: ControlPlane, namespace: str, path: Path) -> None:
    stored = yaml.safe_load(path.read_text())
    spec = {key: value for key, value in stored.items() if key != "status"}
    assert apply(plane, spec, namespace).status == 201
    answer = apply(plane, {**spec, "status": stored["status"]}, namespace, "status")
    assert answer.status == 200, answer.message
    # Fields that came later are filled in with their defaults; nothing that was stored changes.
    assert contains(answer.body["spec"], stored["spec"])
    assert answer.body["status"] == stored["status"]
    parsed = KINDS[stored["kind"]].parse(answer.body)
    assert contains(parsed.status.dump(), stored["status"])


def test_status_is_not_filled_in_by_anyone_but_the_operator(plane: ControlPlane, namespace: str) -> None:
    with_status = {**DEPLOYMENT, "status": {"url": "http://forged"}}
    assert "status" not in apply(plane, with_status, namespace).body
    answer = apply(plane, {**DEPLOYMENT, "status": {"observedGeneration": 1}}, namespace, "status")
    assert answer.body["status"] == {"observedGeneration": 1}
    assert answer.body["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"unknown": 1}, ".status.unknown: field not declared in schema"),
        ({"revisions": [{"name": "a"}]}, "status.revisions[0].digest: Required value"),
        ({"replicas": -1}, "should be greater than or equal to 0"),
    ],
)
def test_a_status_that_does_not_fit_the_schema_is_refused(
    plane: ControlPlane, namespace: str, status: Object, words: str
) -> None:
    apply(plane, DEPLOYMENT, namespace)
    answer = apply(plane, {**DEPLOYMENT, "status": status}, namespace, "status")
    assert answer.status >= 400
    assert words in answer.message


def test_two_managers_own_their_variables_each(plane: ControlPlane, namespace: str) -> None:
    def env(manager: str, *names: str) -> Answer:
        entries = [{"name": name, "value": "1"} for name in names]
        return apply(
            plane, {**DEPLOYMENT, "spec": {"model": {"name": "m"}, "env": entries}}, namespace, manager=manager
        )

    assert env("a", "A", "B").status == 201
    assert {item["name"] for item in env("b", "C").body["spec"]["env"]} == {"A", "B", "C"}
    assert {item["name"] for item in env("a", "A").body["spec"]["env"]} == {"A", "C"}


def test_an_unchanged_apply_changes_nothing(plane: ControlPlane, namespace: str) -> None:
    first = apply(plane, DEPLOYMENT, namespace).body["metadata"]["resourceVersion"]
    assert apply(plane, DEPLOYMENT, namespace).body["metadata"]["resourceVersion"] == first


def test_kubectl_scale_sets_replicas_and_autoscalers_find_pods(plane: ControlPlane, namespace: str) -> None:
    apply(plane, DEPLOYMENT, namespace)
    status = {"replicas": 1, "selector": "trimtab.dev/deployment=sample"}
    apply(plane, {**DEPLOYMENT, "status": status}, namespace, "status")
    done = plane.kubectl("scale", "mdep/sample", "--replicas=3", "--namespace", namespace)
    assert done.returncode == 0, done.stderr
    scale = send(plane, "GET", path_of(DEPLOYMENT, namespace, "scale")).body
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == status
    refused = plane.kubectl("scale", "mdep/sample", "--replicas=1001", "--namespace", namespace)
    assert "should be less than or equal to 1000" in refused.stderr


def test_kubectl_get_shows_both_kinds_at_a_glance(plane: ControlPlane, namespace: str) -> None:
    for path in STORED:
        stored = yaml.safe_load(path.read_text())
        apply(plane, {key: value for key, value in stored.items() if key != "status"}, namespace)
        apply(plane, {key: stored[key] for key in ("apiVersion", "kind", "metadata", "status")}, namespace, "status")
    shown = plane.kubectl("get", "mlm,mdep", "--namespace", namespace).stdout
    lines = [line.split() for line in shown.splitlines() if line]
    assert lines[0] == ["NAME", "VERSION", "RUNTIME", "READY", "REASON", "AGE"]
    assert lines[1][:5] == ["mlmodel.trimtab.dev/credit-risk", "3", "onnx", "True", "Reconciled"]
    assert lines[2] == ["NAME", "MODEL", "VERSION", "PODS", "AVAILABLE", "READY", "REASON", "ROLLOUT", "AGE"]
    assert lines[3][:7] == [
        "modeldeployment.trimtab.dev/credit-risk",
        "credit-risk",
        "3",
        "2",
        "2",
        "True",
        "Reconciled",
    ]
    category = plane.kubectl("get", "mlops", "--namespace", namespace, "--output", "name").stdout
    assert len(category.split()) == 2


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("mlm.spec.source.uri", "models:/NAME@ALIAS"),
        ("mlm.status.revisions.parity", "How closely the converted model follows the original"),
        ("mdep.spec.autoscaling.minReplicas", "The least number of pods"),
        ("mdep.spec.env", "Further environment variables of the container that serves"),
    ],
)
def test_kubectl_explain_tells_what_the_source_tells(plane: ControlPlane, field: str, words: str) -> None:
    done = plane.kubectl("explain", field)
    assert done.returncode == 0, done.stderr
    assert words in " ".join(done.stdout.split())


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_the_definition_is_established_without_complaints(plane: ControlPlane, kind: Any) -> None:
    name = f"{kind.resource.plural}.{kind.resource.group}"
    crd = send(plane, "GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}").body
    conditions = {item["type"]: item["status"] for item in crd["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
