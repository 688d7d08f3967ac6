"""The chart's life on a real control plane: installed, upgraded, rolled back, uninstalled, and nothing left stuck.

Pods only pretend to run; admission, the controllers, aggregation of roles and garbage collection are the real ones.
The namespace enforces the Pod Security Standard "restricted", so a pod that falls short is never created and the
release never gets ready.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from hack.cluster import binaries
from tests.chart import CHART
from tests.controlplane import ControlPlane
from trimtab.core.objects import GROUP
from trimtab.kinds import KINDS

NAMESPACE, RELEASE = "trimtab-system", "trimtab"
# There is no provisioner here, so no claim is ever bound.
WITHOUT_VOLUME = ("--set", "mlflow.persistence.enabled=false")
OWN_KINDS = (
    "deployments,replicasets,pods,services,serviceaccounts,persistentvolumeclaims,networkpolicies,"
    "poddisruptionbudgets,roles,rolebindings,clusterroles,clusterrolebindings"
)
MODEL = """
apiVersion: trimtab.dev/v1alpha1
kind: MLModel
metadata: {name: tumour, namespace: default}
spec: {source: {uri: "models:/tumour@champion"}}
"""


class Cluster:
    """A control plane as helm and kubectl see it."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.kubectl = plane.kubectl

    def helm(self, *arguments: str) -> str:
        """Run helm in the release's namespace; AssertionError with what it says when it fails."""
        program = str(binaries.ensure("helm")["helm"])
        where = ["--kubeconfig", str(self._plane.kubeconfig), "--namespace", NAMESPACE]
        done = subprocess.run([program, *arguments, *where], capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, f"helm {arguments[0]}: {done.stdout}{done.stderr}"
        return done.stdout

    def install(self, *values: str) -> str:
        return self.helm("install", RELEASE, str(CHART), "--wait", "--timeout=90s", *values)

    def uninstall(self, *flags: str) -> None:
        self._read_all()
        self.helm("uninstall", RELEASE, "--wait", "--timeout=60s", *flags)

    def get(self, *arguments: str) -> list[dict[str, Any]]:
        done = self.kubectl("get", *arguments, "--output=json")
        assert done.returncode == 0, done.stderr
        items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
        return items

    def leftovers(self) -> list[str]:
        """Everything in the cluster that carries the release's label."""
        found = self.get(OWN_KINDS, "--all-namespaces", f"--selector=app.kubernetes.io/instance={RELEASE}")
        return [f"{o['kind']}/{o['metadata']['name']}" for o in found]

    def definitions(self) -> set[str]:
        found = (o["metadata"]["name"] for o in self.get("customresourcedefinitions"))
        return {name for name in found if name.endswith(".trimtab.dev")}

    def _read_all(self) -> None:
        """Read the objects of every definition, as the operator's watches do; needed before any deletion.

        The API server opens a definition's storage at the first request, and the deletion of one whose storage is
        just being opened may be forgotten until the next resync, minutes later (operator-controller#1437).
        """

        def read() -> bool:
            return all(self.kubectl("get", name, "--all-namespaces").returncode == 0 for name in self.definitions())

        self._plane.processes.wait("kube-apiserver", read)

    def may(self, who: str, verb: str, resource: str, namespace: str, part: str = "") -> bool:
        """What the API server's authorizer says; `part` is a subresource."""
        who = f"--as={who}"
        question = self.kubectl(
            "auth", "can-i", verb, resource, f"--subresource={part}", who, f"--namespace={namespace}"
        )
        assert question.stdout.strip() in {"yes", "no"}, question.stderr
        return question.stdout.strip() == "yes"


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    """One without definitions: bringing them is the chart's task."""
    plane = ControlPlane.start(controllers=True, kwok=True)
    try:
        yield plane
    finally:
        plane.stop()


@pytest.fixture
def cluster(control_plane: ControlPlane) -> Iterator[Cluster]:
    """An empty namespace that enforces the standard; afterwards it must go, and all definitions with it."""
    cluster = Cluster(control_plane)
    cluster.kubectl("create", "namespace", NAMESPACE)
    enforce = "pod-security.kubernetes.io/enforce=restricted"
    assert cluster.kubectl("label", "namespace", NAMESPACE, enforce).returncode == 0
    yield cluster
    cluster.uninstall("--ignore-not-found")
    # A finalizer that nobody removes would hold either deletion past its timeout.
    for kind, names in (("namespace", {NAMESPACE}), ("customresourcedefinition", cluster.definitions())):
        gone = cluster.kubectl("delete", kind, *names, "--ignore-not-found", "--timeout=45s") if names else None
        assert gone is None or gone.returncode == 0, gone.stderr


def test_install_upgrade_roll_back_uninstall_and_install_again(cluster: Cluster) -> None:
    notes = cluster.install(*WITHOUT_VOLUME)
    assert "helm test trimtab --namespace trimtab-system" in notes
    assert "lost when its pod goes" in notes
    assert cluster.definitions() == {f"{kind.resource.plural}.{GROUP}" for kind in KINDS.values()}
    pods = cluster.get("pods", f"--namespace={NAMESPACE}")
    assert sorted(pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods) == [
        "mlflow",
        "operator",
        "operator",
    ]

    cluster.helm("upgrade", RELEASE, str(CHART), "--wait", "--timeout=90s", *WITHOUT_VOLUME, "--set=replicaCount=3")
    (operator,) = (
        o for o in cluster.get("deployments", f"--namespace={NAMESPACE}") if "operator" in o["metadata"]["name"]
    )
    assert operator["status"]["availableReplicas"] == 3
    cluster.helm("rollback", RELEASE, "1", "--wait", "--timeout=90s")

    assert cluster.kubectl("apply", "--server-side", "--filename=-", stdin=MODEL).returncode == 0
    cluster.uninstall()
    assert cluster.leftovers() == []
    assert [o["metadata"]["name"] for o in cluster.get("mlmodels", "--namespace=default")] == ["tumour"]

    cluster.install(*WITHOUT_VOLUME)
    cluster.uninstall()
    assert cluster.leftovers() == []


def test_definitions_that_are_not_kept_go_with_their_objects(cluster: Cluster) -> None:
    cluster.install(*WITHOUT_VOLUME, "--set=crds.keep=false")
    assert cluster.kubectl("apply", "--server-side", "--filename=-", stdin=MODEL).returncode == 0
    cluster.uninstall()
    assert cluster.definitions() == set()


def test_a_claim_outlives_its_release_and_is_taken_up_by_the_next(cluster: Cluster) -> None:
    # Not --wait: nothing binds the claim here.
    cluster.helm("install", RELEASE, str(CHART))
    (claim,) = cluster.get("persistentvolumeclaims", f"--namespace={NAMESPACE}")
    cluster.uninstall()
    assert cluster.leftovers() == ["PersistentVolumeClaim/trimtab-mlflow"]
    cluster.helm("install", RELEASE, str(CHART))
    (same,) = cluster.get("persistentvolumeclaims", f"--namespace={NAMESPACE}")
    assert same["metadata"]["uid"] == claim["metadata"]["uid"]
    cluster.helm("upgrade", RELEASE, str(CHART), "--set=mlflow.persistence.keep=false")
    cluster.uninstall()
    assert cluster.leftovers() == []


def test_the_operator_and_the_clusters_users_may_do_their_part(cluster: Cluster) -> None:
    cluster.install(*WITHOUT_VOLUME)
    operator = f"system:serviceaccount:{NAMESPACE}:trimtab-operator"
    assert cluster.may(operator, "watch", "mlmodels.trimtab.dev", "default")
    assert cluster.may(operator, "patch", "mlmodels.trimtab.dev", "default", part="status")
    assert cluster.may(operator, "create", "deployments.apps", "default")
    for verb, resource in (
        ("get", "secrets"),
        ("list", "secrets"),
        ("update", "mlmodels.trimtab.dev"),
        ("create", "pods"),
    ):
        assert not cluster.may(operator, verb, resource, NAMESPACE)
    for role in ("view", "edit"):
        bound = cluster.kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}er")
        assert bound.returncode == 0, bound.stderr
    assert cluster.may("viewer", "list", "modeldeployments.trimtab.dev", "default")
    assert not cluster.may("viewer", "create", "modeldeployments.trimtab.dev", "default")
    assert cluster.may("editer", "create", "modeldeployments.trimtab.dev", "default")
    assert cluster.may("editer", "patch", "modeldeployments.trimtab.dev", "default", part="scale")
    assert not cluster.may("editer", "patch", "modeldeployments.trimtab.dev", "default", part="status")


def test_with_namespaces_given_the_operators_rights_end_at_their_borders(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "team-a")
    cluster.install(*WITHOUT_VOLUME, "--set=watchNamespaces={team-a}")
    operator = f"system:serviceaccount:{NAMESPACE}:trimtab-operator"
    assert cluster.may(operator, "create", "deployments.apps", "team-a")
    assert not cluster.may(operator, "list", "mlmodels.trimtab.dev", "default")
    assert not cluster.may(operator, "create", "deployments.apps", NAMESPACE)
    cluster.uninstall()
    assert cluster.leftovers() == []
