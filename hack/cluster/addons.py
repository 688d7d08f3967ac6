"""The objects a bare API server lacks to be a usable cluster: rights, DNS, metrics, a storage class."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from string import Template

from hack.cluster import catalog, components, kubectl, paths, volumes
from hack.cluster.network import Network
from hack.cluster.pki import CA

_MANIFESTS = Path(__file__).parent / "manifests"
_PROCESS_FILES = ("rbac", "dns", "metrics-rbac", "metrics-process", "storage")
_KIND_FILES = ("metrics-rbac", "metrics-pod")
_STAMP = paths.STATE / "addons"
_WAIT_SECONDS = 60


def for_processes(network: Network) -> None:
    """Apply what the process cluster needs; quick when it was applied before."""
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:metrics-server"}
    values = {
        "DNS_IP": str(network.dns_service),
        "DNS_PORT": str(components.DNS_PORT),
        "NODE_IP": str(network.node),
        "METRICS_PORT": str(components.METRICS_PORT),
        "METRICS_SUBJECT": json.dumps(subject),
        "CA_BUNDLE": base64.b64encode(CA.certificate.read_bytes()).decode(),
    }
    kubectl.wait_for("namespace", "kube-system", seconds=_WAIT_SECONDS)
    _apply_once(rendered(_PROCESS_FILES, values))
    volumes.replenish()


def for_kind() -> None:
    """Apply what kind does not bring: metrics."""
    subject = {"kind": "ServiceAccount", "name": "metrics-server", "namespace": "kube-system"}
    version = catalog.catalog()["metrics-server"].version
    _apply_once(rendered(_KIND_FILES, {"METRICS_SUBJECT": json.dumps(subject), "METRICS_VERSION": version}))


def rendered(names: tuple[str, ...], values: Mapping[str, str]) -> str:
    """Return manifests as one YAML stream with the values in place; a placeholder without a value is an error."""
    return "---\n".join(Template((_MANIFESTS / f"{name}.yaml").read_text()).substitute(values) for name in names)


def wait_until_usable(metrics_seconds: float = _WAIT_SECONDS) -> None:
    """Wait for what a first `kubectl run` needs: a Ready node, a service account, an API without broken groups."""
    kubectl.kubectl("wait", "--for=condition=Ready", "nodes", "--all", f"--timeout={_WAIT_SECONDS}s", timeout=90)
    kubectl.wait_for("serviceaccount", "default", "-n", "default", seconds=_WAIT_SECONDS)
    # While an aggregated API is missing, discovery is incomplete and namespaces cannot be deleted.
    api, limit = "apiservice/v1beta1.metrics.k8s.io", f"--timeout={metrics_seconds:.0f}s"
    kubectl.kubectl("wait", "--for=condition=Available", api, limit, timeout=metrics_seconds + 30)


def _apply_once(manifest: str) -> None:
    digest = hashlib.sha256(manifest.encode()).hexdigest()
    if _STAMP.exists() and _STAMP.read_text() == digest:
        return
    kubectl.apply(manifest)
    _STAMP.write_text(digest)
