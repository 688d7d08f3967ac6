"""Addresses, owners, names and hashes of objects."""

from __future__ import annotations

from typing import Any

import pytest

from trimtab.core import metadata
from trimtab.core.objects import DEPLOYMENT, SERVICE, Ref, condition, controller_of, ref_of

OWNER: dict[str, Any] = {
    "kind": "ModelDeployment",
    "metadata": {"name": "m", "namespace": "team", "uid": "u-1"},
}


def child(**body: Any) -> dict[str, Any]:
    return metadata.owned("v1", "ConfigMap", "m-1", OWNER, {"a": "b"}, **body)


def test_a_resource_knows_group_and_version() -> None:
    assert (DEPLOYMENT.group, DEPLOYMENT.version) == ("apps", "v1")
    assert (SERVICE.group, SERVICE.version) == ("", "v1")


def test_an_address_is_read_from_a_manifest() -> None:
    assert ref_of(child()) == Ref("ConfigMap", "team", "m-1")
    assert ref_of({"kind": "Node", "metadata": {"name": "n"}}) == Ref("Node", "", "n")
    assert str(ref_of(child())) == "ConfigMap/team/m-1"


def test_the_controller_is_found_among_owners() -> None:
    other = {"uid": "u-2", "controller": False}
    mine = {"uid": "u-1", "controller": True}
    assert controller_of({"metadata": {"ownerReferences": [other, mine]}}) == mine
    assert controller_of({"metadata": {"ownerReferences": [other]}}) is None
    assert controller_of({"metadata": {}}) is None


def test_a_condition_is_found_or_empty() -> None:
    obj = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert condition(obj, "Ready") == {"type": "Ready", "status": "True"}
    assert condition(obj, "Stalled") == {}
    assert condition({}, "Ready") == {}


def test_a_child_belongs_to_its_owner_and_nobody_else() -> None:
    meta = child()["metadata"]
    assert meta["namespace"] == "team"
    assert meta["labels"] == {"a": "b"}
    assert meta["ownerReferences"] == [
        {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "ModelDeployment",
            "name": "m",
            "uid": "u-1",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    assert controller_of(child()) == meta["ownerReferences"][0]


def test_the_hash_tells_whether_what_is_wanted_changed() -> None:
    assert metadata.desired_hash(child(data={"k": "v"})) == metadata.desired_hash(child(data={"k": "v"}))
    assert metadata.desired_hash(child(data={"k": "v"})) != metadata.desired_hash(child(data={"k": "w"}))
    assert metadata.desired_hash({"metadata": {}}) == ""


def test_labels_are_the_recommended_ones() -> None:
    labels = metadata.labels("server", "m", **{metadata.REVISION: "0a"})
    assert labels["app.kubernetes.io/instance"] == "m"
    assert labels[metadata.MANAGED_BY] == "trimtab"
    assert labels[metadata.REVISION] == "0a"
    assert metadata.SELECTOR == "app.kubernetes.io/managed-by=trimtab"


@pytest.mark.parametrize("digits", [8, 16])
def test_a_fingerprint_depends_on_content_alone(digits: int) -> None:
    one = metadata.fingerprint({"a": 1, "b": [1, 2]}, digits)
    assert one == metadata.fingerprint({"b": [1, 2], "a": 1}, digits)
    assert one != metadata.fingerprint({"b": [2, 1], "a": 1}, digits)
    assert len(one) == digits
    assert set(one) <= set("0123456789abcdef")
