"""The chart and the operator agree: every setting, its bounds, and the names that roles are given for."""

from __future__ import annotations

from typing import Any

import pytest

from hack import generate
from tests.chart import EVERYTHING, EXTERNAL, VALUES, environment, one, render
from trimtab.core.objects import GROUP
from trimtab.runtime import leader
from trimtab.settings import PREFIX, Settings, load

POD = {"POD_NAME": "trimtab-operator-0", "POD_NAMESPACE": "trimtab-system"}
# Decided by the Deployment's ports and probes, not by a value.
FIXED = {"port", "xds_port"}
# Where things are is for the release to say.
PLACES = {"mlflow_tracking_uri", "router_image", "xds_address"}


def given(values: dict[str, Any]) -> dict[str, str]:
    """The operator's environment as the kubelet would fill it in."""
    (container,) = [
        o["spec"]["template"]["spec"]["containers"][0]
        for o in render(values)
        if o["kind"] == "Deployment" and o["metadata"]["name"].endswith("-operator")
    ]
    return environment(container) | POD


def test_each_variable_is_a_setting_and_each_setting_a_variable() -> None:
    variables = {name.removeprefix(PREFIX).lower() for name in given({})} - {"home"}
    assert variables == set(Settings.model_fields) - FIXED


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_the_operator_accepts_what_the_chart_renders(values: dict[str, Any]) -> None:
    settings = load(given(values))
    assert settings.pod_name == POD["POD_NAME"]
    assert settings.pod_namespace == POD["POD_NAMESPACE"]


def test_the_charts_defaults_are_the_operators() -> None:
    settings = load(given({}))
    for name, field in Settings.model_fields.items():
        if not field.is_required() and name not in {"pod_name", "pod_namespace", *PLACES}:
            assert getattr(settings, name) == field.default, name


def test_values_arrive() -> None:
    settings = load(given(EVERYTHING))
    assert settings.server_image == "registry.example.com/ml/trimtab-server:0.1.0"
    assert settings.job_secret_name == "store-credentials"
    assert load(given(EXTERNAL)).store_uri == "s3://models/trimtab"
    assert load(given(VALUES["two namespaces"])).watch_namespaces == ("team-a", "123")


@pytest.mark.parametrize("end", ["minimum", "maximum"])
def test_the_ends_of_the_schemas_ranges_are_within_the_operators(end: str) -> None:
    limits = {
        "minimum": {
            "maxConcurrentReconciles": 1,
            "retraining": {"maxConcurrentRuns": 0, "maxQueuedRuns": 1},
            "resyncSeconds": 10,
            "leaderElection": {"leaseDurationSeconds": 3, "renewDeadlineSeconds": 2, "retryPeriodSeconds": 1},
        },
        "maximum": {
            "maxConcurrentReconciles": 100,
            "retraining": {"maxConcurrentRuns": 10_000, "maxQueuedRuns": 10_000},
            "resyncSeconds": 86400,
            "leaderElection": {
                "leaseDurationSeconds": 3600,
                "renewDeadlineSeconds": 3599,
                "retryPeriodSeconds": 3598,
            },
        },
    }[end]
    settings = load(given(limits))
    assert settings.max_concurrent_reconciles == limits["maxConcurrentReconciles"]
    assert settings.resync_seconds == limits["resyncSeconds"]


def test_roles_are_given_for_the_lease_and_the_kinds_there_are() -> None:
    objects = render({})
    assert one(objects, "Role", "trimtab-leader")["rules"][1]["resourceNames"] == [leader.NAME]
    plurals = {definition.names.plural for definition in generate.definitions().values()}
    for role, part in (("operator", ""), ("operator", "/status"), ("operator", "/finalizers"), ("view", "")):
        rules = one(objects, "ClusterRole", f"trimtab-{role}")["rules"]
        named = {resource for rule in rules if rule["apiGroups"] == [GROUP] for resource in rule["resources"]}
        assert {plural + part for plural in plurals} <= named
