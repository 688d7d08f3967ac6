"""Trimtab as a Helm release on the local cluster, made from the images of this checkout."""

from __future__ import annotations

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


def install(*extra: str) -> None:
    """Install or upgrade, and wait until operator and MLflow are ready."""
    restricted(NAMESPACE)
    helm(
        *("upgrade", "--install", NAME, str(CHART), "--namespace", NAMESPACE, "--wait", "--timeout", "5m"),
        *images.helm_arguments(images.references()),
        *extra,
    )
