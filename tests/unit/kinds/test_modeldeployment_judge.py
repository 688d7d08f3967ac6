"""The conditions of a ModelDeployment: they never lie, and they say what to do."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.unit.kinds import kubelet
from tests.unit.kinds.builders import (
    EARLIER_TEXT,
    NOW,
    condition,
    digest,
    front,
    mdep_object,
    mlmodel_object,
    model_revision,
    model_status,
    revision_of,
    seen_mdep,
    serving,
    workload,
)
from tests.unit.kinds.kubelet import container, crash_looping, ended
from trimtab.core.objects import Object
from trimtab.core.plan import Plan
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.plan import plan

MODEL = mlmodel_object(status=model_status(model_revision(2), model_revision(1), current=2))
OBJ = mdep_object()
SERVES = serving(OBJ, 2)
MOVING = serving(OBJ, 1)
RESOLVED = ("True", "RevisionFound")
UP = ("True", "MinimumReplicasAvailable")
DOWN = ("False", "NoReplicasAvailable")
DIGEST_WORDS = kubelet.words("DigestMismatch", "the bundle's bytes hash to sha256:bad")


def planned(obj: Object, children: Sequence[Object], pods: Sequence[Object] = (), model: Object | None = MODEL) -> Plan:
    return plan(ModelDeployment.parse(obj), seen_mdep(obj, model, children, pods), NOW)


def judged(given: Plan) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in given.status["conditions"]}


def message(given: Plan, type_: str = "Ready") -> str:
    return next(str(c["message"]) for c in given.status["conditions"] if c["type"] == type_)


def name(number: int, obj: Object = OBJ) -> str:
    return revision_of(obj, number).name


def pod(number: int, *containers: Object, label: str = "a", **more: object) -> Object:
    return kubelet.server_pod(f"risk-{number}-{label}", "risk", name(number), *containers, **more)


# Settled: one revision, and it serves or tries to.


def test_all_is_well() -> None:
    given = planned(SERVES, [workload(OBJ, 2), front(OBJ, 2)])
    assert judged(given) == {"Ready": ("True", "Reconciled"), "ModelResolved": RESOLVED, "Available": UP}
    assert message(given) == f"revision {name(2)} serves"
    assert message(given, "ModelResolved") == f"version 2 of MLModel credit ({digest(2)[:19]})"
    assert (given.status["replicas"], given.status["available"], given.status["version"]) == (2, 2, "2")
    assert given.status["selector"] == f"trimtab.dev/deployment=risk,trimtab.dev/revision={name(2)}"


@pytest.mark.parametrize("pods", [0, 1])
def test_pods_that_are_still_starting_are_no_failure(pods: int) -> None:
    given = planned(SERVES, [workload(OBJ, 2, available=pods)], [pod(2, container(kubelet.STARTED))])
    assert judged(given) == {
        "Ready": ("Unknown", "PodsStarting"),
        "Reconciling": ("True", "PodsStarting"),
        "ModelResolved": RESOLVED,
        "Available": UP if pods else DOWN,
    }
    assert message(given) == "waiting for all 2 pods to be ready"


def test_scaled_to_zero_is_as_asked() -> None:
    obj = serving(mdep_object(replicas=0), 2)
    given = planned(obj, [workload(obj, 2, pods=0)])
    assert judged(given) == {"Ready": ("True", "ScaledToZero"), "ModelResolved": RESOLVED, "Available": DOWN}


def test_a_change_of_the_number_of_pods_hides_none_of_those_that_answer() -> None:
    """For a moment the Deployment's status is older than its spec; its pods answer all the same."""
    given = planned(SERVES, [workload(OBJ, 2, pods=2, observedGeneration=0), front(OBJ, 2)])
    assert judged(given)["Available"] == UP
    assert given.status["available"] == 2


def test_more_pods_are_waited_for() -> None:
    obj = serving(mdep_object(replicas=5), 2)
    given = planned(obj, [workload(obj, 2, pods=2), front(obj, 2)])
    assert judged(given)["Ready"] == ("Unknown", "PodsStarting")


TROUBLES: dict[str, tuple[Object, str, str]] = {
    "crash": (crash_looping(ended(1, "no weights")), "CrashLooping", "its last words: no weights"),
    "momentarily running": (container(kubelet.STARTED, last=ended(1, "no weights")), "CrashLooping", "no weights"),
    "image": (container(kubelet.pulling_later()), "ImagePullFailed", "not found"),
    "memory": (crash_looping(ended(137, reason="OOMKilled")), "OutOfMemory", "raise the limit"),
    "config": (
        container(kubelet.waiting("CreateContainerConfigError", 'secret "s" not found')),
        "ContainerRefused",
        'secret "s" not found',
    ),
    "digest": (
        crash_looping(ended(10, DIGEST_WORDS), name="fetch"),
        "DigestMismatch",
        "the bundle's bytes hash to sha256:bad",
    ),
}


