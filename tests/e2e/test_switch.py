"""A revision switch on real pods under continuous load through the Service: not one request may fail."""

from __future__ import annotations

from hack.demo.stage import Stage, condition
from tests.e2e.conftest import SHARED

ENOUGH = 20_000


def test_no_request_fails_while_traffic_moves_there_and_back(stage: Stage, versions: dict[str, str]) -> None:
    source = {"uri": f"models:/{SHARED}/{versions['logistic']}"}
    stage.manifest("MLModel", "tumour", {"source": source})
    stage.manifest("ModelDeployment", "tumour", {"model": {"name": "tumour"}, "replicas": 2})
    first = stage.serving("tumour", versions["logistic"])["status"]["serving"]

    traffic = stage.load("traffic", "tumour", connections=8)
    traffic.started()
    stage.manifest("MLModel", "tumour", {"source": {"uri": f"models:/{SHARED}/{versions['forest']}"}})
    second = stage.serving("tumour", versions["forest"])["status"]["serving"]
    pinned = {"model": {"name": "tumour", "revision": _digest(stage, first)}, "replicas": 2}
    stage.manifest("ModelDeployment", "tumour", pinned)
    stage.serving("tumour", versions["logistic"])
    stage.kubectl("rollout", "restart", f"deployment/tumour-{first}")
    stage.kubectl("rollout", "status", f"deployment/tumour-{first}", "--timeout=120s", timeout=130)
    traffic.reached(ENOUGH)
    traffic.stop()

    counted = traffic.result(check=False)
    assert counted["failed"] == 0, counted
    assert counted["requests"] >= ENOUGH
    answered = {key for key in counted if key.startswith("revision ")}
    assert len(answered) == 2, f"both revisions must have answered: {counted}"
    assert second != first


def _digest(stage: Stage, revision: str) -> str:
    model = stage.read("mlm", "tumour")
    mdep = stage.until("mdep", "tumour", lambda obj: condition(obj, "Ready")["status"] == "True")
    known = {r["name"]: r["digest"] for r in mdep["status"]["revisions"]}
    oldest = model["status"]["revisions"][-1]["digest"]
    return known.get(revision, oldest)
