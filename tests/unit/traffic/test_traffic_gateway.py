"""An HTTPRoute says as much of a RouterStatus as the standard can, and its status is an acknowledgement."""

from __future__ import annotations

from typing import Any

import pytest

from trimtab.core.objects import Object
from trimtab.traffic.change import Ack
from trimtab.traffic.gateway import acks, http_route, refusal
from trimtab.traffic.state import RouterArm, RouterStatus

OWNER: Object = {"kind": "ModelDeployment", "metadata": {"name": "choice", "namespace": "shop", "uid": "u1"}}
PUBLIC, INNER = {"name": "public", "namespace": "gateways"}, {"name": "inner", "sectionName": "http"}


def routed(weight: int, host: str = "new.shop.svc") -> RouterStatus:
    arms = [
        RouterArm(name="old", host="old.shop.svc", port=8080),
        RouterArm(name="a", host=host, port=8081, revision="r2", reserved=5_000, weight=weight),
    ]
    return RouterStatus(salt="s1", control="old", arms=arms).checked()


def route(told: RouterStatus | None = None) -> Object:
    made = http_route(OWNER, "choice", [PUBLIC, INNER], ["a.example.com"], told or routed(1_000))
    made["metadata"] |= {"uid": "r1", "generation": 3}
    return made


def answer(parent: dict[str, str], generation: int = 3, **states: str) -> Object:
    """What an implementation says of a route to one parent."""
    given = {"Accepted": "True", "ResolvedRefs": "True", **states}
    said = [
        {"type": name, "status": value, "reason": "Because", "message": "m", "observedGeneration": generation}
        for name, value in given.items()
    ]
    return {"parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", **parent}, "conditions": said}


def answered(*answers: Object) -> Object:
    return {**route(), "status": {"parents": list(answers)}}


def test_requests_are_split_by_weight_and_answers_name_their_arm() -> None:
    made = route()
    assert (made["spec"]["parentRefs"], made["spec"]["hostnames"]) == ([PUBLIC, INNER], ["a.example.com"])
    (rule,) = made["spec"]["rules"]
    assert [(item["name"], item["port"], item["weight"]) for item in rule["backendRefs"]] == [
        ("old", 8080, 9_000),
        ("new", 8081, 1_000),
    ]
    given, asked = rule["backendRefs"][1]["filters"]
    assert asked["requestHeaderModifier"]["set"] == [{"name": "x-trimtab-routed", "value": "1"}]
    assert given["responseHeaderModifier"]["set"] == [
        {"name": "x-trimtab-arm", "value": "a"},
        {"name": "x-trimtab-arm-revision", "value": "r2"},
    ]


def test_an_arm_without_slots_is_nowhere() -> None:
    (rule,) = route(routed(0))["spec"]["rules"]
    assert [backend["name"] for backend in rule["backendRefs"]] == ["old"]


def test_without_host_names_it_takes_all() -> None:
    assert "hostnames" not in http_route(OWNER, "choice", [PUBLIC], [], routed(0))["spec"]


@pytest.mark.parametrize("host", ["new.elsewhere.svc", "10.0.0.1", "new", "new.shop.com"])
def test_an_arm_that_is_no_service_of_this_namespace_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=f"arm 'a' leads to {host}, which is not a Service of namespace shop"):
        http_route(OWNER, "choice", [PUBLIC], [], routed(1_000, host))


def test_a_route_that_all_parents_take_acknowledges_what_is_written_on_it() -> None:
    told = routed(1_000)
    (said,) = acks(answered(answer(PUBLIC), answer({**INNER, "namespace": "shop"})), {"a": 2})
    assert said == Ack("r1", told.clusters_version, told.routes_version, {"a": 2})


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (None, "its HTTPRoute is not there yet"),
        (answered(), "Gateway public does not say Accepted of its HTTPRoute"),
        (answered(answer(PUBLIC)), "Gateway inner does not say Accepted of its HTTPRoute"),
        (answered(answer(PUBLIC), answer({"name": "inner"})), "Gateway inner does not say Accepted"),
        (answered(answer(PUBLIC, 2), answer(INNER)), "Gateway public does not say Accepted of its HTTPRoute"),
        (answered(answer(PUBLIC, Accepted="False")), "does not say Accepted of its HTTPRoute: Because: m"),
        (answered(answer(PUBLIC, ResolvedRefs="False")), "does not say ResolvedRefs of its HTTPRoute: Because: m"),
        (answered({"parentRef": PUBLIC}), "Gateway public does not say Accepted of its HTTPRoute"),
    ],
)
def test_any_other_route_acknowledges_nothing_and_says_why(found: Any, says: str) -> None:
    assert says in refusal(found)
    assert acks(found, {"a": 2}) == [Ack("")]
