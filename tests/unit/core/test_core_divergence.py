"""Which differences between wanted and observed call for a write."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import pytest

from trimtab.core import metadata
from trimtab.core.divergence import contains, needs_apply, quantity

OWNER = {"kind": "ModelDeployment", "metadata": {"name": "m", "namespace": "team", "uid": "u-1"}}


def child(replicas: int = 2) -> dict[str, Any]:
    return metadata.owned("apps/v1", "Deployment", "m-1", OWNER, {}, spec={"replicas": replicas})


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", "1"), (2, "2"), ("0.5", "0.5"), (".5", "0.5"), ("500m", "0.5"), ("1k", "1000"), ("1Ki", "1024"),
        ("1.5Gi", "1610612736"), ("100n", "1e-7"), ("7u", "7e-6"), ("3M", "3e6"), ("1e3", "1000"), ("1E", "1e18"),
        ("2Ei", "2305843009213693952"), ("1P", "1e15"), ("1T", "1e12"), ("1Pi", "1125899906842624"),
    ],
)  # fmt: skip
def test_quantities_are_read_as_kubernetes_reads_them(text: str | int, number: str) -> None:
    assert quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "Gi", "1GB", "1kk", "one", "1 Gi", "1mi", "0x1", True])
def test_what_is_no_quantity_is_an_error(text: str) -> None:
    with pytest.raises(InvalidOperation):
        quantity(text)


@pytest.mark.parametrize(
    ("observed", "desired", "verdict"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"b": 2}, {"a": 1}, False),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}, True),
        ({"a": 1}, {"a": {"x": 1}}, False),
        ({"a": {}}, {"a": {}}, True),
        ({"a": None}, {"a": {}}, False),
        ({"a": [1, 2]}, {"a": [1, 2]}, True),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": [1, 2, 3]}, {"a": [1, 2]}, False),
        ({"a": "x"}, {"a": ["x"]}, False),
        ({"a": []}, {"a": []}, True),
        ({"a": [1]}, {"a": []}, False),
    ],
)
def test_objects_and_plain_lists(observed: Any, desired: Any, verdict: bool) -> None:
    assert contains(observed, desired) is verdict


def test_entries_with_names_are_found_in_any_order_among_others() -> None:
    observed = [{"name": "injected", "value": "0"}, {"name": "b", "value": "2", "more": 1}, {"name": "a", "value": "1"}]
    assert contains({"env": observed}, {"env": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]})
    assert not contains({"env": observed}, {"env": [{"name": "a", "value": "2"}]})
    assert not contains({"env": observed}, {"env": [{"name": "c", "value": "1"}]})


def test_entries_that_share_a_name_are_compared_by_place() -> None:
    ports = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    assert contains({"ports": ports}, {"ports": ports})
    assert not contains({"ports": ports[::-1]}, {"ports": ports})
    assert not contains({"ports": [*ports, {"port": 1}]}, {"ports": ports})


def test_ports_of_services_and_containers_may_be_joined_by_others_but_those_of_policies_may_not() -> None:
    own, added = {"name": "http", "port": 80, "protocol": "TCP"}, {"name": "grpc", "port": 90, "protocol": "TCP"}
    assert contains({"spec": {"ports": [added, own]}}, {"spec": {"ports": [own]}})
    assert not contains({"spec": {"ports": [{**own, "port": 81}]}}, {"spec": {"ports": [own]}})
    assert not contains({"ingress": [{"ports": [own, added]}]}, {"ingress": [{"ports": [own]}]})
    open_port, more = {"containerPort": 80, "protocol": "TCP"}, {"containerPort": 90, "protocol": "TCP"}
    containers = [{"name": "mesh"}, {"name": "server", "ports": [more, open_port]}]
    assert contains({"containers": containers}, {"containers": [{"name": "server", "ports": [open_port]}]})


def test_a_selector_that_selects_less_is_another_one() -> None:
    assert contains({"selector": {"a": "1"}}, {"selector": {"a": "1"}})
    assert not contains({"selector": {"a": "1", "b": "2"}}, {"selector": {"a": "1"}})
    assert not contains(
        {"podSelector": {"matchLabels": {"a": "1", "b": "2"}}}, {"podSelector": {"matchLabels": {"a": "1"}}}
    )


def test_entries_of_another_shape_are_not_the_wanted_ones() -> None:
    assert not contains({"env": ["a"]}, {"env": [{"name": "a"}]})


@pytest.mark.parametrize("field", ["limits", "requests"])
def test_quantities_compare_as_numbers_where_quantities_stand(field: str) -> None:
    assert contains({field: {"cpu": "1", "memory": "1Gi"}}, {field: {"cpu": "1000m", "memory": "1024Mi"}})
    assert contains({field: {"cpu": "1"}}, {field: {"cpu": 1}})
    assert not contains({field: {"cpu": "1"}}, {field: {"cpu": "1001m"}})
    assert not contains({field: {"cpu": "what"}}, {field: {"cpu": "1"}})


def test_quantities_compare_as_text_elsewhere() -> None:
    assert contains({"emptyDir": {"sizeLimit": "1Gi"}}, {"emptyDir": {"sizeLimit": "1024Mi"}})
    assert not contains({"annotations": {"cpu": "1"}}, {"annotations": {"cpu": "1000m"}})
    assert not contains({"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "A", "value": "1000m"}]})


def test_a_child_is_applied_when_it_is_missing_edited_or_wanted_differently() -> None:
    assert needs_apply(child(), None)
    assert not needs_apply(child(), child())
    assert needs_apply(child(3), child(2))
    edited = child()
    edited["spec"]["replicas"] = 5
    assert needs_apply(child(), edited)


def test_a_field_that_is_no_longer_wanted_calls_for_an_apply() -> None:
    observed = metadata.owned("v1", "Service", "m", OWNER, {}, spec={"a": 1, "b": 2})
    assert needs_apply(metadata.owned("v1", "Service", "m", OWNER, {}, spec={"a": 1}), observed)


def test_the_server_may_add_whatever_it_likes() -> None:
    observed = child()
    observed["metadata"] |= {"resourceVersion": "9", "managedFields": [], "uid": "x"}
    observed["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    observed["spec"]["paused"] = False
    observed["status"] = {"replicas": 2}
    assert not needs_apply(child(), observed)
