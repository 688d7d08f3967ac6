"""What goes wrong with real pods is told in one reason with the pods' own words, and never touches what serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hack.cluster import kubectl
from hack.demo import release
from hack.demo.stage import Stage, condition
from tests.argocd import health
from tests.e2e.conftest import SHARED, install

Object = dict[str, Any]
BASE: Object = {"model": {"name": "tumour"}, "replicas": 1}

# A change of the spec that cannot work → the reason, and a word of the message that tells what to do about it.
BAD_CHANGES = {
    "crash": ({"env": [{"name": "PYTHONHOME", "value": "/nowhere"}]}, "CrashLooping", "encodings"),
    "memory": ({"resources": {"requests": {"memory": "12Mi"}, "limits": {"memory": "12Mi"}}}, "OutOfMemory", "raise"),
    "room": ({"resources": {"requests": {"cpu": "512"}}}, "NotEnoughRoom", "cpu"),
    "account": ({"serviceAccountName": "nobody"}, "PodsRefused", "nobody"),
}


@pytest.fixture
def serving(stage: Stage, versions: dict[str, str]) -> Stage:
    """A deployment of one pod that serves the logistic regression."""
    stage.manifest("MLModel", "tumour", {"source": {"uri": f"models:/{SHARED}/{versions['logistic']}"}})
    stage.manifest("ModelDeployment", "tumour", BASE)
    stage.serving("tumour", versions["logistic"])
    return stage


def failing(reason: str) -> Callable[[Object], bool]:
    """True for an object whose Ready is False for this reason."""
    return lambda obj: (condition(obj, "Ready")["status"], condition(obj, "Ready")["reason"]) == ("False", reason)


def test_bad_revisions_take_no_traffic_and_say_why(serving: Stage, versions: dict[str, str]) -> None:
    good = serving.read("mdep", "tumour")["status"]["serving"]
    for change, reason, word in BAD_CHANGES.values():
        serving.manifest("ModelDeployment", "tumour", {**BASE, **change})
        mdep = serving.until("mdep", "tumour", failing(reason), 120)
        assert word in condition(mdep, "Ready")["message"], condition(mdep, "Ready")
        assert condition(mdep, "Available")["status"] == "True"
        assert mdep["status"]["serving"] == good
        assert selected(serving) == good
        assert health(mdep).status == "Degraded"
        assert serving.compare("tumour", versions["logistic"])["same"] == 100
    serving.manifest("ModelDeployment", "tumour", BASE)
    assert health(serving.serving("tumour", versions["logistic"])).status == "Healthy"


def test_an_exhausted_quota_is_named(serving: Stage) -> None:
    pods = len(serving.read("pods")["items"])
    quota = f"apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: full}}\nspec: {{hard: {{pods: '{pods}'}}}}\n"
    serving.kubectl("apply", "-f", "-", stdin=quota)
    serving.manifest("ModelDeployment", "tumour", {**BASE, "replicas": 3})
    mdep = serving.until("mdep", "tumour", failing("QuotaExceeded"))
    assert "exceeded quota: full" in condition(mdep, "Ready")["message"]
    serving.kubectl("delete", "resourcequota", "full")
    # The ReplicaSet controller tries again by itself, after a back-off of its own.
    serving.until("mdep", "tumour", lambda obj: condition(obj, "Ready")["status"] == "True", 180)


def test_a_bundle_that_was_tampered_with_is_not_served(serving: Stage, versions: dict[str, str]) -> None:
    digest = serving.read("mdep", "tumour")["status"]["revisions"][0]["digest"]
    bundle = f"/data/artifacts/trimtab/sha256/{digest.removeprefix('sha256:')}"
    shell(f"cp {bundle} /tmp/kept && echo tampered >> {bundle}")
    try:
        serving.manifest("ModelDeployment", "tumour", {**BASE, "podAnnotations": {"again": "1"}})
        mdep = serving.until("mdep", "tumour", failing("DigestMismatch"))
        assert condition(mdep, "Available")["status"] == "True"
    finally:
        shell(f"cp /tmp/kept {bundle}")
    serving.serving("tumour", versions["logistic"])


def test_an_upgrade_to_an_image_that_cannot_be_pulled_leaves_everything_serving(
    serving: Stage, versions: dict[str, str], installed: dict[str, str]
) -> None:
    good = serving.read("mdep", "tumour")["status"]["serving"]
    try:
        install({**installed, "trimtab-server": "localhost/trimtab-server:never-built"})
        mdep = serving.until("mdep", "tumour", failing("ImagePullFailed"))
        assert "never-built" in condition(mdep, "Ready")["message"]
        assert selected(serving) == good
    finally:
        install(installed)
    serving.serving("tumour", versions["logistic"])


@pytest.mark.parametrize(
    ("spec", "reason", "word"),
    [
        ({"source": {"uri": f"models:/{SHARED}@nobody", "pollSeconds": 5}}, "SourceNotFound", "alias"),
        ({"source": {"uri": f"models:/{SHARED}/999"}}, "SourceNotFound", "999"),
        ({"source": {"uri": "http://nowhere.invalid/model.onnx"}}, "SourceUnreachable", "nowhere.invalid"),
    ],
    ids=["alias", "version", "host"],
)
def test_an_import_that_fails_says_why(
    stage: Stage, versions: dict[str, str], spec: Object, reason: str, word: str
) -> None:
    stage.manifest("MLModel", "broken", spec)
    model = stage.until("mlm", "broken", failing(reason), 240)
    assert word in condition(model, "Ready")["message"]


def selected(stage: Stage) -> str:
    """The revision that the front Service selects."""
    return str(stage.read("service", "tumour")["spec"]["selector"]["trimtab.dev/revision"])


def shell(script: str) -> str:
    """Run a shell line in the MLflow pod."""
    return kubectl.kubectl("-n", release.NAMESPACE, "exec", f"deploy/{release.NAME}-mlflow", "--", "sh", "-c", script)
