"""Servers as pods: an S3 gateway, a hub and registry that want credentials, and somebody who gets messages."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from pathlib import Path
from typing import Any

from hack.cluster import binaries, kubectl, paths
from hack.demo import release
from hack.demo.script import RESTRICTED
from hack.demo.stage import Stage

SCRIPTS = Path(__file__).parent / "scripts"
SHELF = SCRIPTS / "shelf.py"
INBOX = "inbox"
KEYS = {"AWS_ACCESS_KEY_ID": "e2e", "AWS_SECRET_ACCESS_KEY": "e2e-secret", "AWS_REGION": "us-east-1"}
GATEWAY = """
until [ -x /tmp/versitygw ]; do sleep 0.1; done
mkdir -p /tmp/data/models /tmp/sidecar
exec /tmp/versitygw --port :8000 --access "$AWS_ACCESS_KEY_ID" --secret "$AWS_SECRET_ACCESS_KEY" \\
  posix --sidecar /tmp/sidecar /tmp/data
"""


def bucket(stage: Stage) -> dict[str, str]:
    """Start an S3 gateway with the empty bucket `models`; the environment its clients need."""
    _pod(stage, "bucket", ["sh", "-c", GATEWAY], KEYS)
    stage.kubectl("wait", "pod/bucket", "--for=jsonpath={.status.containerStatuses[0].started}=true", "--timeout=60s")
    program = binaries.ensure("versitygw")["versitygw"]
    give = ["sh", "-c", "cat > /tmp/part && chmod +x /tmp/part && mv /tmp/part /tmp/versitygw"]
    command = [binaries.ensure("kubectl")["kubectl"], f"--kubeconfig={paths.KUBECONFIG}", "-n", stage.namespace]
    with program.open("rb") as content:
        subprocess.run([*command, "exec", "-i", "bucket", "--", *give], stdin=content, check=True, timeout=120)
    _ready(stage, "bucket")
    return {**KEYS, "AWS_ENDPOINT_URL": f"http://bucket.{stage.namespace}.svc:8000", "AWS_ALLOW_HTTP": "true"}


def shelf(stage: Stage, content: bytes, token: str, user: str, password: str) -> str:
    """Start the hub and registry with one file, and return their host."""
    told = {"FILE": base64.b64encode(content).decode(), "TOKEN": token, "USER_PASSWORD": f"{user}:{password}"}
    _pod(stage, "shelf", ["python", "-c", SHELF.read_text()], told)
    _ready(stage, "shelf")
    return f"shelf.{stage.namespace}.svc:8000"


def inbox(stage: Stage) -> None:
    """Start who takes messages, by HTTP."""
    stage.kubectl("delete", "pod", INBOX, "--ignore-not-found", "--wait")
    _pod(stage, INBOX, ["python", "-c", (SCRIPTS / "inbox.py").read_text()], {})
    _ready(stage, INBOX)


def titles(stage: Stage, number: int) -> set[str]:
    """The titles of the messages it took, as soon as so many have come; fewer after a minute."""
    deadline = time.monotonic() + 60
    while len(found := _titles(stage)) < number and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def _titles(stage: Stage) -> set[str]:
    return {json.loads(line)["title"] for line in stage.kubectl("logs", INBOX).splitlines()}


def secret(stage: Stage, name: str, entries: dict[str, str]) -> None:
    """Make a Secret, or replace it."""
    meta = {"name": name, "namespace": stage.namespace}
    kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": entries}))


def _ready(stage: Stage, name: str) -> None:
    stage.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s", timeout=70)


def _pod(stage: Stage, name: str, command: list[str], environment: dict[str, str]) -> None:
    container: dict[str, Any] = {
        "name": name,
        "image": release.image("TRIMTAB_TOOLBOX_IMAGE"),
        "command": command,
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "securityContext": RESTRICTED,
        "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    spec = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    meta = {"name": name, "namespace": stage.namespace, "labels": {"app": name}}
    port = {"port": 8000, "targetPort": 8000}
    service = {"selector": {"app": name}, "ports": [port]}
    kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}))
    kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service}))
