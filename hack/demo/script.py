"""Runs the example scripts inside the cluster, as a user's own Job would: no rights, no root, no writable root."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hack import ROOT
from hack.cluster import kubectl
from hack.command import Failure
from hack.demo import release

SCRIPTS = {
    path.name: path
    for folder in ("training", "clients", "flights")
    for path in sorted((ROOT / "examples" / folder).glob("*.py"))
}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


class Script:
    """One run of one script; `name` names its Job, `files` lie beside it, `secret` becomes its environment."""

    def __init__(
        self,
        namespace: str,
        name: str,
        script: str,
        *arguments: str,
        files: Mapping[str, Path] = SCRIPTS,
        secret: str = "",
    ) -> None:
        self._namespace = namespace
        self._name = name
        kubectl.kubectl("-n", namespace, "delete", "job", name, "--ignore-not-found", "--wait")
        kubectl.apply(json.dumps(_scripts(namespace, files)))
        kubectl.apply(json.dumps(self._job(script, arguments, secret)))

    def result(self, seconds: float = 180, check: bool = True) -> dict[str, Any]:
        """Wait for the end and return the JSON object of the last line; Failure quotes what the script said."""
        state = self._ended(seconds)
        said = self.logs()
        if check and state != "Complete":
            raise Failure(f"job {self._name} failed:\n{said}")
        last: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
        return last

    def started(self, word: str = "started", seconds: float = 60) -> None:
        """Wait until the script printed a line that starts with this word."""
        deadline = time.monotonic() + seconds
        while not any(line.startswith(word) for line in self.logs().splitlines()):
            if time.monotonic() > deadline:
                raise Failure(f"job {self._name} did not start within {seconds:.0f} s:\n{self.logs()}")
            time.sleep(0.2)

    def reached(self, requests: int, seconds: float = 180) -> None:
        """Wait until a load script has sent so many requests."""
        deadline = time.monotonic() + seconds
        while self._sent() < requests:
            if time.monotonic() > deadline:
                raise Failure(f"job {self._name} sent only {self._sent()} of {requests} requests:\n{self.logs()}")
            time.sleep(0.5)

    def _sent(self) -> int:
        sent = [int(line.split()[1]) for line in self.logs().splitlines() if line.startswith("sent ")]
        return max(sent, default=0)

    def stop(self) -> None:
        """Ask a load script to end."""
        kubectl.kubectl("-n", self._namespace, "exec", f"job/{self._name}", "--", "touch", "/tmp/stop")  # noqa: S108

    def logs(self) -> str:
        """What it printed so far."""
        return kubectl.kubectl("-n", self._namespace, "logs", f"job/{self._name}", "--tail=200", check=False)

    def _ended(self, seconds: float) -> str:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            job = kubectl.read("-n", self._namespace, "job", self._name)
            for condition in job.get("status", {}).get("conditions", ()):
                if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
                    return str(condition["type"])
            time.sleep(0.3)
        raise Failure(f"job {self._name} did not end within {seconds:.0f} s:\n{self.logs()}")

    def _job(self, script: str, arguments: tuple[str, ...], secret: str) -> dict[str, Any]:
        container = {
            "name": "script",
            "image": release.image("TRIMTAB_TOOLBOX_IMAGE"),
            "command": ["python", f"/scripts/{script}", *arguments],
            "env": [
                {"name": "MLFLOW_TRACKING_URI", "value": release.TRACKING_URI},
                {"name": "HOME", "value": "/tmp"},  # noqa: S108
            ],
            "envFrom": [{"secretRef": {"name": secret}}] if secret else [],
            "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}},
            "securityContext": RESTRICTED,
            "volumeMounts": [
                {"name": "scripts", "mountPath": "/scripts"},
                {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            ],
        }
        pod = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "scripts", "configMap": {"name": "scripts"}}, {"name": "tmp", "emptyDir": {}}],
        }
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {"backoffLimit": 0, "template": {"spec": pod}},
        }


def _scripts(namespace: str, files: Mapping[str, Path]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "scripts", "namespace": namespace},
        "data": {name: path.read_text() for name, path in files.items()},
    }
