"""A canary at somebody else's Gateway: one HTTPRoute in place of routers, and pods that count in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests import rollout_lab
from tests.memory_operator import PLATFORM
from tests.rollout_lab import EDGES, MDEP, SPACE
from tests.unit.kinds.test_modeldeployment_canary import CANARY, shares
from trimtab.core import metadata
from trimtab.core.objects import Object, Ref
from trimtab.evidence.sources import Cells, ModelReport

ROUTE = Ref("HTTPRoute", SPACE, "risk")
GATEWAY = {"parentRefs": [{"name": "public", "namespace": "gateways"}], "hostnames": ["risk.example.com"]}
AT_GATEWAY: dict[str, Any] = {**CANARY, "gateway": GATEWAY}


class Lab(rollout_lab.Lab):
    """The same with a Gateway, whose implementation does what the route says as long as it listens."""

    def __init__(self, rollout: Mapping[str, Any], *, installed: bool = True) -> None:
        self.platform = replace(PLATFORM, gateway_api=installed)
        self.listens = True
        self.refuses = ""
        self.effective: dict[str, int] = {}
        super().__init__(rollout)

    def weights(self) -> dict[int, int]:
        """What the route tells, by version, in percent."""
        told = self.cluster.objects[ROUTE]["spec"]["rules"][0]["backendRefs"]
        versions = {row["name"]: int(row["version"]) for row in self.status["revisions"]}
        return {versions[item["name"].removeprefix("risk-")]: item["weight"] // 100 for item in told}

    def _act(self) -> None:
        super()._act()
        if ROUTE in self.cluster.objects and self.listens:
            self.cluster.edit(ROUTE, self._accept)

    def _accept(self, route: Object) -> None:
        generation = route["metadata"]["generation"]
        state = {"status": "False" if self.refuses else "True", "reason": self.refuses or "Accepted", "message": ""}
        said = [{**state, "type": name, "observedGeneration": generation} for name in ("Accepted", "ResolvedRefs")]
        parents = [{"parentRef": parent, "conditions": said} for parent in route["spec"]["parentRefs"]]
        route["status"] = {"parents": parents}
        if not self.refuses:
            shares = route["spec"]["rules"][0]["backendRefs"]
            self.effective = {item["name"].removeprefix("risk-"): item["weight"] for item in shares}

    def _answer(self, requests: float) -> None:
        """Requests come by the Gateway, as it was told last."""
        for revision, weight in self.effective.items():
            pods = [
                p for p in self._pods(metadata.DEPLOYMENT) if p["metadata"]["labels"][metadata.REVISION] == revision
            ]
            assert pods or not requests, f"the Gateway leads to {revision}, of which no pod is left"
            for pod in pods:
                self._count_pod(pod, requests * weight / 10_000 / len(pods))

    def _count_pod(self, pod: Object, requests: float) -> None:
        uid, version = pod["metadata"]["uid"], self._of(pod)
        whole = self._whole(uid, requests)
        errors = self._whole(f"{uid}!", whole * self.failing.get(version, 0))
        slow = self._whole(f"{uid}~", whole * self.slow.get(version, 0))
        empty = Cells(EDGES, (0, 0, 0, 0))
        had = self.counts.model_reports.get(uid, ModelReport(uid, "1", "r", latency=empty))
        cells = Cells(EDGES, tuple(a + b for a, b in zip(had.latency.counts, (whole - slow, 0, slow, 0), strict=True)))
        grown = (had.requests + whole, had.errors + errors)
        self.counts.model_reports[uid] = ModelReport(uid, "1", "r", *grown, latency=cells)


def settled(**more: Any) -> Lab:
    lab = Lab({**AT_GATEWAY, **more})
    lab.run(4, 100)
    assert lab.condition()[:2] == ("True", "Reconciled")
    return lab


def test_an_equal_candidate_is_promoted_by_the_weights_of_one_route() -> None:
    lab = settled()
    assert (lab.fronted(), lab.weights()) == ("1", {1: 100})
    lab.deploy(2)
    assert shares(lab, 60) == [{1: 100}, {1: 90, 2: 10}, {1: 50, 2: 50}, {2: 100}]
    assert lab.history() == [("2", "Promoted", "Promoted")]
    assert (lab.fronted(), lab.pods()) == ("2", {2: 4})
    assert {ref.name for ref in lab.cluster.objects if "router" in ref.name} == set(), "no routers of our own"


def test_the_route_names_gateway_hosts_and_versions() -> None:
    lab = settled()
    route = lab.cluster.objects[ROUTE]
    assert route["spec"]["parentRefs"] == GATEWAY["parentRefs"]
    assert route["spec"]["hostnames"] == ["risk.example.com"]
    assert route["metadata"]["annotations"]["trimtab.dev/routed-routes"] == lab.router().routes_version


@pytest.mark.parametrize("harm", ["failing", "slow"])
def test_a_harmful_candidate_goes_back_by_what_its_pods_counted(harm: str) -> None:
    lab = settled()
    getattr(lab, harm)[2] = 0.3
    lab.deploy(2)
    lab.until("RolledBack")
    assert lab.history()[0][1:] == ("RolledBack", "HarmProven")
    lab.run(2, 100)
    assert lab.weights() == {1: 100}


def test_a_step_begins_when_the_gateway_says_so_and_not_before() -> None:
    lab = settled()
    lab.deploy(2)
    lab.until("Step 1")
    lab.run(3, 100)
    lab.listens = False
    lab.until("Step 2")
    lab.run(40, 100)
    assert (lab.weights(), lab.rollout["step"], lab.rollout.get("clockAt")) == ({1: 50, 2: 50}, 2, None)
    assert "traffic is being moved" in lab.condition()[2]
    lab.listens = True
    lab.until("Promoted")


def test_a_route_that_is_refused_holds_the_candidate_and_is_told_in_the_gateways_words() -> None:
    lab = settled()
    lab.refuses = "NoMatchingListenerHostname"
    lab.run(3, 100)
    assert lab.condition()[:2] == ("False", "GatewayNotReady")
    lab.deploy(2)
    lab.run(30, 100)
    assert "Gateway public does not say Accepted of its HTTPRoute: NoMatchingListenerHostname" in lab.condition()[2]
    assert lab.weights() == {1: 100}
    lab.refuses = ""
    lab.until("Promoted")


def test_an_operator_without_the_gateway_api_says_so_and_serves_by_the_service() -> None:
    lab = Lab(AT_GATEWAY, installed=False)
    lab.run(4, 0)
    assert lab.condition()[:2] == ("False", "GatewayMissing")
    assert "gatewayApi.enabled" in lab.condition()[2]
    assert (lab.fronted(), ROUTE in lab.cluster.objects) == ("1", False)


def test_from_routers_to_a_gateway_and_back() -> None:
    """The Service leads to the pods before routers go, and to routers again before the route does."""
    lab = Lab(CANARY)
    lab.run(4)
    assert lab.fronted() == "routers"
    lab.spec(rollout={**lab.cluster.objects[MDEP]["spec"]["rollout"], "gateway": GATEWAY})
    lab.run(3)
    assert (lab.fronted(), rollout_lab.ROUTERS in lab.cluster.objects) == ("1", True)
    lab.run(15)
    assert (lab.condition()[:2], rollout_lab.ROUTERS in lab.cluster.objects) == (("True", "Reconciled"), False)
    rollout = dict(lab.cluster.objects[MDEP]["spec"]["rollout"])
    del rollout["gateway"]
    lab.effective = {}
    lab.spec(rollout=rollout)
    lab.run(5)
    assert (lab.fronted(), ROUTE in lab.cluster.objects) == ("routers", False)


@pytest.mark.parametrize("kill_in", [2, 5, 9])
def test_an_operator_that_dies_after_a_write_ends_the_same(kill_in: int) -> None:
    promoted(kill_in)


def promoted(kill_in: int) -> None:
    """A whole rollout, in which the operator dies after so many writes. Slow tests take them all."""
    lab = settled()
    lab.deploy(2)
    lab.kill_in = kill_in
    lab.until("Promoted")
    lab.run(15, 100)
    assert (lab.weights(), lab.fronted(), lab.pods()) == ({2: 100}, "2", {2: 4})
