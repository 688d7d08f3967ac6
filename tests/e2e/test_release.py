"""The release as a whole: its own test, a leader that dies, MLflow that dies, uninstalling and coming back."""

from __future__ import annotations

import json
import time

from hack.cluster import kubectl
from hack.demo import release
from hack.demo.stage import Stage, condition
from tests.argocd import health
from tests.e2e.conftest import SHARED, install


def test_helm_test_passes() -> None:
    assert "Phase:          Succeeded" in release.helm("test", release.NAME, "--namespace", release.NAMESPACE)


def test_another_replica_leads_when_the_leader_is_deleted(stage: Stage, versions: dict[str, str]) -> None:
    leader = holder()
    kubectl.kubectl("-n", release.NAMESPACE, "delete", "pod", leader, "--force", "--grace-period=0")
    stage.manifest("MLModel", "tumour", {"source": {"uri": f"models:/{SHARED}/{versions['logistic']}"}})
    stage.manifest("ModelDeployment", "tumour", {"model": {"name": "tumour"}})
    stage.serving("tumour", versions["logistic"])
    assert holder() != leader


def test_serving_does_not_need_mlflow(stage: Stage, versions: dict[str, str]) -> None:
    stage.manifest("MLModel", "tumour", {"source": {"uri": f"models:/{SHARED}@logistic", "pollSeconds": 5}})
    stage.manifest("ModelDeployment", "tumour", {"model": {"name": "tumour"}})
    before = stage.serving("tumour", versions["logistic"])
    try:
        scale_mlflow(0)
        model = stage.until("mlm", "tumour", lambda obj: condition(obj, "Resolved")["reason"] == "RegistryUnreachable")
        assert condition(model, "Ready")["status"] == "True", "what was imported stays good"
        assert health(model).status == "Healthy"
        assert stage.load("traffic", "tumour", connections=2, seconds=3).result()["failed"] == 0
        assert stage.read("mdep", "tumour")["status"] == before["status"], "nobody touched it"
    finally:
        scale_mlflow(1)
    stage.until("mlm", "tumour", lambda obj: condition(obj, "Resolved")["status"] == "True")


def test_uninstalling_leaves_nothing_stuck_and_everything_serving(
    stage: Stage, versions: dict[str, str], installed: dict[str, str]
) -> None:
    stage.manifest("MLModel", "tumour", {"source": {"uri": f"models:/{SHARED}/{versions['logistic']}"}})
    stage.manifest("ModelDeployment", "tumour", {"model": {"name": "tumour"}})
    before = stage.serving("tumour", versions["logistic"])
    pods = [pod["metadata"]["uid"] for pod in stage.read("pods", "-l", "trimtab.dev/deployment")["items"]]
    try:
        release.helm("uninstall", release.NAME, "--namespace", release.NAMESPACE, "--wait")
        stage.manifest("ModelDeployment", "orphan", {"model": {"name": "tumour"}})
        stage.kubectl("delete", "mdep", "orphan", "--wait", "--timeout=20s")
    finally:
        install(installed)
    stage.until("mdep", "tumour", lambda obj: condition(obj, "Ready")["status"] == "True")
    after = stage.read("mdep", "tumour")
    assert [pod["metadata"]["uid"] for pod in stage.read("pods", "-l", "trimtab.dev/deployment")["items"]] == pods
    assert after["status"] == before["status"]


def test_a_deleted_namespace_goes_away(stage: Stage, versions: dict[str, str]) -> None:
    stage.manifest("MLModel", "tumour", {"source": {"uri": f"models:/{SHARED}/{versions['logistic']}"}})
    stage.manifest("ModelDeployment", "tumour", {"model": {"name": "tumour"}})
    kubectl.kubectl("delete", "namespace", stage.namespace, "--wait", "--timeout=90s", timeout=100)


def test_the_autoscaler_and_scale_subresource_work(stage: Stage, versions: dict[str, str]) -> None:
    stage.manifest("MLModel", "tumour", {"source": {"uri": f"models:/{SHARED}/{versions['logistic']}"}})
    stage.manifest("ModelDeployment", "tumour", {"model": {"name": "tumour"}})
    stage.serving("tumour", versions["logistic"])
    stage.kubectl("scale", "mdep/tumour", "--replicas=3")
    stage.until("mdep", "tumour", lambda obj: obj["status"]["available"] == 3)
    scaling = {"minReplicas": 2, "maxReplicas": 4}
    stage.manifest("ModelDeployment", "tumour", {"model": {"name": "tumour"}, "autoscaling": scaling, "replicas": 3})
    mdep = stage.until("mdep", "tumour", lambda obj: "not used" in condition(obj, "Ready")["message"])
    # It took over from three pods, so it starts with three; the idle autoscaler may go down to two from there.
    assert mdep["status"]["available"] >= 2
    name = f"deployment/tumour-{mdep['status']['serving']}"
    managers = json.loads(stage.kubectl("get", name, "-o", "json", "--show-managed-fields"))["metadata"][
        "managedFields"
    ]
    ours = [json.dumps(entry["fieldsV1"]) for entry in managers if entry["manager"] == "trimtab"]
    assert ours
    assert all('"f:replicas"' not in fields for fields in ours)


def holder() -> str:
    """The pod that holds the lease, as soon as one does."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        lease = kubectl.read("-n", release.NAMESPACE, "lease", "trimtab-operator")
        if lease["spec"].get("holderIdentity"):
            return str(lease["spec"]["holderIdentity"]).rpartition("_")[0]
        time.sleep(0.2)
    raise AssertionError("nobody holds the lease")


def scale_mlflow(replicas: int) -> None:
    """Take MLflow away, or bring it back."""
    where = ("-n", release.NAMESPACE)
    kubectl.kubectl(*where, "scale", f"deployment/{release.NAME}-mlflow", f"--replicas={replicas}")
    kubectl.kubectl(*where, "rollout", "status", f"deployment/{release.NAME}-mlflow", "--timeout=120s", timeout=130)
