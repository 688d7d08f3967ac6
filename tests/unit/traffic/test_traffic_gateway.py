"""An HTTPRoute says as much of a RouterStatus as the standard can, and refuses the rest."""

from __future__ import annotations

import re

import pytest

from trimtab.core.objects import Object
from trimtab.traffic.gateway import http_route
from trimtab.traffic.state import RouterArm, RouterStatus, Shadow

OWNER: Object = {"kind": "ABTest", "metadata": {"name": "choice", "namespace": "shop", "uid": "u1"}}


def routed(weight: int, host: str = "new.shop.svc", shadow: Shadow | None = None) -> RouterStatus:
    arms = [
        RouterArm(name="old", host="old.shop.svc", port=8080),
        RouterArm(name="a", host=host, port=8081, revision="r2", reserved=5_000, weight=weight),
    ]
    return RouterStatus(salt="s1", control="old", arms=arms, shadow=shadow).checked()


def test_cookies_come_first_and_the_rest_is_split() -> None:
    *remembered, anonymous = http_route(OWNER, "choice", {"name": "public"}, routed(1_000))["spec"]["rules"]
    crumbs = [rule["matches"][0]["headers"][0]["value"] for rule in remembered]
    assert [re.fullmatch(crumb, "b=1; trimtab-s1=a; c=2") is not None for crumb in crumbs] == [False, True]
    shares = {backend["name"]: backend["weight"] for backend in anonymous["backendRefs"]}
    assert shares == {"old": 9_000, "new": 1_000}
    given, asked = anonymous["backendRefs"][1]["filters"]
    assert asked["requestHeaderModifier"]["set"] == [{"name": "x-trimtab-routed", "value": "1"}]
    given = given["responseHeaderModifier"]
    assert given["add"][0]["value"].startswith("trimtab-s1=a; Path=/; Max-Age=604800")
    assert given["set"] == [
        {"name": "x-trimtab-arm", "value": "a"},
        {"name": "x-trimtab-arm-revision", "value": "r2"},
    ]


def test_an_arm_without_slots_is_nowhere_not_even_for_its_cookies() -> None:
    (only,) = http_route(OWNER, "choice", {"name": "public"}, routed(0))["spec"]["rules"]
    assert [backend["name"] for backend in only["backendRefs"]] == ["old"]
    assert "add" not in only["backendRefs"][0]["filters"][0]["responseHeaderModifier"]


def test_copies_are_a_filter_of_each_rule() -> None:
    told = routed(1_000, shadow=Shadow(arm="a", percent=5))
    for rule in http_route(OWNER, "choice", {"name": "public"}, told)["spec"]["rules"]:
        assert rule["filters"] == [
            {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "new", "port": 8081}, "percent": 5}}
        ]


@pytest.mark.parametrize("host", ["new.elsewhere.svc", "10.0.0.1", "new", "new.shop.com"])
def test_an_arm_that_is_no_service_of_this_namespace_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=f"arm 'a' leads to {host}, which is not a Service of namespace shop"):
        http_route(OWNER, "choice", {"name": "public"}, routed(1_000, host))


def test_more_arms_than_rules_are_refused() -> None:
    arms = [RouterArm(name=f"a{n}", host="x.shop.svc", port=1, reserved=10, weight=10) for n in range(16)]
    told = RouterStatus(salt="s1", control="a0", arms=arms).checked()
    with pytest.raises(ValueError, match="an HTTPRoute remembers 15 arms at most, and these are 16"):
        http_route(OWNER, "choice", {"name": "public"}, told)