@pytest.mark.parametrize("case", TROUBLES)
def test_a_revision_that_cannot_serve_says_why(case: str) -> None:
    status, reason, words = TROUBLES[case]
    given = planned(SERVES, [workload(OBJ, 2, available=0), front(OBJ, 2)], [pod(2, status)])
    assert judged(given) == {
        "Ready": ("False", reason),
        "Stalled": ("True", reason),
        "ModelResolved": RESOLVED,
        "Available": DOWN,
    }
    assert words in message(given)


@pytest.mark.parametrize("case", TROUBLES)
def test_a_bad_newcomer_says_why_and_takes_no_traffic(case: str) -> None:
    status, reason, words = TROUBLES[case]
    children = [workload(OBJ, 1), front(OBJ, 1), workload(OBJ, 2, available=0)]
    given = planned(MOVING, children, [pod(2, status)])
    assert judged(given) == {
        "Ready": ("False", reason),
        "Stalled": ("True", reason),
        "ModelResolved": RESOLVED,
        "Available": UP,
    }
    assert message(given).startswith(f"the new revision {name(2)} gets no traffic: ")
    assert words in message(given)
    assert message(given).endswith(f"; revision {name(1)} (version 1) keeps serving")
    assert given.status["serving"] == name(1)


def test_one_pod_in_trouble_is_not_told_while_enough_others_serve() -> None:
    given = planned(SERVES, [workload(OBJ, 2, pods=3, available=2)], [pod(2, crash_looping(ended(1)))])
    assert judged(given)["Ready"] == ("True", "Reconciled")


def test_the_dead_are_not_asked() -> None:
    """An evicted pod stays in the list long after another took its place."""
    gone = pod(2, container(ended(137)), phase="Failed")
    given = planned(SERVES, [workload(OBJ, 2, available=1)], [gone, pod(2, container(kubelet.STARTED), label="b")])
    assert judged(given)["Ready"] == ("Unknown", "PodsStarting")


def test_each_revision_answers_for_its_own_pods() -> None:
    children = [workload(OBJ, 1), front(OBJ, 1), workload(OBJ, 2, available=0)]
    given = planned(MOVING, children, [pod(1, crash_looping(ended(1)))])
    assert judged(given)["Ready"] == ("Unknown", "RolloutInProgress")
    assert message(given) == (
        f"the new revision {name(2)} has 0 of 2 pods ready; revision {name(1)} (version 1) keeps serving"
    )


