"""What the demo shows, step by step. Each step waits for what it claims, and fails loudly if that does not come."""

from __future__ import annotations

from typing import Any

from hack.command import Failure
from hack.demo import release
from hack.demo.stage import Stage
from hack.progress import say, step

STAGE = Stage("demo", "tumour")
MODEL = STAGE.model


def tell() -> None:
    """The story, once Trimtab is installed."""
    with step("clear what an earlier demo left"):
        release.restricted(STAGE.namespace)
        STAGE.kubectl("delete", "mdep,mlm", "--all", "--wait", "--timeout=60s", timeout=90)
    with step("train a logistic regression on Wisconsin breast-cancer data, in a Job that logs to MLflow"):
        first = STAGE.train("logistic", "--alias", "champion")
    say(f"  version {first['version']}, accuracy {first['accuracy']:.3f} on 100 held-out patients")
    with step("import it, convert it to ONNX, serve it: kubectl apply -f examples/quickstart"):
        STAGE.apply("examples/quickstart")
        STAGE.apply("hack/demo/elastic.yaml")
        STAGE.serving(MODEL, first["version"])
    _tell_parity()
    with step("ask the Service for the held-out rows and compare with scikit-learn"):
        compared = STAGE.compare(MODEL, first["version"])
    _tell_compared(compared)
    burst = STAGE.load("burst", "elastic", connections=4)
    with step("train a random forest as the next version, while another deployment is put under load"):
        second = STAGE.train("forest")
        burst.started()
    with step("watch the autoscaler add pods"):
        _scaled(lambda pods: pods > 1)
    burst.stop()
    _switch(first, second)
    with step("watch the autoscaler take the pods away again"):
        _scaled(lambda pods: pods == 1)
    say(STAGE.kubectl("get", "mlm,mdep"))


def _switch(first: dict[str, Any], second: dict[str, Any]) -> None:
    with step("move the alias to the forest, and traffic with it, under load"):
        traffic = STAGE.load("traffic", MODEL, connections=8, pause=0.01)
        traffic.started()
        STAGE.point_alias(second["version"])
        STAGE.serving(MODEL, second["version"])
        traffic.stop()
        counted = traffic.result(check=False)
    shares = ", ".join(f"{k.split()[1]}: {v}" for k, v in counted.items() if k.startswith("revision"))
    say(f"  version {first['version']} → {second['version']}")
    say(f"  {counted['requests']} requests, {counted['failed']} failed; by revision {shares}")
    if counted["failed"]:
        raise Failure(f"requests failed while traffic moved: {counted}")
    with step("compare the forest's answers with scikit-learn, too"):
        compared = STAGE.compare(MODEL, second["version"])
    _tell_compared(compared)


def _scaled(enough: Any) -> None:
    mdep = STAGE.until("mdep", "elastic", lambda obj: enough(obj.get("status", {}).get("available", 0)), 180)
    say(f"  {mdep['status']['available']} pods available")


def _tell_parity() -> None:
    model = STAGE.read("mlm", MODEL)
    current = next(r for r in model["status"]["revisions"] if r["digest"] == model["status"]["current"])
    parity = current.get("parity", {})
    say(f"  runtime {current['runtime']}, digest {current['digest'][:19]}, compared on {parity.get('rows')} rows:")
    say(f"  largest difference {parity.get('maxAbsDiff')}, labels that differ {parity.get('mismatchPercent')} %")


def _tell_compared(result: dict[str, Any]) -> None:
    say(f"  {result['same']} of {result['rows']} labels are the same, by revision {result['revision']};")
    say(f"  probabilities differ by at most {result['largest_difference']:.1e}")
