"""What Envoy is told, in the form that was verified; and the children that run it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.pod_security import violations
from tests.unit.traffic.test_traffic_state import arm, status
from trimtab.core import metadata
from trimtab.core.metadata import fingerprint
from trimtab.core.objects import Object
from trimtab.core.platform import Platform
from trimtab.traffic import router
from trimtab.traffic.bootstrap import EPOCH, LATENCY_EDGES_MILLISECONDS, READABLE, bootstrap
from trimtab.traffic.envoy import clusters, routes
from trimtab.traffic.state import FORM, RouterStatus, Shadow

TWO = status(arm("a", 5_000, 1_000)).checked()
OWNER: Object = {"kind": "ABTest", "metadata": {"name": "choice", "namespace": "shop", "uid": "u1"}}
PLATFORM = Platform("server", "toolbox", "s3://x", router_image="router:1", xds_address="trimtab-xds.ops.svc:18000")


def table(told: RouterStatus) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = routes(told)[0]["virtual_hosts"][0]["routes"]
    return found


def test_the_form_has_a_number_that_changes_with_it() -> None:
    """Routers that already have a version ask for nothing: another form under the same FORM would never reach them."""
    arms = [arm.model_copy(update={"revision": "r1"}) for arm in TWO.arms]
    told = TWO.model_copy(update={"arms": arms, "shadow": Shadow(arm="a", percent=5)})
    assert (FORM, fingerprint([clusters(told), routes(told)])) == (3, "c96d0f57")


def test_routes_are_identified_users_then_cookies_then_everybody() -> None:
    identified, *remembered, anonymous = table(TWO)
    assert identified["match"]["headers"][0] == {"name": "x-user-id", "present_match": True}
    assert [route["route"]["cluster"] for route in remembered] == ["arm_old", "arm_a"]
    shares = anonymous["route"]["weighted_clusters"]["clusters"]
    assert [(share["name"], share["weight"]) for share in shares] == [("arm_old", 9_000), ("arm_a", 1_000)]


def test_model_servers_are_told_that_a_router_asks_them() -> None:
    """Arms are deployments of different names, so the name in the path can be that of one of them at most."""
    (added,) = routes(TWO)[0]["virtual_hosts"][0]["request_headers_to_add"]
    assert added["header"] == {"key": "x-trimtab-routed", "value": "1"}


def test_arms_without_slots_have_clusters_and_no_routes() -> None:
    told = status(arm("a", 5_000, 0)).checked()
    assert [cluster["name"] for cluster in clusters(told)] == ["arm_old", "arm_a"]
    assert "arm_a" not in json.dumps(table(told))


@pytest.mark.parametrize(
    "told", [status().checked(), TWO.model_copy(update={"cookies": False}), TWO.only("a")], ids=["one", "off", "won"]
)
def test_cookies_are_given_only_where_there_is_something_to_remember(told: RouterStatus) -> None:
    assert "cookie" not in json.dumps(table(told))


def test_without_a_header_nobody_is_identified() -> None:
    told = TWO.model_copy(update={"header": ""})
    assert "hash_policy" not in json.dumps(table(told))


def test_an_arm_without_a_revision_names_none() -> None:
    told = status(arm("a", 5_000, 5_000).model_copy(update={"revision": "r9"})).checked()
    text = json.dumps(table(told))
    assert text.count('"x-trimtab-arm-revision"') == text.count('"value": "r9"') == 3
    assert text.count('"x-trimtab-arm"') == 6


def test_copies_go_to_a_cluster_of_their_own_from_every_route() -> None:
    told = TWO.model_copy(update={"shadow": Shadow(arm="a", percent=5)})
    assert [cluster["name"] for cluster in clusters(told)] == ["arm_old", "arm_a", "shadow_a"]
    for route in table(told):
        (mirror,) = route["route"]["request_mirror_policies"]
        assert mirror["cluster"] == "shadow_a"
        assert mirror["runtime_fraction"]["default_value"] == {"numerator": 5, "denominator": "HUNDRED"}


def test_a_router_starts_without_arms_waits_for_them_and_shows_no_more_than_counters() -> None:
    told = bootstrap("xds.ops.svc:18000")
    assert told["dynamic_resources"]["cds_config"]["initial_fetch_timeout"] == "0s"
    assert told["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"
    assert READABLE == ("/ready", "/stats", "/stats/prometheus")
    assert json.dumps(told).count(EPOCH) == 1
    assert list(LATENCY_EDGES_MILLISECONDS) == sorted(set(LATENCY_EDGES_MILLISECONDS))


def children(told: RouterStatus = TWO) -> dict[str, Object]:
    return {child["kind"]: child for child in router.children(OWNER, "choice", PLATFORM, told)}


def test_weights_do_not_touch_the_pods() -> None:
    assert children() == children(TWO.weighted({"a": 5_000}))
    assert children() == children(status(arm("b", 1_000, 1_000)).checked())


def test_the_pods_pass_the_restricted_standard_without_a_token_or_a_place_to_write() -> None:
    pod = children()["Deployment"]["spec"]["template"]["spec"]
    assert violations(pod) == []
    assert pod["automountServiceAccountToken"] is False
    assert "volumes" not in pod
    assert pod["containers"][0]["image"] == "router:1"


def test_two_are_spread_and_guarded_under_one_label() -> None:
    found = children()
    assert {child["metadata"]["name"] for child in found.values()} == {"choice-router"}
    deployment = found["Deployment"]["spec"]
    assert deployment["replicas"] == 2
    labels = deployment["template"]["metadata"]["labels"]
    selectors = [
        deployment["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"],
        found["NetworkPolicy"]["spec"]["podSelector"],
        deployment["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"],
        {"matchLabels": router.selector("choice")},
    ]
    assert selectors == [{"matchLabels": {metadata.ROUTER: "choice"}}] * 5
    assert labels[metadata.ROUTER] == "choice"
    assert labels[metadata.MANAGED_BY] == metadata.MANAGER
    # The operator's network policy lets in exactly these.
    assert labels["app.kubernetes.io/component"] == "router"


def test_the_network_policy_knows_the_arms_and_the_operator() -> None:
    other = status(arm("a").model_copy(update={"port": 9_000})).checked()
    out = children(other)["NetworkPolicy"]["spec"]["egress"]
    assert [[rule["port"] for rule in way["ports"]] for way in out] == [[53, 53], [8_080, 9_000, 18_000]]


def test_a_router_says_whose_it_is() -> None:
    (container,) = children()["Deployment"]["spec"]["template"]["spec"]["containers"]
    env = {item["name"]: item.get("value") for item in container["env"]}
    assert env["ROUTER"] == "abtests/shop/choice"
    assert json.loads(env["BOOTSTRAP"] or "") == bootstrap("trimtab-xds.ops.svc:18000")
    # The kubelet would take $(NAME) for a variable.
    assert "$(" not in (env["BOOTSTRAP"] or "") + "".join(container["command"])
    drain = container["lifecycle"]["preStop"]["exec"]["command"][-1]
    grace = children()["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert f"sleep {router.DRAIN_SECONDS}" in drain
    assert grace > router.DRAIN_SECONDS + 5
