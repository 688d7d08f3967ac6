"""The proxy's reading of requests, and the bookkeeping of its rules."""

from __future__ import annotations

import pytest

from tests.faults import Rule, Status, describe, drop, duplicate, reorder


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", "/api/v1/pods", {}, ("list", "", "pods", "", "", "")),
        ("GET", "/api/v1/namespaces/a/pods", {"watch": "true"}, ("watch", "", "pods", "", "a", "")),
        ("GET", "/api/v1/namespaces/a/pods/p", {}, ("get", "", "pods", "", "a", "p")),
        ("POST", "/api/v1/namespaces", {}, ("create", "", "namespaces", "", "", "")),
        ("GET", "/api/v1/namespaces/a", {}, ("get", "", "namespaces", "", "", "a")),
        ("PUT", "/api/v1/namespaces/a/finalize", {}, ("update", "", "namespaces", "finalize", "", "a")),
        ("PATCH", "/apis/apps/v1/namespaces/a/deployments/d", {}, ("patch", "apps", "deployments", "", "a", "d")),
        (
            "PATCH",
            "/apis/trimtab.dev/v1alpha1/namespaces/a/mlmodels/m/status",
            {},
            ("patch", "trimtab.dev", "mlmodels", "status", "a", "m"),
        ),
        ("DELETE", "/apis/batch/v1/namespaces/a/jobs", {}, ("delete", "batch", "jobs", "", "a", "")),
        ("GET", "/apis/apps/v1", {}, ("get", "apps", "", "", "", "")),
        ("GET", "/apis", {}, ("get", "", "", "", "", "")),
        ("GET", "/readyz", {}, ("get", "", "", "", "", "")),
    ],
)
def test_a_request_is_read_as_rbac_would(
    method: str, path: str, query: dict[str, str], expected: tuple[str, ...]
) -> None:
    call = describe("me", method, path, query)
    assert (call.verb, call.group, call.resource, call.subresource, call.namespace, call.name) == expected


def test_a_call_matches_by_value_and_by_set() -> None:
    call = describe("me", "PATCH", "/apis/apps/v1/namespaces/a/deployments/d", {})
    assert call.matches()
    assert call.matches(verb={"create", "patch"}, resource="deployments")
    assert not call.matches(verb={"create", "patch"}, resource="services")
    assert not call.matches(resource="deploy")


def test_a_rule_is_used_up_and_counts() -> None:
    call = describe("me", "GET", "/api/v1/pods", {})
    rule = Rule(Status(500), lambda c: c.resource == "pods", left=2)
    assert not rule.take(call._replace(resource="services"))
    assert [rule.take(call) for _ in range(3)] == [True, True, False]
    assert rule.hits == 2


def test_a_rule_without_a_number_is_never_used_up() -> None:
    rule = Rule(Status(500), lambda c: True)
    assert all(rule.take(describe("me", "GET", "/api/v1/pods", {})) for _ in range(5))


def test_events_are_dropped_doubled_and_swapped() -> None:
    assert tuple(drop().rewrite(b"1")) == ()
    assert tuple(duplicate().rewrite(b"1")) == (b"1", b"1")
    swap = reorder().rewrite
    assert [tuple(swap(event)) for event in (b"1", b"2", b"3", b"4")] == [(), (b"2", b"1"), (), (b"4", b"3")]
