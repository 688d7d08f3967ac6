"""The cluster as kind, where Docker can run it: one node, the same Kubernetes minor version, the same names outside."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import yaml

from hack.cluster import addons, binaries, paths
from hack.cluster.kubectl import kubectl
from hack.command import Failure, run, run_logged
from hack.progress import say, step

CLUSTER = "trimtab"
# From the notes of the kind release in catalog.py, which promises to work with exactly this build of the image.
NODE_IMAGE = "kindest/node:v1.34.11@sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d"
_CREATE_SECONDS = 900
_LOAD_SECONDS = 600

# The version of kubeadm's configuration that kind writes for a node before Kubernetes 1.36; another is ignored.
_HPA_SYNC = {
    "kind": "ClusterConfiguration",
    "apiVersion": "kubeadm.k8s.io/v1beta3",
    "controllerManager": {"extraArgs": {"horizontal-pod-autoscaler-sync-period": "5s"}},
}


def up() -> None:
    """Create the cluster unless it is there and answers; one that is there and does not is made anew."""
    if CLUSTER in _clusters():
        if _answers():
            _finish()
            return
        say("the kind cluster of an earlier time does not answer: making it anew")
        down()
    with step("create the kind cluster"):
        config = paths.CONFIG / "kind.json"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(json.dumps(configuration()))
        argv: list[str | Path] = [
            _kind(),
            "create",
            "cluster",
            "--name",
            CLUSTER,
            "--image",
            NODE_IMAGE,
            "--config",
            config,
        ]
        argv += ["--kubeconfig", paths.KUBECONFIG, "--wait", "180s"]
        run_logged(argv, paths.LOGS / "kind.log", timeout=_CREATE_SECONDS)
    _finish()


def down() -> None:
    """Delete the cluster; one that is not there is no error."""
    with step("delete the kind cluster"):
        run([_kind(), "delete", "cluster", "--name", CLUSTER, "--kubeconfig", paths.KUBECONFIG], timeout=180)
        paths.KUBECONFIG.unlink(missing_ok=True)
        shutil.rmtree(paths.STATE, ignore_errors=True)


def configuration() -> dict[str, object]:
    """Return kind's configuration."""
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [{"role": "control-plane"}],
        "kubeadmConfigPatches": [yaml.safe_dump(_HPA_SYNC)],
    }


def load(references: Iterable[str]) -> None:
    """Copy images from Docker into the node."""
    run([_kind(), "load", "docker-image", "--name", CLUSTER, *references], timeout=_LOAD_SECONDS)


def images() -> list[str]:
    """Return the names of the images in the node."""
    node = f"{CLUSTER}-control-plane"
    listed = json.loads(run(["docker", "exec", node, "crictl", "images", "--output", "json"]))
    return sorted(tag for image in listed["images"] for tag in image["repoTags"])


def _finish() -> None:
    run([_kind(), "export", "kubeconfig", "--name", CLUSTER, "--kubeconfig", paths.KUBECONFIG])
    with step("look at Kubernetes"):
        addons.for_kind()
        # Its image is pulled first.
        addons.wait_until_usable(metrics_seconds=300)


def _answers() -> bool:
    try:
        run([_kind(), "export", "kubeconfig", "--name", CLUSTER, "--kubeconfig", paths.KUBECONFIG])
        kubectl("get", "--raw", "/readyz", "--request-timeout=10s")
    except Failure:
        return False
    return True


def _clusters() -> list[str]:
    return run([_kind(), "get", "clusters"]).split()


def _kind() -> str:
    return str(binaries.ensure("kind")["kind"])
