"""The environment becomes settings, or one sentence that names every variable that is wrong."""

from __future__ import annotations

import pytest

from trimtab.settings import Settings, load

LEAST = {
    "TRIMTAB_SERVER_IMAGE": "server:1",
    "TRIMTAB_TOOLBOX_IMAGE": "toolbox:1",
    "TRIMTAB_STORE_URI": "s3://bundles",
}


def test_little_is_needed() -> None:
    assert load(LEAST) == Settings(server_image="server:1", toolbox_image="toolbox:1", store_uri="s3://bundles")


def test_everything_can_be_set() -> None:
    given = {
        **LEAST,
        "TRIMTAB_ROUTER_IMAGE": "router:1",
        "TRIMTAB_XDS_ADDRESS": "trimtab-xds.trimtab.svc:18001",
        "TRIMTAB_XDS_PORT": "18002",
        "TRIMTAB_IMAGE_PULL_POLICY": "Always",
        "TRIMTAB_MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "TRIMTAB_PROMETHEUS_URI": "http://prometheus:9090",
        "TRIMTAB_GATEWAY_API": "true",
        "TRIMTAB_NOTIFICATIONS_DIR": "/etc/trimtab/notifications",
        "TRIMTAB_JOB_SECRET_NAME": "store",
        "TRIMTAB_WATCH_NAMESPACES": "team-a, team-b,",
        "TRIMTAB_MAX_CONCURRENT_RECONCILES": "3",
        "TRIMTAB_MAX_CONCURRENT_RUNS": "2",
        "TRIMTAB_MAX_QUEUED_RUNS": "7",
        "TRIMTAB_RESYNC_SECONDS": "60",
        "TRIMTAB_LEASE_DURATION_SECONDS": "30",
        "TRIMTAB_LEASE_RENEW_SECONDS": "20",
        "TRIMTAB_LEASE_RETRY_SECONDS": "4",
        "TRIMTAB_PORT": "9000",
        "TRIMTAB_LOG_LEVEL": "DEBUG",
        "TRIMTAB_LOG_FORMAT": "text",
        "POD_NAME": "operator-1",
        "POD_NAMESPACE": "trimtab",
        "UNRELATED": "x",
    }
    found = load(given)
    assert found.model_dump() == {
        "server_image": "server:1",
        "toolbox_image": "toolbox:1",
        "router_image": "router:1",
        "xds_address": "trimtab-xds.trimtab.svc:18001",
        "xds_port": 18002,
        "image_pull_policy": "Always",
        "store_uri": "s3://bundles",
        "mlflow_tracking_uri": "http://mlflow:5000",
        "prometheus_uri": "http://prometheus:9090",
        "gateway_api": True,
        "notifications_dir": "/etc/trimtab/notifications",
        "job_secret_name": "store",
        "watch_namespaces": ("team-a", "team-b"),
        "max_concurrent_reconciles": 3,
        "max_concurrent_runs": 2,
        "max_queued_runs": 7,
        "resync_seconds": 60,
        "lease_duration_seconds": 30,
        "lease_renew_seconds": 20,
        "lease_retry_seconds": 4,
        "port": 9000,
        "log_level": "DEBUG",
        "log_format": "text",
        "pod_name": "operator-1",
        "pod_namespace": "trimtab",
    }


def test_the_platform_is_what_children_are_built_from() -> None:
    found = load({**LEAST, "TRIMTAB_JOB_SECRET_NAME": "store", "TRIMTAB_IMAGE_PULL_POLICY": "Never"}).platform()
    assert (found.server_image, found.toolbox_image, found.store_uri) == ("server:1", "toolbox:1", "s3://bundles")
    assert (found.job_secret_name, found.pull_policy, found.tracking_uri) == ("store", "Never", "")
    assert (found.max_concurrent_runs, found.max_queued_runs) == (4, 100)
    assert (found.router_image, found.xds_address) == ("trimtab-router", "trimtab-xds:18000")


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    assert load({**LEAST, "TRIMTAB_PORT": "", "TRIMTAB_WATCH_NAMESPACES": ""}).port == 8080


WRONG = {
    "TRIMTAB_STORE_URI": ("/models", "String should match pattern"),
    "TRIMTAB_MLFLOW_TRACKING_URI": ("mlflow:5000", "String should match pattern"),
    "TRIMTAB_PORT": ("eighty", "Input should be a valid integer"),
    "TRIMTAB_MAX_CONCURRENT_RECONCILES": ("0", "Input should be greater than or equal to 1"),
    "TRIMTAB_MAX_QUEUED_RUNS": ("0", "Input should be greater than or equal to 1"),
    "TRIMTAB_RESYNC_SECONDS": ("0", "Input should be greater than or equal to 1"),
    "TRIMTAB_LOG_LEVEL": ("LOUD", "Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
    "TRIMTAB_IMAGE_PULL_POLICY": ("Sometimes", "Input should be 'Always', 'IfNotPresent' or 'Never'"),
    "TRIMTAB_WATCH_NAMESPACES": ("team-a,Team B", "String should match pattern"),
}


@pytest.mark.parametrize("variable", WRONG)
def test_what_cannot_be_used_is_named(variable: str) -> None:
    value, words = WRONG[variable]
    with pytest.raises(ValueError) as caught:
        load({**LEAST, variable: value})
    assert str(caught.value).startswith(f"the environment is not usable: {variable}: {words}")


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(ValueError) as caught:
        load({})
    for variable in LEAST:
        assert f"{variable}: Field required" in str(caught.value)


@pytest.mark.parametrize(("duration", "renew", "retry"), [("15", "15", "2"), ("10", "15", "2"), ("15", "10", "10")])
def test_lease_times_that_allow_two_leaders_are_refused(duration: str, renew: str, retry: str) -> None:
    times = {
        "TRIMTAB_LEASE_DURATION_SECONDS": duration,
        "TRIMTAB_LEASE_RENEW_SECONDS": renew,
        "TRIMTAB_LEASE_RETRY_SECONDS": retry,
    }
    with pytest.raises(ValueError) as caught:
        load({**LEAST, **times})
    assert "TRIMTAB_LEASE_RETRY_SECONDS < TRIMTAB_LEASE_RENEW_SECONDS < TRIMTAB_LEASE_DURATION_SECONDS" in str(
        caught.value
    )
