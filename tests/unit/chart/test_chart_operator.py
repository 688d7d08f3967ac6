"""The operator's Deployment: what it is told, and how it stays up."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart import EVERYTHING, EXTERNAL, environment, names, one, render

PROXY = "http://trimtab-mlflow.trimtab-system.svc:5000"


def operator(objects: list[dict[str, Any]], name: str = "trimtab-operator") -> dict[str, Any]:
    spec: dict[str, Any] = one(objects, "Deployment", name)["spec"]
    return spec


def told(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return environment(operator(objects)["template"]["spec"]["containers"][0])


def test_settings_with_the_embedded_mlflow() -> None:
    assert told(render({})) == {
        "POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}},
        "POD_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
        "HOME": "/tmp",
        "TRIMTAB_WATCH_NAMESPACES": "",
        "TRIMTAB_SERVER_IMAGE": "trimtab-server:0.1.0",
        "TRIMTAB_TOOLBOX_IMAGE": "trimtab-toolbox:0.1.0",
        "TRIMTAB_ROUTER_IMAGE": "trimtab-router:0.1.0",
        "TRIMTAB_XDS_ADDRESS": "trimtab-xds.trimtab-system.svc:18000",
        "TRIMTAB_IMAGE_PULL_POLICY": "IfNotPresent",
        "TRIMTAB_STORE_URI": f"{PROXY}/api/2.0/mlflow-artifacts/artifacts/trimtab",
        "TRIMTAB_MLFLOW_TRACKING_URI": PROXY,
        "TRIMTAB_PROMETHEUS_URI": "",
        "TRIMTAB_GATEWAY_API": "false",
        "TRIMTAB_NOTIFICATIONS_DIR": "",
        "TRIMTAB_JOB_SECRET_NAME": "",
        "TRIMTAB_MAX_CONCURRENT_RECONCILES": "10",
        "TRIMTAB_MAX_CONCURRENT_RUNS": "4",
        "TRIMTAB_MAX_QUEUED_RUNS": "100",
        "TRIMTAB_RESYNC_SECONDS": "600",
        "TRIMTAB_LEASE_DURATION_SECONDS": "15",
        "TRIMTAB_LEASE_RENEW_SECONDS": "10",
        "TRIMTAB_LEASE_RETRY_SECONDS": "2",
        "TRIMTAB_LOG_LEVEL": "INFO",
        "TRIMTAB_LOG_FORMAT": "json",
    }


def test_settings_with_an_external_mlflow_and_a_bucket() -> None:
    objects = render(EXTERNAL)
    settings = told(objects)
    assert settings["TRIMTAB_MLFLOW_TRACKING_URI"] == "https://mlflow.example.com"
    assert settings["TRIMTAB_STORE_URI"] == "s3://models/trimtab"
    assert settings["TRIMTAB_JOB_SECRET_NAME"] == "trimtab-jobs"
    container = operator(objects)["template"]["spec"]["containers"][0]
    # Not optional: a Secret that is missing keeps the pod from starting, and the pod says so.
    assert container["envFrom"] == [{"secretRef": {"name": "mlflow-reader"}}]


def test_channels_of_notifications_are_mounted_and_nothing_waits_for_them() -> None:
    objects = render({"notifications": {"secretName": "channels", "ports": [443, 587]}})
    folder = told(objects)["TRIMTAB_NOTIFICATIONS_DIR"]
    pod = operator(objects)["template"]["spec"]
    (mount,) = (m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "notifications")
    assert mount == {"name": "notifications", "mountPath": folder, "readOnly": True}
    (volume,) = (v for v in pod["volumes"] if v["name"] == "notifications")
    assert volume["secret"] == {"secretName": "channels", "optional": True}
    policy = one(objects, "NetworkPolicy", "trimtab-operator")["spec"]
    assert {"ports": [{"protocol": "TCP", "port": 443}, {"protocol": "TCP", "port": 587}]} in policy["egress"]


def test_without_channels_nothing_is_mounted_or_opened_for_them() -> None:
    objects = render({})
    pod = operator(objects)["template"]["spec"]
    assert [v["name"] for v in pod["volumes"]] == ["tmp"]
    policy = one(objects, "NetworkPolicy", "trimtab-operator")["spec"]
    assert {"ports": [{"protocol": "TCP", "port": 443}]} not in policy["egress"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_an_external_mlflow_keeps_the_models_too_unless_told_otherwise(slash: str) -> None:
    uri = "https://mlflow.example.com/tracking"
    settings = told(render({"mlflow": {"enabled": False, "trackingUri": uri + slash}}))
    assert settings["TRIMTAB_MLFLOW_TRACKING_URI"] == uri
    assert settings["TRIMTAB_STORE_URI"] == f"{uri}/api/2.0/mlflow-artifacts/artifacts/trimtab"


def test_without_mlflow_a_store_is_enough() -> None:
    objects = render({"mlflow": {"enabled": False}, "store": {"uri": "gs://models/"}})
    assert told(objects)["TRIMTAB_MLFLOW_TRACKING_URI"] == ""
    assert told(objects)["TRIMTAB_STORE_URI"] == "gs://models"
    assert len(one(objects, "NetworkPolicy", "trimtab-operator")["spec"]["egress"]) == 3


def test_values_become_settings() -> None:
    values = {
        "watchNamespaces": ["a", "b"],
        "image": {"pullPolicy": "Always"},
        "servingImage": {"repository": "server", "tag": "1"},
        "router": {"image": {"repository": "envoyproxy/envoy", "tag": "v1.36.2"}},
        "toolboxImage": {"repository": "toolbox", "digest": "sha256:" + "b" * 64},
        "maxConcurrentReconciles": 5,
        "retraining": {"maxConcurrentRuns": 0, "maxQueuedRuns": 7},
        "resyncSeconds": 60,
        "leaderElection": {"leaseDurationSeconds": 60, "renewDeadlineSeconds": 40, "retryPeriodSeconds": 5},
        "logLevel": "DEBUG",
        "logFormat": "text",
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    }
    settings = told(render(values))
    assert settings["TRIMTAB_WATCH_NAMESPACES"] == "a,b"
    assert settings["TRIMTAB_IMAGE_PULL_POLICY"] == "Always"
    assert settings["TRIMTAB_SERVER_IMAGE"] == "server:1"
    assert settings["TRIMTAB_ROUTER_IMAGE"] == "envoyproxy/envoy:v1.36.2"
    assert settings["TRIMTAB_TOOLBOX_IMAGE"] == "toolbox@sha256:" + "b" * 64
    numbers = {
        key: settings[f"TRIMTAB_{key}"]
        for key in (
            "MAX_CONCURRENT_RECONCILES",
            "MAX_CONCURRENT_RUNS",
            "MAX_QUEUED_RUNS",
            "RESYNC_SECONDS",
            "LEASE_DURATION_SECONDS",
            "LEASE_RENEW_SECONDS",
            "LEASE_RETRY_SECONDS",
        )
    }
    assert list(numbers.values()) == ["5", "0", "7", "60", "60", "40", "5"]
    assert settings["TRIMTAB_LOG_LEVEL"] == "DEBUG"
    assert settings["TRIMTAB_LOG_FORMAT"] == "text"
    assert settings["HTTPS_PROXY"] == "http://proxy:3128"


def test_images_by_registry_tag_and_digest() -> None:
    objects = render(EVERYTHING)
    images = {
        o["metadata"]["name"]: o["spec"]["template"]["spec"]["containers"][0]["image"]
        for o in objects
        if o["kind"] == "Deployment"
    }
    assert images == {
        "trimtab-tt-operator": "registry.example.com/ml/trimtab-operator@sha256:" + "a" * 64,
        "trimtab-tt-mlflow": "registry.example.com/ml/mlflow:v3",
    }


def test_a_drain_and_a_rollout_always_leave_an_operator() -> None:
    objects = render({})
    deployment = operator(objects)
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert one(objects, "PodDisruptionBudget", "trimtab-operator")["spec"]["minAvailable"] == 1
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert spread["labelSelector"]["matchLabels"].items() <= deployment["template"]["metadata"]["labels"].items()
    # It ends itself within 25 s of SIGTERM; the kubelet waits longer than that.
    assert deployment["template"]["spec"]["terminationGracePeriodSeconds"] > 25


def test_one_replica_makes_no_budget_that_would_block_drains() -> None:
    assert "PodDisruptionBudget/trimtab-operator" not in names(render({"replicaCount": 1}))


def test_probes_ask_what_they_are_for() -> None:
    (container,) = operator(render({}))["template"]["spec"]["containers"]
    paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert container["ports"] == [{"name": "http", "containerPort": 8080}, {"name": "xds", "containerPort": 18000}]


def test_placement_reaches_every_pod() -> None:
    objects = render(EVERYTHING)
    for name in ("trimtab-tt-operator", "trimtab-tt-mlflow"):
        pod = operator(objects, name)["template"]["spec"]
        assert pod["nodeSelector"] == {"disk": "ssd"}
        assert pod["tolerations"][0]["key"] == "team"
        assert pod["imagePullSecrets"] == [{"name": "pull"}]
        assert pod["priorityClassName"] == "system-cluster-critical"
    assert operator(objects, "trimtab-tt-operator")["template"]["metadata"]["labels"]["team"] == "ml"


def test_a_service_monitor_finds_the_metrics_service() -> None:
    objects = render(EVERYTHING)
    monitor = one(objects, "ServiceMonitor", "trimtab-tt-operator")
    service = one(objects, "Service", "trimtab-tt-metrics")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["path"] == "/metrics"
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert service["spec"]["ports"][0]["port"] == 9090
    assert not [o for o in render({}) if o["kind"] == "ServiceMonitor"]
