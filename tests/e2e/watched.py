"""A Prometheus that scrapes the pods of the real cluster: it is told of all, and the chart's configuration chooses.

It runs beside the cluster and reaches pods by way of the API server, since those of a cluster in a container cannot be
reached otherwise; rules that are added to the chart's say so.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from hack.cluster import binaries, paths
from tests.processes import free_port
from tests.prometheus import BOARDS, Servers, discovered, filled, panels, scrape_jobs

INTERVAL = "2s"
STEP_SECONDS = 2
LOOK_SECONDS = 1.0
ARRIVAL_SECONDS = 60.0


class Watch(Servers):
    """Prometheus, Alertmanager, and the alerts that arrived at the end of the wire."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.received: list[dict[str, Any]] = []
        self._proxy = free_port()
        self._over = threading.Event()
        self._began = time.time()

    @contextmanager
    def running(self) -> Iterator[Watch]:
        """All of it."""
        hook = ThreadingHTTPServer(("127.0.0.1", self.hook), _hook(self.received))
        threading.Thread(target=hook.serve_forever, daemon=True).start()
        try:
            program = binaries.ensure("kubectl")["kubectl"]
            command = [program, f"--kubeconfig={paths.KUBECONFIG}", "proxy", f"--port={self._proxy}"]
            self._processes.spawn("proxy", command)
            threading.Thread(target=self._look, daemon=True).start()
            self.start(self._jobs())
            yield self
        finally:
            self._over.set()
            self._processes.end_all(at_once=["prometheus", "prometheus-alertmanager", "proxy"])
            hook.shutdown()
            hook.server_close()

    def scraped(self) -> None:
        """Wait until pods of all three kinds were scraped."""
        jobs = {job["job_name"] for job in self._jobs()}

        def up() -> set[str]:
            return {row["metric"]["job"] for row in self._ask("query", query="up == 1")}

        _until(lambda: up() == jobs, lambda: f"of {jobs} only {up()} are up; see {self.folder}")

    def alert(self, name: str, namespace: str, status: str = "firing") -> dict[str, str]:
        """Wait until an alert about something in a namespace has come; its labels."""

        def come() -> list[dict[str, str]]:
            wanted = {"alertname": name, "namespace": namespace}.items()
            alerts = [alert["labels"] for alert in list(self.received) if alert["status"] == status]
            return [labels for labels in alerts if wanted <= labels.items()]

        _until(lambda: bool(come()), lambda: f"{name} of {namespace} is {status}; what arrived is {self.received}")
        return come()[0]

    def empty_panels(self, namespace: str) -> set[str]:
        """The panels of all dashboards that showed nothing of a namespace, at any time since the beginning."""
        shown = {(board, panel["title"]): panel["targets"] for board in BOARDS for panel in panels(board)}
        return {
            f"{board} / {title}"
            for (board, title), targets in shown.items()
            if not all(self._series(target["expr"], namespace) for target in targets)
        }

    def _look(self) -> None:
        """Tell Prometheus of the pods there are, until the end."""
        while not self._over.wait(LOOK_SECONDS):
            with suppress(OSError, ValueError), urllib.request.urlopen(f"{self._api}/api/v1/pods", timeout=5) as answer:
                self.find([target for pod in json.load(answer)["items"] for target in _targets(pod)])

    @property
    def _api(self) -> str:
        return f"http://127.0.0.1:{self._proxy}"

    def _jobs(self) -> list[dict[str, Any]]:
        """The chart's jobs, by way of the API server."""
        pod = ["namespace", "pod_name", "pod_container_port_number"]
        way = [
            {"source_labels": ["__address__"], "target_label": "instance"},
            {
                "source_labels": [*(f"__meta_kubernetes_{part}" for part in pod), "__metrics_path__"],
                "regex": "(.+);(.+);(.+);(.+)",
                "replacement": "/api/v1/namespaces/$1/pods/$2:$3/proxy$4",
                "target_label": "__metrics_path__",
            },
            {"replacement": f"127.0.0.1:{self._proxy}", "target_label": "__address__"},
        ]
        return [{**job, "relabel_configs": [*job["relabel_configs"], *way]} for job in scrape_jobs(INTERVAL)]

    def _series(self, expression: str, namespace: str) -> list[Any]:
        span = {"start": str(self._began), "end": str(time.time()), "step": str(STEP_SECONDS)}
        return self._ask("query_range", query=filled(expression, namespace=namespace), **span)

    def _ask(self, path: str, **query: str) -> list[Any]:
        """The series in an answer; none while nobody listens. AssertionError quotes what Prometheus complains of."""
        try:
            with urllib.request.urlopen(f"{self.url(path)}?{urlencode(query)}", timeout=30) as answer:
                found: list[Any] = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from error
        except urllib.error.URLError:
            return []
        return found


def _targets(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The ports of a pod, as Prometheus finds them."""
    meta, address = pod["metadata"], pod["status"].get("podIP")
    for port in (port for container in pod["spec"]["containers"] for port in container.get("ports", ())):
        if address:
            where = f"{address}:{port['containerPort']}"
            yield discovered(where, meta, meta["namespace"], meta["name"], port.get("name", ""))


def _until(done: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while not done():
        assert time.monotonic() < deadline, f"not within {ARRIVAL_SECONDS:.0f} s: {what()}"
        time.sleep(0.3)


def _hook(received: list[dict[str, Any]]) -> type[BaseHTTPRequestHandler]:
    class Hook(BaseHTTPRequestHandler):
        """Takes what Alertmanager sends."""

        def do_POST(self) -> None:
            received.extend(json.loads(self.rfile.read(int(self.headers["content-length"])))["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    return Hook
