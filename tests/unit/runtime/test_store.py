"""The picture in memory: who is found by what, who should look again, and which events come too late to count."""

from __future__ import annotations

from typing import Any

import pytest

from trimtab.core.objects import Object, Ref
from trimtab.kinds import KINDS
from trimtab.runtime.store import Store, slim

MODEL = Ref("MLModel", "a", "credit")
MDEP = Ref("ModelDeployment", "a", "risk")


def store() -> Store:
    return Store.of(KINDS)


def obj(kind: str, name: str, version: int = 1, *, namespace: str = "a", **more: Any) -> Object:
    meta = {"namespace": namespace, "name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}
    meta |= more.pop("metadata", {})
    return {"apiVersion": "v1", "kind": kind, "metadata": meta, **more}


def owned(kind: str, name: str, version: int = 1, owner: Ref = MDEP, api: str = "trimtab.dev/v1alpha1") -> Object:
    reference = {
        "apiVersion": api,
        "kind": owner.kind,
        "name": owner.name,
        "uid": f"uid-{owner.name}",
        "controller": True,
    }
    return obj(kind, name, version, metadata={"ownerReferences": [reference]})


def mdep(version: int = 1, model: str = "credit") -> Object:
    return obj("ModelDeployment", "risk", version, spec={"model": {"name": model}})


def pod(name: str, version: int = 1, **labels: str) -> Object:
    return obj("Pod", name, version, metadata={"labels": {f"trimtab.dev/{k}": v for k, v in labels.items()}})


class TestWhoLooksAgain:
    def test_a_resource_looks_at_itself(self) -> None:
        assert store().absorb(mdep()) == {MDEP}

    def test_who_is_told_another_thing_looks(self) -> None:
        """A deployment waits while an experiment compares it, and looks when that begins and ends."""
        held, arms = store(), [{"name": n, "deployment": n} for n in ("risk", "gbm")]
        test, gbm = Ref("ABTest", "a", "which"), Ref("ModelDeployment", "a", "gbm")

        def news(version: int, decision: str, arms: Any = arms, *, gone: bool = False) -> set[Ref]:
            status = {"verdict": {"decision": decision}, "users": version}
            made = obj("ABTest", "which", version, spec={"arms": arms}, status=status)
            return set(held.absorb(made, gone=gone)) - {test}

        assert news(1, "Waiting") == {MDEP, gbm}
        assert news(2, "Waiting") == set(), "what changes all the time is no news"
        assert news(3, "Win") == {MDEP, gbm}
        assert news(4, "Win") == set()
        assert news(5, "Waiting", arms[:1]) == {MDEP, gbm}
        assert news(6, "Waiting") == {gbm}
        assert news(7, "Waiting", gone=True) == {MDEP, gbm}
        assert news(8, "Waiting") == {MDEP, gbm}
        assert held.retain("ABTest", None, set(), 9) == {test, MDEP, gbm}

    def test_an_owner_looks_at_its_child(self) -> None:
        held = store()
        assert held.absorb(owned("Deployment", "risk-1")) == {MDEP}
        assert held.absorb(owned("Deployment", "risk-1", 2), gone=True) == {MDEP}

    def test_old_and_new_owner_look(self) -> None:
        held = store()
        held.absorb(owned("Deployment", "risk-1"))
        other = Ref("ModelDeployment", "a", "other")
        assert held.absorb(owned("Deployment", "risk-1", 2, owner=other)) == {MDEP, other}

    @pytest.mark.parametrize("api", ["trimtab.dev/v2", "apps/v1"])
    def test_owners_of_other_apis_are_none_of_ours(self, api: str) -> None:
        assert store().absorb(owned("Deployment", "risk-1", api=api)) == set()

    def test_owners_of_kinds_we_do_not_know_are_none_of_ours(self) -> None:
        """After a step back to an older version there may be children of kinds it never heard of."""
        newer = Ref("Tomorrow", "a", "test")
        assert store().absorb(owned("Deployment", "router", owner=newer)) == set()

    def test_whoever_refers_to_a_model_looks(self) -> None:
        held = store()
        held.absorb(mdep())
        assert held.absorb(obj("MLModel", "credit")) == {MODEL, MDEP}
        held.absorb(mdep(2, model="other"))
        assert held.absorb(obj("MLModel", "credit", 2)) == {MODEL}
        held.absorb(mdep(3), gone=True)
        assert held.absorb(obj("MLModel", "other", 3)) == {Ref("MLModel", "a", "other")}

    def test_references_stay_within_a_namespace(self) -> None:
        held = store()
        held.absorb(mdep())
        assert held.absorb(obj("MLModel", "credit", namespace="b")) == {Ref("MLModel", "b", "credit")}

    def test_the_resource_a_pod_works_for_looks(self) -> None:
        held = store()
        assert held.absorb(pod("p", deployment="risk")) == {MDEP}
        assert held.absorb(pod("q", model="credit")) == {MODEL}
        assert held.absorb(pod("r")) == set()


class TestFinding:
    def test_children_by_owner_and_kind_in_order(self) -> None:
        held = store()
        for child in (owned("Service", "b"), owned("Service", "a"), owned("Deployment", "c")):
            held.absorb(child)
        found = held.children("uid-risk")
        assert [c["metadata"]["name"] for c in found] == ["c", "a", "b"]
        assert [c["metadata"]["name"] for c in held.children("uid-risk", "Service")] == ["a", "b"]
        assert held.children("uid-other") == []

    def test_a_child_given_away_is_no_longer_found(self) -> None:
        held = store()
        held.absorb(owned("Service", "a"))
        held.absorb(obj("Service", "a", 2))
        assert held.children("uid-risk") == []
        assert held.get(Ref("Service", "a", "a")) is not None

    def test_pods_by_label_in_order(self) -> None:
        held = store()
        for name in ("q", "p"):
            held.absorb(pod(name, deployment="risk", revision="1"))
        held.absorb(pod("r", deployment="other"))
        assert [p["metadata"]["name"] for p in held.pods("trimtab.dev/deployment", "a", "risk")] == ["p", "q"]
        held.absorb(pod("p", 2))
        assert [p["metadata"]["name"] for p in held.pods("trimtab.dev/deployment", "a", "risk")] == ["q"]
        assert held.pods("trimtab.dev/deployment", "b", "risk") == []

    def test_referrers_by_kind_in_order(self) -> None:
        held = store()
        held.absorb({**mdep(), "metadata": {**mdep()["metadata"], "name": "second"}})
        held.absorb(mdep())
        held.absorb(obj("ModelDeployment", "elsewhere", spec={"model": {"name": "other"}}))
        assert [found["metadata"]["name"] for found in held.referrers(MODEL, "ModelDeployment")] == ["risk", "second"]
        assert held.referrers(MODEL, "MLModel") == []
        held.absorb(mdep(2, model="other"))
        assert [found["metadata"]["name"] for found in held.referrers(MODEL, "ModelDeployment")] == ["second"]

    def test_kinds_are_listed_and_counted(self) -> None:
        held = store()
        for item in (owned("Service", "a"), owned("Service", "b"), mdep()):
            held.absorb(item)
        assert sorted(held.refs("Service")) == [Ref("Service", "a", "a"), Ref("Service", "a", "b")]
        assert held.count() == {"Service": 2, "ModelDeployment": 1}


class TestOrder:
    def test_only_news_counts(self) -> None:
        held = store()
        held.absorb(mdep(5, model="new"))
        for version in (4, 5):
            assert held.absorb(mdep(version, model="old")) == set()
        assert held.get(MDEP) == mdep(5, model="new")

    def test_versions_are_numbers(self) -> None:
        held = store()
        held.absorb(mdep(9))
        assert held.absorb(mdep(10)) == {MDEP}

    def test_a_deletion_at_the_version_that_is_held_counts(self) -> None:
        held = store()
        held.absorb(mdep(5))
        assert held.absorb(mdep(5), gone=True) == {MDEP}
        assert held.get(MDEP) is None

    def test_an_old_deletion_does_not_touch_a_namesake(self) -> None:
        held = store()
        held.absorb(mdep(7))
        assert held.absorb(mdep(6), gone=True) == set()
        assert held.get(MDEP) is not None

    def test_what_is_gone_does_not_come_back_by_old_news(self) -> None:
        """The response to a write may arrive after the event of a deletion that followed it."""
        held = store()
        held.absorb(mdep(5))
        held.absorb(mdep(7), gone=True)
        assert held.absorb(mdep(6)) == set()
        assert held.get(MDEP) is None
        assert held.absorb(mdep(8)) == {MDEP}

    def test_a_deletion_may_be_the_first_that_is_heard(self) -> None:
        held = store()
        held.absorb(mdep(7), gone=True)
        assert held.absorb(mdep(6)) == set()
        assert held.get(MDEP) is None

    def test_what_is_gone_is_remembered_only_for_a_while(self) -> None:
        held = store()
        for n in range(100):
            held.absorb(owned("Service", f"s{n}", n + 1), gone=True)
        held.retain("Service", None, set(), 200)
        held.retain("Service", None, set(), 300)
        assert held._gone == {}


class TestRetain:
    def test_what_a_list_no_longer_holds_is_forgotten(self) -> None:
        held = store()
        held.absorb(owned("Service", "a", 3))
        held.absorb(owned("Service", "b", 4))
        assert held.retain("Service", None, {Ref("Service", "a", "b")}, 10) == {MDEP}
        assert held.refs("Service") == [Ref("Service", "a", "b")]
        assert held.children("uid-risk") == [owned("Service", "b", 4)]

    def test_what_is_newer_than_the_list_stays(self) -> None:
        held = store()
        held.absorb(owned("Service", "a", 11))
        assert held.retain("Service", None, set(), 10) == set()

    def test_other_kinds_and_namespaces_stay(self) -> None:
        held = store()
        held.absorb(owned("Service", "a"))
        held.absorb(owned("Deployment", "a"))
        assert held.retain("Service", "b", set(), 10) == set()
        assert held.retain("Job", None, set(), 10) == set()
        assert held.retain("Service", "a", set(), 10) == {MDEP}
        assert held.count() == {"Deployment": 1}


class TestSlim:
    noisy = {
        "managedFields": [1],
        "selfLink": "x",
        "generateName": "x",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "yes"},
    }

    def test_what_is_never_read_is_not_kept(self) -> None:
        full = obj("Service", "a", metadata=self.noisy, spec={"x": 1}, status={"y": 2})
        assert slim(full) == obj(
            "Service", "a", metadata={"annotations": {"kept": "yes"}}, spec={"x": 1}, status={"y": 2}
        )
        assert full["metadata"]["managedFields"] == [1], "the original is somebody else's"

    def test_of_a_pod_only_its_troubles_and_its_address_are_kept(self) -> None:
        status = {"phase": "Running", "conditions": [], "containerStatuses": [], "podIP": "10.0.0.1"}
        full = obj("Pod", "p", spec={"containers": ["many"]}, status={**status, "hostIP": "10.1.0.1", "qosClass": "x"})
        assert slim(full) == {**obj("Pod", "p"), "status": status}
        assert slim(obj("Pod", "p"))["status"] == {}
        evicted = {"phase": "Failed", "reason": "Evicted", "message": "too much disk"}
        assert slim({**obj("Pod", "p"), "status": evicted})["status"] == evicted

    def test_the_store_keeps_the_slim_form(self) -> None:
        held = store()
        held.absorb(obj("Service", "a", metadata=self.noisy))
        found = held.get(Ref("Service", "a", "a"))
        assert found is not None
        assert "managedFields" not in found["metadata"]
