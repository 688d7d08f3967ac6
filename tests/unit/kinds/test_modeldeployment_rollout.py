"""Which revision has the traffic, which one is on its way and which ones may go, case by case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.kinds.builders import (
    NOW,
    NOW_TEXT,
    ago,
    front,
    mdep_object,
    mlmodel_object,
    model_revision,
    model_status,
    revision_of,
    row,
    seen_mdep,
    serving,
    workload,
)
from trimtab.core.objects import Object
from trimtab.core.plan import Plan
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.plan import plan

REVISION = "trimtab.dev/revision"


def model(current: int = 2) -> Object:
    """The MLModel with versions 3, 2 and 1, of which one is current."""
    return mlmodel_object(status=model_status(*(model_revision(n) for n in (3, 2, 1)), current=current))


def planned(obj: Object, *children: Object, current: int = 2, model_is: Object | None = None) -> Plan:
    seen = seen_mdep(obj, model_is or model(current), children)
    return plan(ModelDeployment.parse(obj), seen, NOW)


def front_of(given: Plan) -> Object:
    (service,) = (c for c in given.apply if c["kind"] == "Service" and "clusterIP" not in c["spec"])
    return service


def selected(given: Plan) -> str:
    """The revision that the front Service of a plan sends traffic to."""
    return str(front_of(given)["spec"]["selector"][REVISION])


def followed(obj: Object, *children: Object, current: int = 2) -> Plan:
    """The plan once the front is as the plan wants it; only then may the status claim who serves."""
    moved = front_of(planned(obj, *children, current=current))
    given = planned(obj, *(c for c in children if c["metadata"]["name"] != "risk"), moved, current=current)
    assert given.status["serving"] == selected(given) == moved["spec"]["selector"][REVISION]
    return given


def revisions(children: Iterable[Object]) -> set[str]:
    """The revisions whose Deployments are among these children."""
    return {c["metadata"]["labels"][REVISION] for c in children if c["kind"] == "Deployment"}


def names(obj: Object, *numbers: int) -> set[str]:
    return {revision_of(obj, number).name for number in numbers}


def name(obj: Object, number: int) -> str:
    return revision_of(obj, number).name


def kept(given: Plan) -> set[str]:
    return {ref.name.rpartition("-")[2] for ref in given.keep if ref.kind == "Deployment"}


AUTOSCALING = {"minReplicas": 2, "maxReplicas": 5}
FIXED, SCALED = mdep_object(), mdep_object(autoscaling=AUTOSCALING)
# (object, pods and available pods of the serving revision 1, the same of the newcomer 2, who serves then)
TAKE_OVER: dict[str, tuple[Object, dict[str, Any], dict[str, Any] | None, int]] = {
    "nobody there yet": (FIXED, {}, None, 1),
    "not one ready": (FIXED, {}, {"available": 0}, 1),
    "not enough": (FIXED, {}, {"available": 1}, 1),
    "enough": (FIXED, {}, {}, 2),
    "more than enough": (FIXED, {}, {"pods": 3}, 2),
    "the old one is half down": (FIXED, {"available": 1}, {"available": 1}, 1),
    "the old one is down": (FIXED, {"available": 0}, {"available": 1}, 2),
    "both are down": (FIXED, {"available": 0}, {"available": 0}, 1),
    "the old one was scaled this moment": (FIXED, {"observedGeneration": 0}, {"available": 1}, 1),
    "the new one was scaled this moment": (FIXED, {}, {"observedGeneration": 0}, 2),
    "to zero": (mdep_object(replicas=0), {"pods": 0}, {"pods": 0}, 2),
    "to zero, but not begun": (mdep_object(replicas=0), {"pods": 0}, None, 1),
    "as many as the autoscaler made": (SCALED, {"pods": 4}, {"pods": 4}, 2),
    "fewer than the autoscaler made": (SCALED, {"pods": 4}, {"pods": 3}, 1),
    "the old one is larger than allowed": (SCALED, {"pods": 9}, {"pods": 5}, 2),
    "the old one is smaller than allowed": (SCALED, {"pods": 1}, {"pods": 1}, 1),
}


@pytest.mark.parametrize("case", TAKE_OVER)
def test_a_newcomer_takes_over_when_it_can_carry_the_load(case: str) -> None:
    obj, old, new, winner = TAKE_OVER[case]
    obj = serving(obj, 1)
    children = [workload(obj, 1, **old), front(obj, 1), *([workload(obj, 2, **new)] if new is not None else [])]
    given = followed(obj, *children)
    assert selected(given) == name(obj, winner)
    assert revisions(given.apply) == names(obj, 1, 2), "the old one drains before it goes"
    assert kept(given) == set()
    assert given.status.get("switchedAt") == (NOW_TEXT if winner == 2 else None)
    assert given.requeue_after == (timedelta(seconds=10) if winner == 2 else None)
    assert [(r["name"], r["weight"]) for r in given.status["revisions"]] == [
        (name(obj, winner), 100),
        (name(obj, 3 - winner), 0),
    ]


def test_a_switch_is_claimed_only_when_the_front_is_seen_to_follow() -> None:
    obj = serving(FIXED, 1, switchedAt=ago(1_000))
    given = planned(obj, workload(obj, 1), front(obj, 1), workload(obj, 2))
    assert selected(given) == name(obj, 2)
    assert (given.status["serving"], given.status["version"]) == (name(obj, 1), "1")
    assert given.status["switchedAt"] == ago(1_000)
    assert given.status["conditions"][0]["message"] == f"traffic moves to revision {name(obj, 2)}"
    assert revisions(given.apply) == names(obj, 1, 2)


def test_a_switch_that_was_cut_short_lets_everybody_drain() -> None:
    """Killed between moving the front and telling so; and when it comes back there is yet another target."""
    obj = serving(FIXED, 1)
    given = planned(obj, workload(obj, 1), workload(obj, 2), front(obj, 2), current=3)
    assert selected(given) == name(obj, 1)
    assert kept(given) == names(obj, 2)
    assert given.status["switchedAt"] == NOW_TEXT


def test_the_first_revision_serves_as_soon_as_it_has_pods() -> None:
    given = planned(FIXED)
    assert selected(given) == name(FIXED, 2)
    assert [(c["kind"], c["metadata"]["name"]) for c in given.apply] == [
        ("NetworkPolicy", "risk"),
        ("PodDisruptionBudget", "risk"),
        ("Deployment", f"risk-{name(FIXED, 2)}"),
        ("Service", f"risk-{name(FIXED, 2)}"),
        ("Service", "risk"),
    ]
    assert given.status["url"] == "http://risk.team-a.svc"
    assert "switchedAt" not in given.status
    assert given.requeue_after is None


def test_the_front_comes_last_so_that_something_stands_behind_it() -> None:
    obj = serving(FIXED, 1)
    given = planned(obj, workload(obj, 1), front(obj, 1), workload(obj, 2))
    assert given.apply[-1]["metadata"]["name"] == "risk"


@pytest.mark.parametrize(("seconds", "stays"), [(0, True), (9, True), (10, False), (3600, False)])
def test_what_served_before_goes_ten_seconds_after_the_move(seconds: int, stays: bool) -> None:
    obj = serving(FIXED, 2, row(FIXED, 1, weight=0), switchedAt=ago(seconds))
    given = planned(obj, workload(obj, 1), workload(obj, 2), front(obj, 2))
    assert kept(given) == (names(obj, 1) if stays else set())
    assert given.requeue_after == (timedelta(seconds=10 - seconds) if stays else None)
    assert [r["version"] for r in given.status["revisions"]] == (["2", "1"] if stays else ["2"])


def test_a_change_of_mind_while_the_old_revision_drains_finds_it_still_there() -> None:
    obj = serving(FIXED, 2, row(FIXED, 1, weight=0), switchedAt=ago(2))
    given = followed(obj, workload(obj, 1), workload(obj, 2), front(obj, 2), current=1)
    assert selected(given) == name(obj, 1)
    assert given.status["switchedAt"] == NOW_TEXT


def test_a_newcomer_that_is_overtaken_goes_at_once() -> None:
    obj = serving(FIXED, 1)
    given = planned(obj, workload(obj, 1), workload(obj, 2, available=0), front(obj, 1), current=3)
    assert revisions(given.apply) == names(obj, 1, 3)
    assert kept(given) == set()


def test_many_changes_while_an_old_revision_drains_fit_into_the_status() -> None:
    """status.revisions holds four: who serves and who comes are among them, whatever drains."""
    obj = serving(FIXED, 2, switchedAt=ago(2))
    strays = [workload({**obj, "spec": {**obj["spec"], "podAnnotations": {"n": str(n)}}}, 1) for n in range(5)]
    given = planned(obj, *strays, workload(obj, 2), front(obj, 2), current=3)
    assert [r["version"] for r in given.status["revisions"]][:2] == ["2", "3"]
    assert len(given.status["revisions"]) == 4
    assert len(kept(given)) == 5


class TestLostMemory:
    """Status can be wiped, children deleted, labels edited: traffic stays where pods answer."""

    def test_the_front_still_knows(self) -> None:
        given = planned(FIXED, workload(FIXED, 1), workload(FIXED, 2, available=1), front(FIXED, 1))
        assert selected(given) == name(FIXED, 1)
        assert [r["version"] for r in given.status["revisions"]] == ["1", "2"]

    @pytest.mark.parametrize("fronts", [[], [front(FIXED, 3)]], ids=["no front", "a front that knows nobody"])
    def test_else_the_pods_know(self, fronts: Sequence[Object]) -> None:
        given = planned(FIXED, workload(FIXED, 1), workload(FIXED, 2, available=1), *fronts)
        assert selected(given) == name(FIXED, 1)
        assert revisions(given.apply) == names(FIXED, 1, 2)

    def test_without_pods_it_is_a_first_start(self) -> None:
        given = planned(FIXED, workload(FIXED, 1, available=0))
        assert selected(given) == name(FIXED, 2)

    def test_without_model_whatever_there_is_stays(self) -> None:
        seen = seen_mdep(FIXED, None, [workload(FIXED, 1, available=0)])
        given = plan(ModelDeployment.parse(FIXED), seen, NOW)
        assert selected(given) == name(FIXED, 1)

    def test_a_missing_label_hides_no_deployment(self) -> None:
        obj = serving(FIXED, 1)
        old = workload(obj, 1)
        del old["metadata"]["labels"][REVISION]
        given = planned(obj, old, workload(obj, 2, available=1), front(obj, 1))
        assert selected(given) == name(obj, 1)
        assert revisions(given.apply) == names(obj, 1, 2), "and the label is put back"

    def test_a_deleted_deployment_is_made_anew(self) -> None:
        given = planned(serving(FIXED, 2), front(FIXED, 2))
        assert revisions(given.apply) == names(FIXED, 2)


class TestAnotherPod:
    """An edit of the pod's part of the spec: what serves can no longer be built, and must not be touched."""

    before = mdep_object()
    after = mdep_object(podAnnotations={"team": "risk"})

    def children(self) -> list[Object]:
        """Deployment and headless Service of what serves."""
        was = planned(serving(self.before, 2), workload(self.before, 2))
        (headless,) = (c for c in was.apply if c["kind"] == "Service" and "clusterIP" in c["spec"])
        headless["metadata"]["uid"] = "uid-headless"
        return [workload(self.before, 2), headless, front(self.before, 2)]

    def edited(self) -> Object:
        return {**serving(self.before, 2), "spec": self.after["spec"]}

    def test_what_serves_is_kept_as_it_is(self) -> None:
        given = planned(self.edited(), *self.children())
        old, new = name(self.before, 2), name(self.after, 2)
        assert old != new
        assert selected(given) == old
        assert revisions(given.apply) == {new}
        assert {(ref.kind, ref.name) for ref in given.keep} == {
            ("Deployment", f"risk-{old}"),
            ("Service", f"risk-{old}"),
        }

    def test_a_missing_label_does_not_give_it_up(self) -> None:
        children = self.children()
        for child in children[:2]:
            del child["metadata"]["labels"][REVISION]
        assert len(planned(self.edited(), *children).keep) == 2

    @pytest.mark.parametrize("value", ["", "nonsense", "sha256:" + "x" * 64])
    def test_nonsense_in_its_annotations_does_no_harm(self, value: str) -> None:
        children = self.children()
        children[0]["metadata"]["annotations"]["trimtab.dev/digest"] = value
        for obj in (self.edited(), {**self.edited(), "status": {}}):
            assert selected(planned(obj, *children)) == name(self.before, 2)

    def test_a_deleted_one_waits_for_the_newcomer(self) -> None:
        given = planned(self.edited(), front(self.before, 2), workload(self.after, 2, available=0))
        assert selected(given) == name(self.before, 2)
        given = planned(self.edited(), front(self.before, 2), workload(self.after, 2, available=1))
        assert selected(given) == name(self.after, 2)


