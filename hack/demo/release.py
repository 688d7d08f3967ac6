"""Trimtab as a Helm release on the local cluster, made from the images of this checkout."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hack import ROOT, images
from hack.cluster import binaries, kubectl, paths
from hack.command import run

NAMESPACE = "trimtab-system"
NAME = "trimtab"
TRACKING_URI = f"http://{NAME}-mlflow.{NAMESPACE}.svc:5000"
CHART = ROOT / "charts" / "trimtab"


def helm(*arguments: str, timeout: float = 300) -> str:
    """Run helm against the local cluster."""
    program = binaries.ensure("helm")["helm"]
    return run([program, f"--kubeconfig={paths.KUBECONFIG}", *arguments], timeout=timeout)


def restricted(namespace: str) -> None:
    """Create a namespace that enforces the restricted Pod Security Standard."""
    enforce = "pod-security.kubernetes.io/enforce: restricted"
    kubectl.apply(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}, labels: {{{enforce}}}}}\n")


def install(full_names: Mapping[str, str], *settings: str) -> None:
    """Install or upgrade with these images and `NAME=VALUE` settings; wait until operator and MLflow are ready."""
    restricted(NAMESPACE)
    _unlock()
    helm(
        *("upgrade", "--install", NAME, str(CHART), "--namespace", NAMESPACE, "--wait", "--timeout", "5m"),
        *images.helm_arguments(full_names),
        *(word for setting in settings for word in ("--set", setting)),
    )


def image(variable: str) -> str:
    """An image the installed operator was told to use, such as TRIMTAB_TOOLBOX_IMAGE."""
    deployment = kubectl.read("-n", NAMESPACE, "deployment", f"{NAME}-operator")
    environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    return next(str(entry["value"]) for entry in environment if entry["name"] == variable)


def _unlock() -> None:
    """Undo what an interrupted helm left half done; it refuses to go on from there by itself."""
    for found in json.loads(helm("list", "--namespace", NAMESPACE, "--pending", "--output", "json")):
        undo = ["uninstall", NAME] if found["status"] == "pending-install" else ["rollback", NAME]
        helm(*undo, "--namespace", NAMESPACE, "--wait")
