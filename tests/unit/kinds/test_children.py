"""What the builders make of a spec: pods that run as promised, and names that change when, and only when, they must."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests import pod_security
from tests.kubernetes_schema import validate_strictly
from tests.memory_operator import PLATFORM
from tests.unit.kinds.builders import NAMESPACE, bundle, mdep_object, mlmodel_object, revision_of
from trimtab.core.objects import Object
from trimtab.core.platform import Platform
from trimtab.kinds.mlmodel.api import MLModel
from trimtab.kinds.mlmodel.children import import_job, import_key
from trimtab.kinds.modeldeployment import children
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.template import revision

SECRETS = replace(PLATFORM, job_secret_name="store-credentials")
EVERYTHING: dict[str, Any] = {
    "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "2Gi", "nvidia.com/gpu": 1}},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"trimtab.dev/deployment": "risk"}},
        }
    ],
    "serviceAccountName": "scorer",
    "env": [{"name": "OMP_NUM_THREADS", "value": "1"}],
    "podAnnotations": {"team": "risk"},
    "autoscaling": {
        "minReplicas": 2,
        "maxReplicas": 9,
        "metrics": [{"type": "CPU", "targetPercent": 70}, {"type": "Memory", "targetPercent": 80}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60, "policies": [
            {"type": "Pods", "value": 1, "periodSeconds": 30}]}},
    },
}  # fmt: skip


def built(obj: Object, number: int = 1, runtime: str = "onnx", platform: Platform = PLATFORM) -> dict[str, Object]:
    """All children of a ModelDeployment that serves one revision, by kind; the headless Service as "Headless"."""
    mdep = ModelDeployment.parse(obj)
    made = revision(mdep, bundle(number, runtime), platform)
    items = [
        children.workload(mdep, made),
        children.front(mdep, made.name),
        children.autoscaler(mdep, made.name, 0),
        children.disruption_budget(mdep),
        children.network_policy(mdep, platform),
    ]
    found = {item["kind"]: item for item in items if item}
    return {**found, "Headless": children.headless(mdep, made.name)}


def pod_of(obj: Object) -> Object:
    template: Object = obj["spec"]["template"]
    return template


def env_of(container: Object) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"]}


@pytest.mark.parametrize("platform", [PLATFORM, SECRETS], ids=["no secret", "secret"])
@pytest.mark.parametrize("spec", [{}, EVERYTHING], ids=["defaults", "everything"])
@pytest.mark.parametrize("runtime", ["onnx", "python"])
def test_children_are_what_the_api_server_and_the_restricted_standard_want(
    spec: dict[str, Any], platform: Platform, runtime: str
) -> None:
    items = built(mdep_object(**spec), runtime=runtime, platform=platform)
    for item in items.values():
        validate_strictly(item)
        assert item["metadata"]["namespace"] == NAMESPACE
        (owner,) = item["metadata"]["ownerReferences"]
        assert owner == {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "ModelDeployment",
            "name": "risk",
            "uid": "uid-risk",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    assert pod_security.violations(pod_of(items["Deployment"])["spec"]) == []


def test_everything_of_the_spec_reaches_the_pod() -> None:
    pod = pod_of(built(mdep_object(**EVERYTHING))["Deployment"])
    spec = pod["spec"]
    for field in ("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "serviceAccountName"):
        assert spec[field] == EVERYTHING[field]
    (server,) = spec["containers"]
    assert server["resources"] == EVERYTHING["resources"]
    assert env_of(server)["OMP_NUM_THREADS"] == "1"
    assert pod["metadata"]["annotations"]["team"] == "risk"
    assert spec["automountServiceAccountToken"] is False


def test_the_pod_is_told_what_to_serve() -> None:
    spec = pod_of(built(mdep_object(), 7)["Deployment"])["spec"]
    (fetch,), (server,) = spec["initContainers"], spec["containers"]
    assert env_of(fetch) == {
        "TRIMTAB_STORE": PLATFORM.store_uri,
        "TRIMTAB_DIGEST": bundle(7).digest,
        "TRIMTAB_BUNDLE_DIR": "/trimtab/bundle",
    }
    assert env_of(server) == {
        "TRIMTAB_MODEL_NAME": "risk",
        "TRIMTAB_MODEL_VERSION": "7",
        "TRIMTAB_DIGEST": bundle(7).digest,
        "TRIMTAB_BUNDLE_DIR": "/trimtab/bundle",
        "TRIMTAB_PORT": "8080",
        "TRIMTAB_DRAIN_SECONDS": "5",
        "TRIMTAB_BATCH_MAX_SIZE": "32",
        "TRIMTAB_BATCH_MAX_WAIT_MICROSECONDS": "0",
    }
    assert (fetch["image"], server["image"]) == (PLATFORM.server_image, PLATFORM.server_image)
    (mount,) = (m for m in server["volumeMounts"] if m["name"] == "bundle")
    assert mount["readOnly"] is True


def test_tokens_batches_and_outcomes_are_what_the_spec_says() -> None:
    wishes = {
        "auth": {"tokenSecretName": "tokens"},
        "batching": {"maxSize": 8, "maxWaitMicroseconds": 500},
        "feedback": {"keySecretName": "signing", "userHeader": "x-user-id"},
    }
    spec = pod_of(built(mdep_object(**wishes))["Deployment"])["spec"]
    (server,) = spec["containers"]
    plain = env_of({"env": [entry for entry in server["env"] if "value" in entry]})
    assert plain["TRIMTAB_BATCH_MAX_SIZE"] == "8"
    assert plain["TRIMTAB_BATCH_MAX_WAIT_MICROSECONDS"] == "500"
    assert plain["TRIMTAB_USER_HEADER"] == "x-user-id"
    (key,) = (entry for entry in server["env"] if entry["name"] == "TRIMTAB_TOKEN_KEY")
    assert key["valueFrom"] == {"secretKeyRef": {"name": "signing", "key": "key"}}
    (mount,) = (m for m in server["volumeMounts"] if m["mountPath"] == plain["TRIMTAB_TOKENS_DIR"])
    (volume,) = (v for v in spec["volumes"] if v["name"] == mount["name"])
    assert mount["readOnly"] is True
    assert volume["secret"]["secretName"] == "tokens"
    assert all("tokens" not in str(container) for container in spec["initContainers"])


def test_grpc_opens_a_port_everywhere_and_takes_the_image_that_speaks_it() -> None:
    items = built(mdep_object(grpc={"enabled": True}))
    (server,) = pod_of(items["Deployment"])["spec"]["containers"]
    assert env_of(server)["TRIMTAB_GRPC_PORT"] == "8081"
    assert server["image"] == PLATFORM.toolbox_image
    assert {p["name"]: p["containerPort"] for p in server["ports"]} == {"http": 8080, "grpc": 8081}
    (rule,) = items["NetworkPolicy"]["spec"]["ingress"]
    assert [p["port"] for p in rule["ports"]] == ["http", "grpc"]


def test_python_bundles_are_served_by_the_toolbox() -> None:
    spec = pod_of(built(mdep_object(), runtime="python")["Deployment"])["spec"]
    assert {c["image"] for c in spec["initContainers"] + spec["containers"]} == {PLATFORM.toolbox_image}


def test_the_stores_credentials_reach_the_fetch_step_and_nothing_else() -> None:
    spec = pod_of(built(mdep_object(), platform=SECRETS)["Deployment"])["spec"]
    assert spec["initContainers"][0]["envFrom"] == [{"secretRef": {"name": "store-credentials"}}]
    assert "envFrom" not in spec["containers"][0]


def test_traffic_is_selected_by_revision_and_pods_by_what_never_changes() -> None:
    items = built(mdep_object())
    wanted = {"trimtab.dev/deployment": "risk", "trimtab.dev/revision": revision_of(mdep_object(), 1).name}
    assert items["Deployment"]["spec"]["selector"]["matchLabels"] == wanted
    assert items["Service"]["spec"]["selector"] == items["Headless"]["spec"]["selector"] == wanted
    assert wanted.items() <= pod_of(items["Deployment"])["metadata"]["labels"].items()
    assert items["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == {"trimtab.dev/deployment": "risk"}
    assert items["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == {"trimtab.dev/deployment": "risk"}


def test_pods_spread_over_nodes_unless_the_spec_says_otherwise() -> None:
    (spread,) = pod_of(built(mdep_object())["Deployment"])["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    assert spread["labelSelector"]["matchLabels"] == built(mdep_object())["Service"]["spec"]["selector"]


OTHER: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"replicas": 9}, True),
    ({"autoscaling": {"maxReplicas": 9}}, False),
    ({"env": [{"name": "A", "value": "1"}]}, False),
    ({"podAnnotations": {"a": "b"}}, False),
    ({"resources": {"limits": {"memory": "3Gi"}}}, False),
    ({"serviceAccountName": "scorer"}, False),
    ({"nodeSelector": {"disk": "ssd"}}, False),
]


@pytest.mark.parametrize(("spec", "same"), OTHER)
def test_a_revision_is_named_by_its_bundle_and_its_pod(spec: dict[str, Any], same: bool) -> None:
    """What needs other pods gets another name, so that pods with traffic are never restarted; nothing else does."""
    assert (revision_of(mdep_object(**spec), 1).name == revision_of(mdep_object(), 1).name) is same


def test_a_revision_is_named_by_its_bundle_and_its_platform() -> None:
    names = {
        revision_of(mdep_object(), 1).name,
        revision_of(mdep_object(), 2).name,
        revision_of(mdep_object(name="other"), 1).name,
        revision_of(mdep_object(), 1, replace(PLATFORM, server_image="server:2")).name,
        revision_of(mdep_object(), 1, replace(PLATFORM, store_uri="s3://bundles")).name,
    }
    assert len(names) == 5
    same = replace(PLATFORM, tracking_uri="http://other", toolbox_image="toolbox:2")
    assert revision_of(mdep_object(), 1, same).name in names, "an onnx pod uses neither"


@pytest.mark.parametrize(
    ("store", "ports"),
    [
        ("http://mlflow:5000/api", [[53, 53], [5000]]),
        ("http://mlflow/api", [[53, 53], [80]]),
        ("https://mlflow/api", [[53, 53], [443]]),
        ("s3://bucket/prefix", [[53, 53], [443]]),
        ("gs://bucket", [[53, 53], [443]]),
        ("file:///models", [[53, 53]]),
    ],
)
def test_pods_may_reach_the_store_and_no_more(store: str, ports: list[list[int]]) -> None:
    spec = built(mdep_object(), platform=replace(PLATFORM, store_uri=store))["NetworkPolicy"]["spec"]
    assert [[port["port"] for port in rule["ports"]] for rule in spec["egress"]] == ports
    assert spec["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}]}]
    assert spec["policyTypes"] == ["Ingress", "Egress"]


@pytest.mark.parametrize(("at_least", "expected"), [(0, 2), (2, 2), (5, 5), (50, 9)])
def test_an_autoscaler_starts_where_it_is_told_within_its_bounds(at_least: int, expected: int) -> None:
    mdep = ModelDeployment.parse(mdep_object(**EVERYTHING))
    scaler = children.autoscaler(mdep, "abc", at_least)
    assert scaler is not None
    spec = scaler["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (expected, 9)
    assert [m["resource"]["name"] for m in spec["metrics"]] == ["cpu", "memory"]
    assert spec["behavior"] == EVERYTHING["autoscaling"]["behavior"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "risk-abc"}


def test_without_autoscaling_there_is_no_autoscaler() -> None:
    assert "HorizontalPodAutoscaler" not in built(mdep_object())


class TestImportJob:
    def job(self, platform: Platform = PLATFORM, **more: Any) -> Object:
        return import_job(MLModel.parse(mlmodel_object(**more)), "models:/credit/1", platform)

    def test_a_claim_is_mounted_for_reading_and_only_where_one_is_the_source(self) -> None:
        uri = "pvc://shared-models/credit/model.skops"
        pod = pod_of(import_job(MLModel.parse(mlmodel_object(uri)), uri, PLATFORM))["spec"]
        (container,) = pod["containers"]
        (volume,) = (v for v in pod["volumes"] if "persistentVolumeClaim" in v)
        assert volume["persistentVolumeClaim"] == {"claimName": "shared-models", "readOnly": True}
        (mount,) = (m for m in container["volumeMounts"] if m["name"] == volume["name"])
        assert mount["readOnly"] is True
        assert env_of(container)["TRIMTAB_PVC_DIR"] == mount["mountPath"]
        assert "TRIMTAB_PVC_DIR" not in env_of(pod_of(self.job())["spec"]["containers"][0])

    @pytest.mark.parametrize("platform", [PLATFORM, SECRETS], ids=["no secret", "secret"])
    def test_it_is_what_the_api_server_and_the_restricted_standard_want(self, platform: Platform) -> None:
        job = self.job(platform, source={"credentialsSecretName": "own"})
        validate_strictly(job)
        assert pod_security.violations(job["spec"]["template"]["spec"]) == []
        assert job["spec"]["template"]["spec"]["automountServiceAccountToken"] is False

    def test_it_is_told_what_to_import(self) -> None:
        job = self.job(format="Sklearn", optimize="Off", allowPickle=True)
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert env_of(container) == {
            "TRIMTAB_SOURCE_URI": "models:/credit/1",
            "TRIMTAB_FORMAT": "Sklearn",
            "TRIMTAB_OPTIMIZE": "Off",
            "TRIMTAB_ALLOW_PICKLE": "true",
            "TRIMTAB_STORE": PLATFORM.store_uri,
            "TRIMTAB_MAX_BYTES": str(2**31),
            "TRIMTAB_TIMEOUT_SECONDS": "900",
            "TRIMTAB_RESULT_PATH": "/dev/termination-log",
            "MLFLOW_TRACKING_URI": PLATFORM.tracking_uri,
            "HOME": "/tmp",
        }

    def test_a_pin_is_passed_on(self) -> None:
        obj = mlmodel_object("https://example.com/m", source={"digest": bundle(1).digest})
        job = import_job(MLModel.parse(obj), "https://example.com/m", PLATFORM)
        assert env_of(job["spec"]["template"]["spec"]["containers"][0])["TRIMTAB_SOURCE_DIGEST"] == bundle(1).digest

    def test_it_has_the_credentials_of_store_and_source(self) -> None:
        (container,) = self.job(SECRETS, source={"credentialsSecretName": "own"})["spec"]["template"]["spec"][
            "containers"
        ]
        assert container["envFrom"] == [{"secretRef": {"name": "store-credentials"}}, {"secretRef": {"name": "own"}}]

    def test_it_is_named_by_what_it_imports_and_not_by_the_operators_images(self) -> None:
        model = MLModel.parse(mlmodel_object())
        job, newer = self.job(), self.job(replace(PLATFORM, toolbox_image="toolbox:2"))
        assert job["metadata"]["name"] == newer["metadata"]["name"] == f"credit-{import_key(model, 'models:/credit/1')}"
        assert job["metadata"]["labels"]["trimtab.dev/import-key"] == import_key(model, "models:/credit/1")
        pod = job["spec"]["template"]["metadata"]["labels"]
        assert pod.items() >= {"trimtab.dev/model": "credit"}.items()

    def test_what_cannot_succeed_is_not_tried_again(self) -> None:
        rules = self.job()["spec"]["podFailurePolicy"]["rules"]
        (final,) = (rule for rule in rules if rule["action"] == "FailJob")
        assert final["onExitCodes"] == {"containerName": "import", "operator": "In", "values": [10, 137]}
