"""What goes wrong on purpose: servers that have exactly one fault, and pods that are killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hack.cluster import kubectl
from hack.demo import release
from hack.demo.stage import Stage

OWN = (Path(__file__).parent / "scripts" / "own.py").read_text()
SMALL = {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}}


def spec(faults: dict[str, str], **more: Any) -> dict[str, Any]:
    """The spec of a ModelDeployment of two pods; `faults` are the variables of scripts/own.py."""
    image = release.image("TRIMTAB_SERVER_IMAGE")
    env = [{"name": name, "value": value} for name, value in {"FACTOR": "2", **faults}.items()]
    container = {"command": ["python", "-c"], "args": [OWN], "image": image}
    return {"container": container, "env": env, "replicas": 2, "resources": SMALL, **more}


def kill_operator_and_a_router(stage: Stage, name: str) -> None:
    """Take all operator pods away without a word, and delete one router of `name`."""
    operator = ("-n", release.NAMESPACE, "delete", "pod", "-l", "app.kubernetes.io/component=operator")
    kubectl.kubectl(*operator, "--grace-period=0", "--force", "--wait=false")
    router, *_ = stage.read("pods", "-l", f"trimtab.dev/router={name}")["items"]
    stage.kubectl("delete", "pod", router["metadata"]["name"], "--wait=false")
