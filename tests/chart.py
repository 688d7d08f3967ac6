"""The chart as Helm renders it, for tests: one process of a few hundredths of a second for each set of values."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from hack.cluster import binaries

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts" / "trimtab"
# Helm takes the cluster's version from the cluster; without one it must be told.
FLAGS = ("--kube-version", "1.34.0")
# So short a life needs no garbage collector, which would take a sixth of it.
ENVIRONMENT = {**os.environ, "GOGC": "off"}
EXTERNAL = yaml.safe_load((ROOT / "examples/helm/values-external-mlflow.yaml").read_text())
EVERYTHING: dict[str, Any] = {
    "nameOverride": "tt",
    "imageRegistry": "registry.example.com/ml",
    "imagePullSecrets": [{"name": "pull"}],
    "image": {"digest": "sha256:" + "a" * 64},
    "replicaCount": 3,
    "podDisruptionBudget": {"minAvailable": 2},
    "jobSecretName": "store-credentials",
    "notifications": {"secretName": "channels", "ports": [443, 587]},
    "mlflow": {
        "image": {"repository": "mlflow", "tag": "v3"},
        "persistence": {"storageClassName": "fast"},
        "extraAllowedHosts": ["mlflow.example.com"],
        "extraEnv": [{"name": "AWS_REGION", "value": "eu-central-1"}],
        "podAnnotations": {"a": "b"},
        "podLabels": {"sidecar.istio.io/inject": "false"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "team", "operator": "Exists", "effect": "NoSchedule"}],
        "serviceAccount": {"annotations": {"role": "mlflow"}},
    },
    "serviceAccount": {"annotations": {"role": "operator"}},
    "networkPolicy": {
        "from": [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}],
        "extraEgress": [{"ports": [{"port": 3128, "protocol": "TCP"}]}],
    },
    "metrics": {
        "port": 9090,
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "alerts": {
            "runbookUrl": "https://runbooks.example.com/trimtab",
            "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
            "configMap": {"enabled": True, "labels": {"prometheus_rule": "1"}},
        },
        "dashboards": {"enabled": True, "annotations": {"grafana_folder": "Models"}},
    },
    "podAnnotations": {"a": "b"},
    "commonLabels": {"team": "platform", "cost-center": "007"},
    "podLabels": {"team": "ml"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "team", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "priorityClassName": "system-cluster-critical",
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
}
DATABASE: dict[str, Any] = {
    "mlflow": {"database": {"existingSecret": "postgres"}, "artifactsDestination": "s3://runs/artifacts"}
}
VALUES: dict[str, dict[str, Any]] = {
    "default": {},
    "external MLflow": EXTERNAL,
    "database and bucket": DATABASE,
    "two namespaces": {"watchNamespaces": ["team-a", "123"]},
    "one replica, nothing kept": {
        "replicaCount": 1,
        "mlflow": {"persistence": {"enabled": False}},
        "networkPolicy": {"enabled": False},
        "rbac": {"create": False, "aggregate": False},
        "crds": {"enabled": False},
    },
    "everything": EVERYTHING,
}
Objects = list[dict[str, Any]]


class RefusedError(Exception):
    """Helm rendered nothing; the text is what the user reads."""


def run_helm(*arguments: str, values: Mapping[str, Any] | None = None) -> str:
    """Run one helm command with these values and return its output; RefusedError with what it complains of."""
    helm = binaries.ensure("helm")["helm"]
    done = subprocess.run(
        [str(helm), *FLAGS, *arguments, "--values", "-"],
        input=json.dumps(values or {}),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise RefusedError(done.stdout + done.stderr)
    return done.stdout


def render(
    values: Mapping[str, Any] | None = None,
    release: str = "trimtab",
    namespace: str = "trimtab-system",
    chart: Path = CHART,
) -> Objects:
    """Objects of the chart for some values. Each combination is rendered once: change nothing in what is returned."""
    return _render(json.dumps(values or {}, sort_keys=True), release, namespace, chart)


@cache
def _render(values: str, release: str, namespace: str, chart: Path) -> Objects:
    text = run_helm("template", release, str(chart), "--namespace", namespace, values=json.loads(values))
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


def one(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    """The object of this kind and name; there must be exactly one."""
    found = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} objects {kind}/{name} among {names(objects)}"
    return found[0]


def names(objects: Objects) -> set[str]:
    return {f"{o['kind']}/{o['metadata']['name']}" for o in objects}


def pod_specs(objects: Objects) -> dict[str, dict[str, Any]]:
    """Every pod the chart would run, by the object that makes it."""
    pods = {}
    for o in objects:
        if o["kind"] == "Pod":
            pods[f"Pod/{o['metadata']['name']}"] = o["spec"]
        elif "template" in o.get("spec", {}):
            pods[f"{o['kind']}/{o['metadata']['name']}"] = o["spec"]["template"]["spec"]
    return pods


def environment(container: dict[str, Any]) -> dict[str, Any]:
    """A container's environment by name: the value, or where it comes from."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container.get("env", [])}
