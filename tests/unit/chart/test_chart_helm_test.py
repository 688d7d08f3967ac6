"""`helm test`: the pod asks the addresses that exist, and its script says what does not answer."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.chart import CHART, EVERYTHING, EXTERNAL, one, render


class Server(ThreadingHTTPServer):
    """Answers /late with 503 twice before 200, and all else with 200."""

    asked = 0


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        self.server.asked += 1
        late = self.path == "/late" and self.server.asked < 3
        self.send_response(503 if late or self.path == "/never" else 200)
        self.end_headers()
        self.wfile.write(b"caches are not warm yet" if late or self.path == "/never" else b"ok")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def addresses(pod: dict[str, Any]) -> list[str]:
    return list(pod["spec"]["containers"][0]["args"][1:])


def check(script: str, *urls: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *urls]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_it_asks_the_operator_and_the_embedded_mlflow() -> None:
    objects = render({})
    asked = addresses(one(objects, "Pod", "trimtab-test"))
    mlflow = "http://trimtab-mlflow.trimtab-system.svc:5000"
    assert asked == [
        "http://trimtab-metrics.trimtab-system.svc:8080/readyz",
        f"{mlflow}/health",
        f"{mlflow}/api/2.0/mlflow/experiments/get?experiment_id=0",
    ]
    ports = {o["metadata"]["name"]: o["spec"]["ports"][0]["port"] for o in objects if o["kind"] == "Service"}
    assert ports == {"trimtab-metrics": 8080, "trimtab-mlflow": 5000, "trimtab-xds": 18000}


def test_it_asks_only_what_is_installed() -> None:
    assert addresses(one(render(EXTERNAL), "Pod", "trimtab-test")) == [
        "http://trimtab-metrics.trimtab-system.svc:8080/readyz"
    ]
    assert ":9090/readyz" in addresses(one(render(EVERYTHING), "Pod", "trimtab-tt-test"))[0]


def test_it_leaves_nothing_behind() -> None:
    pod = one(render({}), "Pod", "trimtab-test")
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["activeDeadlineSeconds"] > 120
    notes = pod["metadata"]["annotations"]
    assert notes["helm.sh/hook"] == "test"
    assert notes["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"


def test_the_rendered_script_is_the_file_and_waits_for_answers(url: str) -> None:
    script = one(render({}), "Pod", "trimtab-test")["spec"]["containers"][0]["args"][0]
    assert script.strip() == (CHART / "files/reachable.py").read_text().strip()
    script = script.replace("sleep(1)", "sleep(0.01)")
    done = check(script, f"{url}/late", f"{url}/health")
    assert (done.returncode, done.stdout) == (0, f"{url}/late: 200\n{url}/health: 200\n")


@pytest.mark.parametrize(("path", "words"), [("/never", "503 caches are not warm yet"), ("", "Connection refused")])
def test_it_names_the_address_and_the_answer_it_got(url: str, path: str, words: str) -> None:
    script = (CHART / "files/reachable.py").read_text().replace("+ 120", "+ 0")
    address = url + path if path else "http://127.0.0.1:9"
    done = check(script, address)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{address} does not answer 200: ")
    assert words in done.stderr