def test_without_a_target_who_serves_goes_on() -> None:
    obj = serving(FIXED, 1)
    for status in (model_status(), model_status(model_revision(2, approved=False), current=2)):
        given = planned(obj, workload(obj, 1), front(obj, 1), model_is=mlmodel_object(status=status))
        assert selected(given) == name(obj, 1)
        assert revisions(given.apply) == names(obj, 1)


def test_without_a_target_and_without_a_past_nothing_is_made() -> None:
    seen = seen_mdep(FIXED, None)
    given = plan(ModelDeployment.parse(FIXED), seen, NOW)
    assert given.apply == ()
    assert (given.status["serving"], given.status["url"], given.status["selector"]) == ("", "", "")


class TestAutoscaling:
    def scaler(self, given: Plan, obj: Object, number: int) -> Object:
        (found,) = (
            c
            for c in given.apply
            if c["kind"] == "HorizontalPodAutoscaler" and c["metadata"]["name"] == f"risk-{name(obj, number)}"
        )
        return dict(found["spec"])

    def test_a_newcomer_starts_as_large_as_what_it_replaces(self) -> None:
        obj = serving(SCALED, 1)
        given = planned(obj, workload(obj, 1, pods=4), front(obj, 1))
        assert self.scaler(given, obj, 2)["minReplicas"] == 4
        assert self.scaler(given, obj, 1)["minReplicas"] == 2

    def test_after_the_move_it_may_shrink(self) -> None:
        obj = serving(SCALED, 1)
        given = planned(obj, workload(obj, 1, pods=4), workload(obj, 2, pods=4), front(obj, 1))
        assert self.scaler(given, obj, 2)["minReplicas"] == 4
        given = followed(obj, workload(obj, 1, pods=4), workload(obj, 2, pods=4), front(obj, 1))
        assert self.scaler(given, obj, 2)["minReplicas"] == 2

    @pytest.mark.parametrize(("obj", "expected"), [(FIXED, {2}), (SCALED, {None})])
    def test_the_number_of_pods_is_written_only_without_an_autoscaler(self, obj: Object, expected: set[int]) -> None:
        obj = serving(obj, 1)
        given = planned(obj, workload(obj, 1), front(obj, 1))
        assert {c["spec"].get("replicas") for c in given.apply if c["kind"] == "Deployment"} == expected
