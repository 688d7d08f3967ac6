"""What the demo shows, step by step. Each step waits for what it claims, and fails loudly if that does not come."""

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
from hack.progress import say, step

NAMESPACE = "demo"
MODEL = "tumour"
ROW = json.dumps({"inputs": [{"name": "input", "shape": [1, 30], "datatype": "FP32", "data": [1.0] * 30}]})
ALIAS = """
import json, urllib.request
body = json.dumps({{"name": "{name}", "alias": "champion", "version": "{version}"}}).encode()
url = "http://127.0.0.1:5000/api/2.0/mlflow/registered-models/alias"
request = urllib.request.Request(url, body, {{"Content-Type": "application/json"}})
print(urllib.request.urlopen(request, timeout=10).status)
"""


def tell() -> None:
    """The story, once Trimtab is installed."""
    with step("clear what an earlier demo left"):
        release.restricted(NAMESPACE)
        kubectl.kubectl("-n", NAMESPACE, "delete", "mdep,mlm", "--all", "--wait", "--timeout=60s", timeout=90)
    with step("train a logistic regression on Wisconsin breast-cancer data, in a Job that logs to MLflow"):
        first = train("logistic", "--alias", "champion")
    say(f"  version {first['version']}, accuracy {first['accuracy']:.3f} on 100 held-out patients")
    with step("import it, convert it to ONNX, serve it: kubectl apply -f examples/quickstart"):
        apply("examples/quickstart")
        apply("hack/demo/elastic.yaml")
        serving(MODEL, first["version"])
    _parity()
    with step("ask the Service for the held-out rows and compare with scikit-learn"):
        say(f"  {_compared(compare('compare', first['version']))}")
    burst = load("burst", "elastic", connections=4)
    with step("train a random forest as the next version, while another deployment is put under load"):
        second = train("forest")
        burst.started()
    with step("watch the autoscaler add pods"):
        say(f"  {scaled(lambda pods: pods > 1)} pods")
    burst.stop()
    _switch(first, second)
    with step("watch the autoscaler take the pods away again"):
        say(f"  {scaled(lambda pods: pods == 1)} pod")
    say(kubectl.kubectl("-n", NAMESPACE, "get", "mlm,mdep"))


def _switch(first: dict[str, Any], second: dict[str, Any]) -> None:
    with step("move the alias to the forest, and traffic with it, under load"):
        traffic = load("traffic", MODEL, connections=4)
        traffic.started()
        point_alias(second["version"])
        serving(MODEL, second["version"])
        traffic.stop()
        counted = traffic.result(check=False)
    say(f"  version {first['version']} → {second['version']}: {_counted(counted)}")
    if counted["failed"]:
        raise Failure("requests failed while traffic moved")
    with step("compare the forest's answers with scikit-learn, too"):
        say(f"  {_compared(compare('compare', second['version']))}")


def train(model: str, *arguments: str) -> dict[str, Any]:
    """Train and register one version; what train.py reports."""
    return Script(NAMESPACE, f"train-{model}", "train.py", "--model", model, "--name", MODEL, *arguments).result()


def compare(name: str, version: str) -> dict[str, Any]:
    """Ask for 100 rows through the Service, and the same of scikit-learn in process; Failure if a label differs."""
    url = f"http://{MODEL}.{NAMESPACE}.svc"
    source = f"models:/{MODEL}/{version}"
    return Script(NAMESPACE, name, "compare.py", "--url", url, "--model", MODEL, "--source", source).result()


def load(name: str, deployment: str, connections: int) -> Script:
    """Start a load that ends when told to."""
    url = f"http://{deployment}.{NAMESPACE}.svc/v2/models/{deployment}/infer"
    return Script(
        NAMESPACE, name, "load.py", "--url", url, "--json", ROW, "--seconds", "300", "--connections", str(connections)
    )


def point_alias(version: str) -> None:
    """Move the alias as a person would in MLflow's interface."""
    code = ALIAS.format(name=MODEL, version=version)
    where = ("-n", release.NAMESPACE, "exec", f"deploy/{release.NAME}-mlflow", "--")
    kubectl.kubectl(*where, "python", "-c", code)


def apply(path: str) -> None:
    """`kubectl apply -f` a path of this checkout, in the demo's namespace."""
    kubectl.kubectl("-n", NAMESPACE, "apply", "--server-side", "-f", str(ROOT / path))


def serving(name: str, version: str, seconds: float = 180) -> None:
    """Wait until a deployment serves this version and is Ready."""

    def check(mdep: dict[str, Any]) -> bool:
        status = mdep.get("status", {})
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))
        return ready and status.get("version") == str(version)

    _until(("mdep", name), check, seconds)


def scaled(enough: Callable[[int], bool], seconds: float = 180) -> int:
    """Wait until the elastic deployment has enough (or few enough) ready pods; how many."""
    mdep = _until(("mdep", "elastic"), lambda obj: enough(obj.get("status", {}).get("available", 0)), seconds)
    return int(mdep["status"]["available"])


def _until(what: tuple[str, str], check: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        obj: dict[str, Any] = kubectl.read("-n", NAMESPACE, *what)
        if check(obj):
            return obj
        if time.monotonic() > deadline:
            status = json.dumps(obj.get("status", {}), indent=1)
            raise Failure(f"{'/'.join(what)} did not get there within {seconds:.0f} s; its status is\n{status}")
        time.sleep(0.3)


def _parity() -> None:
    model = kubectl.read("-n", NAMESPACE, "mlm", MODEL)
    current = next(r for r in model["status"]["revisions"] if r["digest"] == model["status"]["current"])
    parity = current.get("parity", {})
    say(f"  runtime {current['runtime']}, digest {current['digest'][:19]}, compared on {parity.get('rows')} rows:")
    say(f"  largest difference {parity.get('maxAbsDiff')}, labels that differ {parity.get('mismatchPercent')} %")


def _compared(result: dict[str, Any]) -> str:
    return (
        f"{result['same']} of {result['rows']} labels are the same, probabilities differ by at most "
        f"{result['largest_difference']:.1e}; revision {result['revision']}"
    )


def _counted(counted: dict[str, Any]) -> str:
    shares = ", ".join(f"{k.split()[1]} {v}" for k, v in counted.items() if k.startswith("revision"))
    return f"{counted['requests']} requests, {counted['failed']} failed ({shares})"
