"""What a user does in one namespace with one model: train, apply, ask, load, wait. Demo and e2e tests share it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from hack import ROOT
from hack.cluster import kubectl
from hack.command import Failure
from hack.demo import release
from hack.demo.script import Script

Object = dict[str, Any]
ALIAS = """
import json, urllib.request
body = json.dumps({{"name": "{name}", "alias": "champion", "version": "{version}"}}).encode()
url = "http://127.0.0.1:5000/api/2.0/mlflow/registered-models/alias"
urllib.request.urlopen(urllib.request.Request(url, body, {{"Content-Type": "application/json"}}), timeout=10)
"""
UPLOAD = """
import sys, urllib.request
url = "http://127.0.0.1:5000/api/2.0/mlflow-artifacts/artifacts/{path}"
urllib.request.urlopen(urllib.request.Request(url, sys.stdin.buffer.read(), method="PUT"), timeout=60)
"""


class Stage:
    """One namespace, and the name of the registered model that is trained and served there."""

    def __init__(self, namespace: str, model: str) -> None:
        self.namespace = namespace
        self.model = model

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 60, check: bool = True) -> str:
        """Run kubectl in this namespace."""
        return kubectl.kubectl("-n", self.namespace, *arguments, stdin=stdin, timeout=timeout, check=check)

    def read(self, kind: str, *name: str) -> Object:
        """One object, or a list of them."""
        found: Object = kubectl.read("-n", self.namespace, kind, *name)
        return found

    def apply(self, path: str) -> None:
        """`kubectl apply` a path of this checkout."""
        self.kubectl("apply", "--server-side", "-f", str(ROOT / path))

    def manifest(self, kind: str, name: str, spec: Object) -> None:
        """`kubectl apply` one resource of ours."""
        metadata = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(body))

    def train(self, kind: str, *arguments: str) -> Object:
        """Train and register one version; what train.py reports."""
        job = f"train-{kind}"
        return Script(self.namespace, job, "train.py", "--model", kind, "--name", self.model, *arguments).result()

    def compare(self, deployment: str, version: str) -> Object:
        """Ask for 100 rows through the Service, and the same of scikit-learn in process; Failure if a label differs."""
        url = f"http://{deployment}.{self.namespace}.svc"
        source = f"models:/{self.model}/{version}"
        arguments = ("--url", url, "--model", deployment, "--source", source)
        return Script(self.namespace, "compare", "compare.py", *arguments).result()

    def load(
        self, name: str, deployment: str, connections: int, seconds: float = 300, pause: float = 0, rows: str = ""
    ) -> Script:
        """Start a load that ends when told to, or after so many seconds; `pause` seconds between two requests, and
        `rows` the address of a CSV file to send."""
        url = f"http://{deployment}.{self.namespace}.svc/v2/models/{deployment}/infer"
        size = ("--seconds", str(seconds), "--connections", str(connections), "--pause", str(pause), "--rows", rows)
        return Script(self.namespace, name, "load.py", "--url", url, *size)

    def upload(self, path: str, text: str) -> str:
        """Put a file among MLflow's artifacts; its address inside the cluster."""
        where = ("-n", release.NAMESPACE, "exec", "-i", f"deploy/{release.NAME}-mlflow", "--")
        kubectl.kubectl(*where, "python", "-c", UPLOAD.format(path=path), stdin=text)
        return f"{release.TRACKING_URI}/api/2.0/mlflow-artifacts/artifacts/{path}"

    def point_alias(self, version: str) -> None:
        """Move the alias as a person would in MLflow's interface."""
        code = ALIAS.format(name=self.model, version=version)
        where = ("-n", release.NAMESPACE, "exec", f"deploy/{release.NAME}-mlflow", "--")
        kubectl.kubectl(*where, "python", "-c", code)

    def serving(self, name: str, version: str, seconds: float = 180) -> Object:
        """Wait until a deployment serves this version and is Ready."""
        return self.until(
            "mdep",
            name,
            lambda obj: condition(obj, "Ready")["status"] == "True" and obj["status"].get("version") == str(version),
            seconds,
        )

    def until(self, kind: str, name: str, check: Callable[[Object], bool], seconds: float = 120) -> Object:
        """Wait until an object passes a check; Failure shows its status."""
        deadline = time.monotonic() + seconds
        while not check(obj := self.read(kind, name)):
            if time.monotonic() > deadline:
                status = json.dumps(obj.get("status", {}), indent=1)
                raise Failure(f"{kind}/{name} did not get there within {seconds:.0f} s; its status is\n{status}")
            time.sleep(0.3)
        return obj


def condition(obj: Object, type_: str) -> Object:
    """A condition of an object; Unknown while it is not there."""
    found = (c for c in obj.get("status", {}).get("conditions", ()) if c["type"] == type_)
    return next(found, {"status": "Unknown", "reason": "", "message": ""})
