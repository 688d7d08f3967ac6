"""Deployments of the smallest server, each of which can be given exactly one fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hack.demo import release

OWN = (Path(__file__).parent / "scripts" / "own.py").read_text()
SMALL = {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}}


def spec(faults: dict[str, str], **more: Any) -> dict[str, Any]:
    """The spec of a ModelDeployment of two pods; `faults` are the variables of scripts/own.py."""
    image = release.image("TRIMTAB_SERVER_IMAGE")
    env = [{"name": name, "value": value} for name, value in {"FACTOR": "2", **faults}.items()]
    container = {"command": ["python", "-c"], "args": [OWN], "image": image}
    return {"container": container, "env": env, "replicas": 2, "resources": SMALL, **more}
