"""Laws of the slots and of changes, for any arms and any weights."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.thorough import examples
from trimtab.traffic.change import Ack, advance
from trimtab.traffic.envoy import ARM, clusters, routes
from trimtab.traffic.slots import assign, intervals, slot
from trimtab.traffic.state import SLOTS, RouterArm, RouterStatus

USERS = [f"user-{number}" for number in range(200)]


@st.composite
def layouts(draw: st.DrawFn, most: int = 7) -> RouterStatus:
    """A control and other arms with ranges and no users yet, in any order."""
    count = draw(st.integers(0, most))
    cuts = sorted(draw(st.lists(st.integers(0, SLOTS), min_size=count, max_size=count)))
    sizes = [after - before for before, after in zip([0, *cuts], cuts, strict=False)]
    arms = [RouterArm(name=f"arm-{i}", host=f"h{i}", port=8080, reserved=size) for i, size in enumerate(sizes)]
    arms.insert(draw(st.integers(0, count)), RouterArm(name="control", host="hc", port=8080))
    return RouterStatus(salt=draw(st.sampled_from(["s1", "s2"])), header="u", control="control", arms=arms).checked()


def with_weights(draw: st.DrawFn, layout: RouterStatus) -> RouterStatus:
    """The same with any weights that fit."""
    others = [arm for arm in layout.arms if arm.name != layout.control]
    return layout.weighted({arm.name: draw(st.integers(0, arm.reserved)) for arm in others})


@st.composite
def ramps(draw: st.DrawFn) -> list[RouterStatus]:
    """Some weights, one after the other, of one layout."""
    layout = draw(layouts())
    return [with_weights(draw, layout) for _ in range(draw(st.integers(1, 5)))]


@st.composite
def wishes(draw: st.DrawFn) -> RouterStatus:
    """Any status."""
    return with_weights(draw, draw(layouts()))


@given(ramps())
def test_slots_are_all_given_out_and_no_user_moves_between_two_arms_beside_the_control(
    ramp: list[RouterStatus],
) -> None:
    for status in ramp:
        assert sum(interval.slots for interval in intervals(status)) == SLOTS == sum(status.weights().values())
        held = {name: sum(i.slots for i in intervals(status) if i.arm == name) for name in status.weights()}
        assert held == status.weights()
    for before, after in itertools.pairwise(ramp):
        for user in USERS:
            left, came = assign(before, user), assign(after, user)
            if left != came:
                assert "control" in (left, came)
                grew = came if left == "control" else "control"
                assert after.weights()[grew] > before.weights()[grew] or grew == "control"
                assert left == "control" or after.weights()[left] < before.weights()[left]


@given(ramps())
def test_what_envoy_is_told_gives_each_user_the_same_arm(ramp: list[RouterStatus]) -> None:
    """Its rule, by its source: the hash modulo the sum of the weights, then the clusters in order."""
    for status in ramp:
        weighted = routes(status)[0]["virtual_hosts"][0]["routes"][0]["route"]["weighted_clusters"]
        assert weighted["use_hash_policy"]
        assert sum(cluster["weight"] for cluster in weighted["clusters"]) == SLOTS
        for user in USERS[:50]:
            place = slot(status.salt, user)
            for cluster in weighted["clusters"]:
                if place < cluster["weight"]:
                    break
                place -= cluster["weight"]
            assert cluster["name"] == ARM + assign(status, user)


@given(wishes())
def test_routes_lead_only_to_clusters_that_are_told_with_them(status: RouterStatus) -> None:
    known = {cluster["name"] for cluster in clusters(status)}
    assert used(status) <= known
    holders = {ARM + name for name, weight in status.weights().items() if weight}
    assert used(status) == holders


def used(status: RouterStatus) -> set[str]:
    """The clusters that any route leads to."""
    found = set()
    for route in routes(status)[0]["virtual_hosts"][0]["routes"]:
        action = route["route"]
        weighted = action.get("weighted_clusters", {}).get("clusters", ())
        found |= {action["cluster"]} if "cluster" in action else {cluster["name"] for cluster in weighted}
    return found


class Fleet:
    """Routers that hear of clusters and routes at different times, as real ones do."""

    def __init__(self, first: RouterStatus) -> None:
        self.clusters = [first, first]
        self.routes = [first, first]

    def hears(self, router: int, of_clusters: bool, told: RouterStatus) -> None:
        if of_clusters:
            self.clusters[router] = told
        else:
            self.routes[router] = told

    def sound(self) -> bool:
        """Whether each cluster that a route leads to is one the router knows."""
        return all(
            used(routed) <= {cluster["name"] for cluster in clusters(known)}
            for routed, known in zip(self.routes, self.clusters, strict=True)
        )

    def acks(self) -> list[Ack]:
        return [
            Ack(str(number), known.clusters_version, routed.routes_version, {arm.name: 1 for arm in known.arms})
            for number, (known, routed) in enumerate(zip(self.clusters, self.routes, strict=True))
        ]


@given(wishes(), st.lists(wishes(), min_size=1, max_size=3), st.data())
@settings(max_examples=examples(60))
def test_no_router_ever_leads_to_a_cluster_it_does_not_know_and_all_arrive(
    first: RouterStatus, wanted: list[RouterStatus], data: st.DataObject
) -> None:
    fleet, told = Fleet(first), first
    for wish in wanted:
        for _ in range(data.draw(st.integers(0, 8))):
            told = advance(told, wish, fleet.acks()).status
            fleet.hears(data.draw(st.integers(0, 1)), data.draw(st.booleans()), told)
            assert fleet.sound()
    for _ in range(20):
        step = advance(told, wanted[-1], fleet.acks())
        told = step.status
        for router, of_clusters in ((0, False), (1, True), (0, True), (1, False)):
            fleet.hears(router, of_clusters, told)
            assert fleet.sound()
    assert step.settled
    assert told == wanted[-1]
