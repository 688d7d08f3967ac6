"""What the chart renders is valid Kubernetes, in every shape the values allow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.chart import CHART, EVERYTHING, VALUES, RefusedError, names, one, pod_specs, render, run_helm
from tests.kubernetes_schema import validate_strictly
from tests.yaml_keys import repeated

OLDEST = yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"].removeprefix(">=").removesuffix(".0-0")
# Kinds of other projects: not part of Kubernetes, so not among its schemas.
FOREIGN = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_lint_finds_nothing(values: dict[str, Any]) -> None:
    assert "0 chart(s) failed" in run_helm("lint", "--strict", str(CHART), values=values)


@pytest.mark.parametrize("version", [OLDEST, "1.34", kubernetes_validate.latest_version()])
def test_every_object_is_valid_strictly(version: str) -> None:
    seen: set[str] = set()
    for values in VALUES.values():
        for document in render(values):
            text = json.dumps(document, sort_keys=True)
            if document["kind"] in FOREIGN or text in seen:
                continue
            seen.add(text)
            validate_strictly(document, version)
    assert len(seen) > 40


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_objects_are_named_once_and_labelled(values: dict[str, Any]) -> None:
    objects = render(values)
    keys = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    assert len(keys) == len(set(keys))
    for o in objects:
        if o["kind"] == "CustomResourceDefinition":
            continue
        assert o["metadata"]["labels"]["app.kubernetes.io/instance"] == "trimtab"
        assert ("namespace" in o["metadata"]) is (o["kind"] not in CLUSTER_WIDE)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_no_key_is_rendered_twice(values: dict[str, Any]) -> None:
    text = run_helm("template", "trimtab", str(CHART), values={**values, "crds": {"enabled": False}})
    assert "kind: Deployment" in text
    assert repeated(text) == []


def test_common_labels_are_on_all_objects_and_pods_and_in_no_selector() -> None:
    objects = render(EVERYTHING)
    for o in objects:
        if o["kind"] == "CustomResourceDefinition":
            continue
        assert o["metadata"]["labels"]["cost-center"] == "007", o["metadata"]["name"]
        assert "cost-center" not in json.dumps(o["spec"].get("selector", {}) if "spec" in o else {})
        template = o.get("spec", {}).get("template")
        assert template is None or template["metadata"]["labels"]["cost-center"] == "007"
    teams = {
        name: one(objects, "Deployment", f"trimtab-tt-{name}")["spec"]["template"]["metadata"]["labels"]["team"]
        for name in ("operator", "mlflow")
    }
    assert teams == {"operator": "ml", "mlflow": "platform"}, "what is said of one pod goes before what is said of all"


def test_names_and_labels_that_look_like_numbers_stay_text() -> None:
    objects = render({"fullnameOverride": "ml"}, release="123", namespace="456")
    operator = one(objects, "Deployment", "ml-operator")
    assert operator["metadata"]["namespace"] == "456"
    assert operator["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == "123"


@pytest.mark.parametrize(
    ("release", "values", "prefix"),
    [
        ("trimtab", {}, "trimtab"),
        ("my-trimtab", {}, "my-trimtab"),
        ("ml", {}, "ml-trimtab"),
        ("ml", {"nameOverride": "models"}, "ml-models"),
        ("ml", {"fullnameOverride": "tt"}, "tt"),
    ],
)
def test_prefix_of_names(release: str, values: dict[str, Any], prefix: str) -> None:
    assert f"Deployment/{prefix}-operator" in names(render(values, release=release))


def test_the_longest_release_name_gives_valid_names() -> None:
    for o in render({}, release="r" * 53):
        assert len(o["metadata"]["name"]) <= 63


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_selectors_find_exactly_their_own_pods(values: dict[str, Any]) -> None:
    objects = render(values)
    labels = {
        o["metadata"]["name"]: o["spec"]["template"]["metadata"]["labels"] for o in objects if o["kind"] == "Deployment"
    }
    for o in objects:
        if o["kind"] in {"Service", "Deployment", "PodDisruptionBudget", "NetworkPolicy"}:
            selector = o["spec"].get("selector") or o["spec"]["podSelector"]
            wanted = selector.get("matchLabels", selector).items()
            found = [name for name, have in labels.items() if wanted <= have.items()]
            component = o["metadata"]["labels"]["app.kubernetes.io/component"]
            assert len(found) == 1
            assert found[0].endswith(component)


def test_service_ports_lead_to_container_ports() -> None:
    objects = render(EVERYTHING)
    ports = {
        name.partition("-tt-")[2]: {port["name"] for port in pod["containers"][0].get("ports", [])}
        for name, pod in pod_specs(objects).items()
    }
    for service in (o for o in objects if o["kind"] == "Service"):
        component = service["metadata"]["labels"]["app.kubernetes.io/component"]
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports[component]


def test_custom_resource_definitions_come_with_the_release_and_outlive_it() -> None:
    wanted = {path.name.partition("_")[2].removesuffix(".yaml") for path in (CHART.parents[1] / "crds").glob("*.yaml")}
    assert wanted == {"mlmodels", "modeldeployments", "abtests", "retrainschedules"}
    kept = [o for o in render({}) if o["kind"] == "CustomResourceDefinition"]
    assert {o["spec"]["names"]["plural"] for o in kept} == wanted
    assert all(o["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for o in kept)
    given_up = [o for o in render({"crds": {"keep": False}}) if o["kind"] == "CustomResourceDefinition"]
    assert len(given_up) == len(kept)
    assert all("annotations" not in o["metadata"] for o in given_up)
    assert not [o for o in render({"crds": {"enabled": False}}) if o["kind"] == "CustomResourceDefinition"]


def test_an_upgrade_of_the_chart_alone_restarts_no_pod(tmp_path: Path) -> None:
    newer = tmp_path / "trimtab"
    shutil.copytree(CHART, newer)
    about = yaml.safe_load((newer / "Chart.yaml").read_text())
    (newer / "Chart.yaml").write_text(yaml.safe_dump({**about, "version": "99.0.0"}))
    before, after = render({}), render({}, chart=newer)
    assert before != after
    for name in ("trimtab-operator", "trimtab-mlflow"):
        templates = [one(objects, "Deployment", name)["spec"]["template"] for objects in (before, after)]
        assert templates[0] == templates[1]


def test_nothing_waits_for_a_finalizer_or_a_hook_on_uninstall() -> None:
    for o in render(EVERYTHING):
        assert "finalizers" not in o["metadata"]
        hook = o["metadata"].get("annotations", {}).get("helm.sh/hook")
        assert hook in {None, "test"}


def test_works_as_part_of_another_chart(tmp_path: Path) -> None:
    parent = tmp_path / "platform"
    shutil.copytree(CHART, parent / "charts" / "trimtab")
    about = {"apiVersion": "v2", "name": "platform", "version": "1.0.0"}
    (parent / "Chart.yaml").write_text(yaml.safe_dump(about))
    (parent / "templates").mkdir()
    objects = render({"trimtab": {"replicaCount": 3}, "global": {"team": "ml"}}, chart=parent)
    assert one(objects, "Deployment", "trimtab-operator")["spec"]["replicas"] == 3


def test_a_cluster_too_old_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"requires kubeVersion: >=1\.30\.0-0"):
        run_helm("template", "trimtab", str(CHART), "--kube-version", "1.29.9")


def test_a_chart_of_two_releases_shares_nothing() -> None:
    first, second = ({**VALUES["two namespaces"]}, {"crds": {"enabled": False}})
    shared = {
        (o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in render(first, release="a")
    } & {(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in render(second, release="b")}
    assert not shared
