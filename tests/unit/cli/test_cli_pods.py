"""Pods asked through an API server: the paths that are requested, and what becomes of answers that are no good."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trimtab.cli.cluster import LARGEST, Cluster
from trimtab.cli.errors import Failure

PODS = "/api/v1/namespaces/ml/pods"
COUNTS = f"{PODS}/a:8080/proxy/trimtab/v1/counts"
ANSWERS = {
    COUNTS: (200, b'{"schema": 1}'),
    f"{PODS}/b:8080/proxy/trimtab/v1/counts": (403, json.dumps({"message": "pods b is forbidden"}).encode()),
    f"{PODS}/c:8080/proxy/trimtab/v1/counts": (200, b" " * (LARGEST + 1)),
    f"{PODS}/d:8080/proxy/trimtab/v1/counts": (503, b"no endpoints"),
    PODS: (200, json.dumps({"items": [{"metadata": {"name": "b"}}, {"metadata": {"name": "a"}}]}).encode()),
}


@pytest.fixture
def cluster(tmp_path):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            status, body = ANSWERS.get(self.path.split("?")[0], (404, b"what?"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    here = {"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [here],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "ml"}}],
        "current-context": "here",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    made = Cluster(str(tmp_path / "kubeconfig"), None, None)
    made.asked = asked
    yield made
    server.shutdown()
    server.server_close()


def test_a_pod_is_asked_by_its_port_and_path(cluster):
    assert cluster.ask("a", 8080, "/trimtab/v1/counts") == b'{"schema": 1}'
    assert cluster.asked == [COUNTS]


def test_pods_are_listed_by_label_and_name(cluster):
    assert [pod["metadata"]["name"] for pod in cluster.pods("x=y,z=1")] == ["a", "b"]
    assert cluster.asked == [f"{PODS}?labelSelector=x%3Dy%2Cz%3D1"]


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        ("b", "HTTP 403: pods b is forbidden"),
        ("c", "the answer is larger than 8 MiB"),
        ("d", "HTTP 503: Service Unavailable"),
        ("e", "HTTP 404: Not Found"),
    ],
)
def test_an_answer_that_is_no_good_says_why(cluster, pod, message):
    with pytest.raises(Failure) as raised:
        cluster.ask(pod, 8080, "/trimtab/v1/counts")
    assert raised.value.message == message
