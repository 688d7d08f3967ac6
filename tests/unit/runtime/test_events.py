"""Events for people: said once, in the API's form, and never a reason to fail."""

from __future__ import annotations

import logging

import pytest

from tests.kubernetes_schema import validate_strictly
from tests.memory_cluster import MemoryCluster
from tests.memory_operator import drive
from tests.unit.kinds.builders import mdep_object
from trimtab.core.objects import Object, Ref
from trimtab.core.plan import Event
from trimtab.runtime.cluster import ApiError, NotLeader
from trimtab.runtime.events import emit

READY = Event("Normal", "Reconciled", "revision abc serves")


def said(cluster: MemoryCluster) -> list[Object]:
    return [obj for ref, obj in cluster.objects.items() if ref.kind == "Event"]


def test_an_event_names_what_it_is_about() -> None:
    cluster, obj = MemoryCluster(), mdep_object()
    drive(emit(cluster, obj, READY, "operator-1" * 20))
    (event,) = said(cluster)
    validate_strictly({**event, "metadata": _given(event)})
    assert event["regarding"] == {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "ModelDeployment",
        "name": "risk",
        "namespace": "team-a",
        "uid": "uid-risk",
    }
    assert (event["type"], event["reason"], event["note"]) == ("Normal", "Reconciled", "revision abc serves")
    assert (event["reportingController"], event["action"]) == ("trimtab.dev/operator", "Reconcile")
    assert len(event["reportingInstance"]) <= 128


def _given(event: Object) -> Object:
    return {key: event["metadata"][key] for key in ("name", "namespace")}


def test_the_same_is_said_once_and_something_else_beside_it() -> None:
    cluster, obj = MemoryCluster(), mdep_object()
    newer = {**obj, "metadata": {**obj["metadata"], "generation": 2}}
    for about, event in ((obj, READY), (obj, READY), (newer, READY), (obj, Event("Warning", "CrashLooping", "no"))):
        drive(emit(cluster, about, event, "operator-1"))
    assert len(said(cluster)) == 3


@pytest.mark.parametrize(("code", "lines"), [(409, 0), (403, 1), (500, 1), (0, 1)])
def test_an_event_that_cannot_be_published_is_a_line_in_the_log(
    code: int, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: str, __: Ref) -> None:
        raise ApiError(code, "", "no")

    cluster = MemoryCluster()
    cluster.before = fail
    with caplog.at_level(logging.INFO):
        drive(emit(cluster, mdep_object(), READY, "operator-1"))
    assert [vars(record)["error"] for record in caplog.records] == ["no"] * lines


def test_who_does_not_lead_tells_nothing() -> None:
    with pytest.raises(NotLeader):
        drive(emit(MemoryCluster(lambda: False), mdep_object(), READY, "operator-1"))
