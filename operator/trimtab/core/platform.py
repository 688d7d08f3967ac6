"""What the installation offers to every object: images, the model store, the registry. Set once, by the chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Platform:
    """The part of the operator's settings that children are built from."""

    server_image: str
    toolbox_image: str
    store_uri: str
    tracking_uri: str = ""
    pull_policy: str = "IfNotPresent"
    job_secret_name: str = ""
    router_image: str = "trimtab-router"
    xds_address: str = "trimtab-xds:18000"
    gateway_api: bool = False
    """HTTPRoutes may be made and are watched."""
    max_concurrent_runs: int = 4
    """Training Jobs of one namespace at the same time, without those of Kueue; 0 for as many as there are."""
    max_queued_runs: int = 100
    """Runs of one namespace that may wait for their turn."""

    def store_port(self) -> int | None:
        """The TCP port of the store; None where the URI does not tell (object stores use 443)."""
        parts = urlsplit(self.store_uri)
        if parts.scheme in ("http", "https"):
            return parts.port or (80 if parts.scheme == "http" else 443)
        return None if parts.scheme == "file" else 443


RUN_AS = 65532
POD_SECURITY: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": RUN_AS,
    "runAsGroup": RUN_AS,
    "fsGroup": RUN_AS,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def environment(**values: str) -> list[dict[str, str]]:
    """Environment entries in a stable order, without the empty ones."""
    return [{"name": name, "value": value} for name, value in values.items() if value]


def secret_environment(*names: str) -> list[dict[str, Any]]:
    """`envFrom` entries for the Secrets that were named."""
    return [{"secretRef": {"name": name}} for name in names if name]
