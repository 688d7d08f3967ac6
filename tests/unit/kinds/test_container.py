"""A container of one's own: what its image is called, what the pod looks like, and how it takes over from a model."""

from __future__ import annotations

from typing import Any

import pytest

from tests import pod_security
from tests.kubernetes_schema import validate_strictly
from tests.memory_operator import PLATFORM
from tests.unit.kinds.builders import (
    NOW,
    digest,
    mdep_object,
    mlmodel_object,
    model_revision,
    model_status,
    seen_mdep,
    serving,
    workload,
)
from trimtab.core.objects import Object
from trimtab.kinds.modeldeployment import container
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.plan import plan

PINNED = f"sha256:{7:064x}"
MODEL = mlmodel_object(status=model_status(model_revision(1), current=1))


def own(with_model: bool = False, image: str = "risk:1.2", **more: Any) -> Object:
    """A ModelDeployment that runs its own container."""
    spec = {key: more.pop(key) for key in ("env", "resources", "autoscaling") if key in more}
    obj = mdep_object(container={"image": image, **more}, **spec)
    if not with_model:
        del obj["spec"]["model"]
    return obj


def decided(obj: Object, *children: Object, model: Object | None = MODEL) -> tuple[dict[str, Object], Object]:
    """The children the plan wants, the last of each kind, and the status."""
    made = plan(ModelDeployment.parse(obj), seen_mdep(obj, model, children), NOW)
    assert made.status is not None
    return {child["kind"]: child for child in made.apply}, made.status


def pod(obj: Object) -> Object:
    children, _ = decided(obj)
    template: Object = children["Deployment"]["spec"]["template"]["spec"]
    return template


def told(obj: Object) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in pod(obj)["containers"][0]["env"]}


@pytest.mark.parametrize(
    ("image", "version", "pinned"),
    [
        ("risk:1.2", "1.2", False),
        ("registry.example.com:5000/team/risk:v3", "v3", False),
        (f"localhost:5000/risk@{PINNED}", "000000000000", True),
        (f"localhost:5000/risk:v3@{PINNED}", "v3", True),
    ],
)
def test_an_image_is_called_by_its_tag_or_its_digest(image: str, version: str, pinned: bool) -> None:
    assert container.version(image) == version
    assert container.pinned(image) is pinned
    assert (container.digest(image) == PINNED) is pinned


def test_references_by_tag_are_told_apart() -> None:
    assert container.digest("risk:1") != container.digest("risk:2")
    assert container.digest("risk:1") == container.digest("risk:1")


def test_alone_it_is_told_its_name_and_port_and_nothing_is_fetched() -> None:
    spec = pod(own(port=9000, command=["python"], args=["-m", "risk"], readinessPath="/ready", livenessPath="/live"))
    (server,) = spec["containers"]
    assert "initContainers" not in spec
    assert (server["image"], server["command"], server["args"]) == ("risk:1.2", ["python"], ["-m", "risk"])
    assert {entry["name"]: entry["value"] for entry in server["env"]} == {
        "TRIMTAB_MODEL_NAME": "risk",
        "TRIMTAB_MODEL_VERSION": "1.2",
        "TRIMTAB_PORT": "9000",
        "HOME": "/tmp",
    }
    assert server["readinessProbe"]["httpGet"]["path"] == server["startupProbe"]["httpGet"]["path"] == "/ready"
    assert server["livenessProbe"]["httpGet"]["path"] == "/live"
    assert server["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert "imagePullPolicy" not in server, "as Kubernetes has it: Always for :latest"


def test_with_a_model_the_verified_bundle_is_mounted_and_named() -> None:
    spec = pod(own(with_model=True))
    (fetch,), (server,) = spec["initContainers"], spec["containers"]
    assert fetch["image"] == PLATFORM.server_image
    environment = told(own(with_model=True))
    assert (environment["TRIMTAB_DIGEST"], environment["TRIMTAB_BUNDLE_DIR"]) == (digest(1), "/trimtab/bundle")
    (mount,) = (m for m in server["volumeMounts"] if m["name"] == "bundle")
    assert mount["readOnly"] is True


def test_what_the_user_sets_goes_before_what_is_only_convenient() -> None:
    assert told(own(env=[{"name": "HOME", "value": "/data"}]))["HOME"] == "/data"


def test_credentials_reach_the_container_alone() -> None:
    spec = pod(own(with_model=True, credentialsSecretName="secret"))
    assert spec["containers"][0]["envFrom"] == [{"secretRef": {"name": "secret"}}]
    assert "envFrom" not in spec["initContainers"][0]


@pytest.mark.parametrize("with_model", [False, True])
def test_it_is_confined_like_our_own_server(with_model: bool) -> None:
    scaling = {"minReplicas": 1, "maxReplicas": 2, "metrics": [{"type": "CPU", "targetPercent": 70}]}
    children, _ = decided(own(with_model, command=["serve"], credentialsSecretName="s", autoscaling=scaling))
    wanted = {"Deployment", "Service", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget"}
    assert set(children) == wanted
    for child in children.values():
        validate_strictly(child)
    assert pod_security.violations(children["Deployment"]["spec"]["template"]["spec"]) == []


@pytest.mark.parametrize(("image", "warned"), [("risk:1.2", True), (f"risk@{PINNED}", False)])
def test_the_condition_says_what_a_tag_is_worth(image: str, warned: bool) -> None:
    _, status = decided(own(image=image), model=None)
    found = next(c for c in status["conditions"] if c["type"] == "ModelResolved")
    assert (found["status"], found["reason"]) == ("True", "ContainerGiven")
    assert image in found["message"]
    assert ("name it by digest" in found["message"]) is warned


def test_a_row_of_the_status_names_image_or_bundle() -> None:
    for obj, expected in (
        (own(image=f"risk:7@{PINNED}"), (PINNED, "7", "container")),
        (own(with_model=True), (digest(1), "1", "container")),
    ):
        (row,) = decided(obj)[1]["revisions"]
        assert (row["digest"], row["version"], row["runtime"]) == expected


@pytest.mark.parametrize("change", [{"image": "risk:1.3"}, {"args": ["--fast"]}, {"port": 9000}])
def test_every_change_of_it_is_another_revision(change: dict[str, Any]) -> None:
    before, after = (decided(own(**given))[1]["revisions"][0]["name"] for given in ({}, change))
    assert before != after


def test_without_a_model_that_is_there_a_container_that_wants_one_waits() -> None:
    children, status = decided(own(with_model=True), model=None)
    assert children == {}
    assert next(c for c in status["conditions"] if c["type"] == "Ready")["reason"] == "ModelNotFound"


def test_it_starts_beside_the_model_that_serves_and_both_are_let_in() -> None:
    model_only = mdep_object()
    before = serving(model_only, 1)
    obj = {**before, "spec": own(port=9000)["spec"]}
    children, status = decided(obj, workload(model_only, 1))
    assert status["serving"] == before["status"]["serving"], "its pods are not ready yet"
    assert {row["runtime"] for row in status["revisions"]} == {"onnx", "container"}
    (rule,) = children["NetworkPolicy"]["spec"]["ingress"]
    assert rule == {"ports": [{"port": "http", "protocol": "TCP"}]}, "whatever number each revision gives the name"