def refused(text: str) -> list[Object]:
    return [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": text}]


def late() -> Object:
    text = 'ReplicaSet "risk-1-abc" has timed out progressing.'
    return {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": text}


DEPLOYMENTS: dict[str, tuple[list[Object], str, str]] = {
    "quota": (refused('pods "x" is forbidden: exceeded quota: small, requested: pods=1'), "QuotaExceeded", "small"),
    "policy": (refused('violates PodSecurity "restricted:latest": runAsNonRoot != true'), "PodsRefused", "restricted"),
    "account": (refused('serviceaccount "scorer" not found'), "PodsRefused", 'serviceaccount "scorer" not found'),
    "deadline": ([late()], "ProgressDeadlineExceeded", "has timed out progressing"),
    "quota and deadline": ([late(), *refused("exceeded quota: small")], "QuotaExceeded", "exceeded quota"),
}


@pytest.mark.parametrize("case", DEPLOYMENTS)
def test_pods_that_never_came_to_be_are_told_of(case: str) -> None:
    conditions, reason, words = DEPLOYMENTS[case]
    given = planned(SERVES, [workload(OBJ, 2, pods=0, conditions=conditions), front(OBJ, 2)])
    assert judged(given)["Ready"] == ("False", reason)
    assert words in message(given)


def test_pods_know_better_than_their_deadline() -> None:
    child = workload(OBJ, 2, available=0, conditions=[late()])
    given = planned(SERVES, [child, front(OBJ, 2)], [pod(2, crash_looping(ended(1, "no weights")))])
    assert judged(given)["Ready"] == ("False", "CrashLooping")


def test_too_little_room_is_told_of() -> None:
    full = kubelet.unschedulable("0/3 nodes are available: 3 Insufficient cpu.")
    given = planned(SERVES, [workload(OBJ, 2, available=1)], [pod(2, conditions=[full])])
    assert judged(given)["Ready"] == ("False", "NotEnoughRoom")
    assert judged(given)["Available"] == UP


def test_both_pull_states_write_the_same_status() -> None:
    children = [workload(OBJ, 2, available=0), front(OBJ, 2)]
    first, second = (
        planned(SERVES, children, [pod(2, container(state))]).status
        for state in (kubelet.pulling_failed(), kubelet.pulling_later())
    )
    assert first == second


# The model.


def model_with(**status: object) -> Object:
    return mlmodel_object(status={**model_status(), **status})


NOT_READY = model_with(conditions=[condition("Ready", "Unknown", "Importing", "importing models:/credit/1")])
BROKEN = model_with(
    conditions=[
        condition("Ready", "False", "PickleRefused", "model.pkl runs code"),
        condition("Stalled", "True", "PickleRefused", "model.pkl runs code"),
    ]
)
ELSEWHERE = mlmodel_object(status=model_status(model_revision(1), current=1))
WAITS = mlmodel_object(status=model_status(model_revision(2, approved=False), model_revision(1), current=1))
PINNED = {"revision": digest(2)}
UNRESOLVED: dict[str, tuple[Object, Object | None, str, str, str]] = {
    "no model": (OBJ, None, "ModelNotFound", "False", "there is no MLModel credit in this namespace; create it"),
    "not looked at": (OBJ, mlmodel_object(), "ModelNotReady", "Unknown", "it was not looked at yet"),
    "importing": (OBJ, NOT_READY, "ModelNotReady", "Unknown", "importing models:/credit/1"),
    "broken": (OBJ, BROKEN, "ModelNotReady", "False", "model.pkl runs code"),
    "pinned elsewhere": (
        mdep_object(model=PINNED),
        ELSEWHERE,
        "RevisionNotFound",
        "False",
        f"MLModel credit has no revision {digest(2)}; it has {digest(1)}",
    ),
    "pinned to what waits": (
        mdep_object(model=PINNED),
        WAITS,
        "RevisionNotApproved",
        "False",
        f"{digest(2)} of MLModel credit is not approved; approve it there",
    ),
}


@pytest.mark.parametrize("serves", [False, True])
@pytest.mark.parametrize("case", UNRESOLVED)
def test_a_model_that_cannot_be_resolved_is_named(case: str, serves: bool) -> None:
    obj, model, reason, ready, words = UNRESOLVED[case]
    children = [workload(obj, 3), front(obj, 3)] if serves else []
    given = planned(serving(obj, 3) if serves else obj, children, model=model)
    verdict = {"Ready": (ready, reason), "ModelResolved": ("False", reason), "Available": UP if serves else DOWN}
    verdict["Stalled" if ready == "False" else "Reconciling"] = ("True", reason)
    assert judged(given) == verdict
    assert words in message(given, "ModelResolved")
    assert words in message(given)
    assert message(given).endswith("keeps serving") is serves
    assert bool(given.apply) is serves


def test_a_pin_holds_whatever_is_current() -> None:
    obj = mdep_object(model={"revision": digest(1)})
    given = planned(serving(obj, 1), [workload(obj, 1), front(obj, 1)])
    assert judged(given)["Ready"] == ("True", "Reconciled")
    assert given.status["version"] == "1"


@pytest.mark.parametrize("approved", [True, False])
def test_of_two_imports_of_the_same_bytes_the_current_one_counts(approved: bool) -> None:
    again = model_revision(1, key="b", version="2", approved=approved)
    model = mlmodel_object(status=model_status(again, model_revision(1), current=1, version="1"))
    given = planned(serving(OBJ, 1), [workload(OBJ, 1), front(OBJ, 1)], model=model)
    assert judged(given)["ModelResolved"] == RESOLVED
    assert given.status["version"] == "1"


# Fields and times.


def test_a_number_of_pods_that_is_not_used_is_named() -> None:
    scaling = {"minReplicas": 1, "maxReplicas": 3}
    for replicas, named in ((2, True), (1, False)):
        obj = serving(mdep_object(autoscaling=scaling, replicas=replicas), 2)
        given = planned(obj, [workload(obj, 2), front(obj, 2)])
        assert ("spec.replicas is not used while spec.autoscaling is set" in message(given)) is named


def test_times_stand_still_while_nothing_flips() -> None:
    before = [
        condition("Ready", "True", "Reconciled", "old words"),
        condition("Available", "True", "MinimumReplicasAvailable", "old words"),
        condition("ModelResolved", "False", "ModelNotFound", "old words"),
    ]
    obj = {**SERVES, "status": {**SERVES["status"], "conditions": before}}
    given = planned(obj, [workload(OBJ, 2), front(OBJ, 2)])
    times = {c["type"]: c["lastTransitionTime"] for c in given.status["conditions"]}
    assert times == {"Ready": EARLIER_TEXT, "Available": EARLIER_TEXT, "ModelResolved": "2030-01-02T03:04:05Z"}
    assert given.status["conditions"][0]["type"] == "Ready"


def test_the_status_names_the_generation_it_was_judged_by() -> None:
    given = planned({**SERVES, "metadata": {**SERVES["metadata"], "generation": 7}}, [workload(OBJ, 2)])
    assert given.status["observedGeneration"] == 7
    assert {c["observedGeneration"] for c in given.status["conditions"]} == {7}
