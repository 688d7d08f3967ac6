"""How long a pod takes from its creation until it is ready, on the local cluster with the image present.

    python -m bench.pods [--times 5]

Needs the cluster with Trimtab installed (`make demo` leaves one). One small model is served by ONNX Runtime and, not
converted, by the Python runtime. Each time the only pod is deleted, and its successor is watched: scheduled, the bundle
fetched and verified, ready (loaded, warmed, and seen to be so by the kubelet, which looks once a second). The seconds
are those of the watcher's clock, since the times in a pod's status are whole seconds.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hack.cluster import binaries, engine, paths
from hack.demo import release
from hack.demo.stage import Stage, condition

MODEL = "bench-pods"
STEPS = ("PodScheduled", "Initialized", "Ready")
LINE = (
    "{.metadata.name}" + "".join(f'|{{.status.conditions[?(@.type=="{step}")].status}}' for step in STEPS) + '{"\\n"}'
)
CASES = {"onnx": {"optimize": "Auto"}, "python": {"optimize": "Off"}}


@contextmanager
def lines(stage: Stage, name: str) -> Iterator[Iterator[str]]:
    """A watch of one deployment's pods: a line for each change."""
    kubectl = binaries.ensure("kubectl")["kubectl"]
    select = f"trimtab.dev/deployment={name}"
    command = [kubectl, f"--kubeconfig={paths.KUBECONFIG}", "-n", stage.namespace, "--request-timeout=120s"]
    command += ["get", "pods", "-l", select]
    watch = subprocess.Popen([*command, "--watch", "-o", f"jsonpath={LINE}"], stdout=subprocess.PIPE, text=True)
    try:
        assert watch.stdout is not None
        yield iter(watch.stdout.readline, "")
    finally:
        watch.kill()
        watch.wait()


def replaced(stage: Stage, name: str) -> list[float]:
    """Delete the pod; seconds from the creation of the next one until each step."""
    (pod,) = stage.read("pods", "-l", f"trimtab.dev/deployment={name}")["items"]
    with lines(stage, name) as told:
        stage.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
        reached: dict[str, float] = {}
        for line in told:
            found, *states = line.strip().split("|")
            if found != pod["metadata"]["name"]:
                now = time.monotonic()
                reached.setdefault("created", now)
                for step in (step for step, state in zip(STEPS, states, strict=True) if state == "True"):
                    reached.setdefault(step, now)
            if "Ready" in reached:
                break
    # It drains for some seconds, and must not compete with the next one.
    stage.kubectl("wait", "--for=delete", f"pod/{pod['metadata']['name']}", "--timeout=60s")
    return [reached[step] - reached["created"] for step in STEPS]


def measure(stage: Stage, times: int) -> list[list[str]]:
    """A row for each runtime."""
    version = stage.train("logistic")["version"]
    rows = []
    for name, how in CASES.items():
        stage.manifest("MLModel", name, {"source": {"uri": f"models:/{MODEL}/{version}"}, **how})
        stage.manifest("ModelDeployment", name, {"model": {"name": name}})
        served = stage.until("mdep", name, lambda obj: condition(obj, "Ready")["status"] == "True", 240)
        found = [replaced(stage, name) for _ in range(times)]
        runtime = served["status"]["revisions"][0]["runtime"]
        medians = [f"{statistics.median(column):.2f} s" for column in zip(*found, strict=True)]
        rows.append([runtime, *medians, f"{max(run[-1] for run in found):.2f} s"])
    return rows


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5, help="pods to measure for each runtime (default 5)")
    times = parser.parse_args().times
    engine.require()
    release.restricted(MODEL)
    stage = Stage(MODEL, MODEL)
    try:
        rows = measure(stage, times)
    finally:
        stage.kubectl("delete", "namespace", MODEL, "--wait=false")
    head = ["runtime", "scheduled", "bundle there", "ready", "slowest of all"]
    print("\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]))


if __name__ == "__main__":
    main()
