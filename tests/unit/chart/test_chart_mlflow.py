"""The embedded MLflow: reachable by its names and no others, its data where they were asked to be.

A real server runs with these flags in `tests/contract/test_mlflow_postgres.py`.
"""

from __future__ import annotations

from typing import Any

from tests.chart import DATABASE, environment, names, one, render


def pod(objects: list[dict[str, Any]], name: str = "trimtab-mlflow") -> dict[str, Any]:
    spec: dict[str, Any] = one(objects, "Deployment", name)["spec"]["template"]["spec"]
    return spec


def flag(objects: list[dict[str, Any]], name: str) -> str:
    found = [part for part in pod(objects)["containers"][0]["command"] if part.startswith(f"--{name}=")]
    assert len(found) == 1
    return str(found[0]).partition("=")[2]


def volumes(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return {volume["name"]: volume for volume in pod(objects)["volumes"]}


def test_every_name_of_the_service_is_allowed_alone_and_with_its_port() -> None:
    service = "trimtab-mlflow"
    suffixes = ("", ".trimtab-system", ".trimtab-system.svc", ".trimtab-system.svc.cluster.local")
    expected = {f"{service}{suffix}{port}" for suffix in suffixes for port in ("", ":5000")}
    local = {"localhost", "localhost:*", "127.0.0.1", "127.0.0.1:*"}
    assert set(flag(render({}), "allowed-hosts").split(",")) == expected | local


def test_further_hosts_and_another_cluster_domain() -> None:
    values = {"mlflow": {"extraAllowedHosts": ["ml.example.com"]}, "clusterDomain": "corp.internal"}
    allowed = flag(render(values), "allowed-hosts").split(",")
    assert "ml.example.com" in allowed
    assert "trimtab-mlflow.trimtab-system.svc.corp.internal:5000" in allowed


def test_the_operator_calls_it_by_a_name_it_lets_in() -> None:
    objects = render({}, release="ml", namespace="platform")
    operator = one(objects, "Deployment", "ml-trimtab-operator")["spec"]["template"]["spec"]["containers"][0]
    host = environment(operator)["TRIMTAB_MLFLOW_TRACKING_URI"].removeprefix("http://")
    command = pod(objects, "ml-trimtab-mlflow")["containers"][0]["command"]
    assert host in command[-1].removeprefix("--allowed-hosts=").split(",")
    assert host.partition(".")[0] in {o["metadata"]["name"] for o in objects if o["kind"] == "Service"}


def test_one_quiet_server() -> None:
    objects = render({})
    spec = one(objects, "Deployment", "trimtab-mlflow")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert flag(objects, "workers") == "1"
    assert "--serve-artifacts" in pod(objects)["containers"][0]["command"]
    settings = environment(pod(objects)["containers"][0])
    assert settings["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert settings["MLFLOW_DISABLE_TELEMETRY"] == "true"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert pod(objects)["containers"][0][probe]["httpGet"]["path"] == "/health"


def test_sqlite_and_files_share_the_claim() -> None:
    objects = render({})
    assert environment(pod(objects)["containers"][0])["MLFLOW_BACKEND_STORE_URI"] == "sqlite:////data/mlflow.db"
    assert flag(objects, "artifacts-destination") == "/data/artifacts"
    assert volumes(objects)["data"]["persistentVolumeClaim"] == {"claimName": "trimtab-mlflow"}
    claim = one(objects, "PersistentVolumeClaim", "trimtab-mlflow")
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "storageClassName" not in claim["spec"]
    for container in (*pod(objects)["initContainers"], *pod(objects)["containers"]):
        assert {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]} == {
            "tmp": "/tmp",
            "data": "/data",
        }
    # The volume belongs to the group the server runs with.
    context = pod(objects)["securityContext"]
    assert context["fsGroup"] == context["runAsGroup"]


def test_the_claim_follows_its_values() -> None:
    wanted = {"size": "1Ti", "storageClassName": "fast", "keep": False}
    claim = one(render({"mlflow": {"persistence": wanted}}), "PersistentVolumeClaim", "trimtab-mlflow")
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Ti"
    assert claim["spec"]["storageClassName"] == "fast"
    assert "annotations" not in claim["metadata"]


def test_a_claim_that_exists_is_used_and_none_is_made() -> None:
    objects = render({"mlflow": {"persistence": {"existingClaim": "mine"}}})
    assert volumes(objects)["data"]["persistentVolumeClaim"] == {"claimName": "mine"}
    assert "PersistentVolumeClaim/trimtab-mlflow" not in names(objects)


def test_without_persistence_data_live_with_the_pod() -> None:
    objects = render({"mlflow": {"persistence": {"enabled": False}}})
    assert volumes(objects)["data"] == {"name": "data", "emptyDir": {}}
    assert "PersistentVolumeClaim/trimtab-mlflow" not in names(objects)


def test_a_database_elsewhere_is_named_by_a_secret_only() -> None:
    objects = render(DATABASE)
    expected = {"secretKeyRef": {"name": "postgres", "key": "uri"}}
    for container in (*pod(objects)["initContainers"], *pod(objects)["containers"]):
        assert environment(container)["MLFLOW_BACKEND_STORE_URI"] == expected
    assert flag(objects, "artifacts-destination") == "s3://runs/artifacts"
    assert set(volumes(objects)) == {"tmp"}
    assert "PersistentVolumeClaim/trimtab-mlflow" not in names(objects)


def test_a_database_elsewhere_still_needs_the_volume_for_files() -> None:
    objects = render({"mlflow": {"database": DATABASE["mlflow"]["database"]}})
    assert "data" in volumes(objects)


def test_the_database_is_upgraded_before_the_server_starts() -> None:
    (step,) = pod(render({}))["initContainers"]
    assert step["command"][-1] == 'exec mlflow db upgrade "$MLFLOW_BACKEND_STORE_URI"'
    assert step["image"] == pod(render({}))["containers"][0]["image"] == "trimtab-toolbox:0.1.0"
    assert "initContainers" not in pod(render({"mlflow": {"database": {"upgrade": False}}}))
