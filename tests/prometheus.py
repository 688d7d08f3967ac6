"""Debian's Prometheus and Alertmanager as processes of this machine, told what the chart's own files tell them.

How often targets are asked and how long an alert has to last are other than in production, and so is where targets
come from: Debian builds its Prometheus without the discovery of Kubernetes. They are named in a file instead, with the
labels that discovery gives, so that the chart's own rules decide what is scraped and how it is called.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hack.cluster import packages
from tests.chart import CHART
from tests.processes import Processes, free_port

PACKAGES = {"prometheus": "promtool", "prometheus-alertmanager": "prometheus-alertmanager"}
WINDOW = "20s"
"""Of the rates in dashboards."""
FAST = "1s"
TARGETS = "targets.json"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((CHART / "files/dashboards").glob("*.json"))}


def panels(board: str) -> list[dict[str, Any]]:
    """The panels of a dashboard that ask for something."""
    return [panel for panel in BOARDS[board]["panels"] if panel["type"] != "row"]


def filled(expression: str, **variables: str) -> str:
    """A query as Grafana sends it; a variable that is not given stands for everything."""
    chosen = {"__rate_interval": WINDOW, "namespace": ".*", "name": ".*", **variables}
    return re.sub(r"\$(__rate_interval|namespace|name)\b", lambda found: chosen[found[1]], expression)


def scrape_jobs(interval: str) -> list[dict[str, Any]]:
    """The chart's scrape configuration, with targets from the file that `Servers.find` writes."""
    jobs: list[dict[str, Any]] = yaml.safe_load((CHART / "files/scrape.yaml").read_text())
    for job in jobs:
        del job["kubernetes_sd_configs"]
        job |= {"file_sd_configs": [{"files": [TARGETS]}], "scrape_interval": interval, "scrape_timeout": interval}
    return jobs


def discovered(address: str, pod: Mapping[str, Any], namespace: str, name: str, port: str) -> dict[str, Any]:
    """A target as Prometheus finds a port of a pod in a cluster; `pod` is its metadata."""
    labels = {"namespace": namespace, "pod_name": name, "pod_container_port_name": port}
    labels["pod_container_port_number"] = address.rpartition(":")[2]
    for kind in ("labels", "annotations"):
        for key, value in pod.get(kind, {}).items():
            plain = "".join(c if c.isalnum() else "_" for c in key)
            labels[f"pod_{kind.removesuffix('s')}_{plain}"] = value
    return {"targets": [address], "labels": {f"__meta_kubernetes_{key}": value for key, value in labels.items()}}


class Servers:
    """Prometheus and Alertmanager, with logs and data in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.alertmanager, self.hook = free_port(), free_port(), free_port()
        self._processes = Processes(folder)

    def find(self, targets: list[dict[str, Any]]) -> None:
        """Have these scraped from now on, and no others."""
        part = self.folder / f"{TARGETS}.part"
        part.write_text(json.dumps(targets))
        part.replace(self.folder / TARGETS)

    def start(self, jobs: list[dict[str, Any]]) -> None:
        """Begin to scrape, to evaluate the chart's rules, and to send what fires to the port `hook`."""
        self._write("rules", _at_once())
        self._write("prometheus", self._configuration(jobs))
        self._write("alertmanager", self._routing())
        self._spawn("prometheus", self.port, "--storage.tsdb.path=data", "--config.file=prometheus.yaml")
        quiet = ("--cluster.listen-address=", "--storage.path=silences", "--config.file=alertmanager.yaml")
        self._spawn("prometheus-alertmanager", self.alertmanager, *quiet)

    def stop(self) -> None:
        """End both."""
        self._processes.end_all(at_once=["prometheus", "prometheus-alertmanager"])

    def url(self, path: str) -> str:
        """The address of a part of Prometheus' API."""
        return f"http://127.0.0.1:{self.port}/api/v1/{path}"

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(content))

    def _spawn(self, name: str, port: int, *flags: str) -> None:
        program = packages.locate(name)
        assert program is not None, f"{name} is not installed"
        command = ["env", "-C", str(self.folder), program, f"--web.listen-address=127.0.0.1:{port}", *flags]
        self._processes.spawn(name, command)

    def _configuration(self, jobs: list[dict[str, Any]]) -> dict[str, Any]:
        told = [{"static_configs": [{"targets": [f"127.0.0.1:{self.alertmanager}"]}]}]
        return {
            "global": {"evaluation_interval": FAST},
            "scrape_configs": jobs,
            "rule_files": ["rules.yaml"],
            "alerting": {"alertmanagers": told},
        }

    def _routing(self) -> dict[str, Any]:
        hook = {"name": "hook", "webhook_configs": [{"url": f"http://127.0.0.1:{self.hook}/"}]}
        route = {"receiver": "hook", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
        return {"route": route, "receivers": [hook]}


def _at_once() -> dict[str, Any]:
    """The chart's rules, of which none waits."""
    rules: dict[str, Any] = yaml.safe_load((CHART / "files/alerts.yaml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["for"] = "0s"
    return rules
