"""The health scripts for Argo CD, executed on status objects of every case the operator can leave behind."""

from __future__ import annotations

from typing import Any

import pytest

from tests import argocd
from tests.argocd import Health, health

KINDS = ("MLModel", "ModelDeployment", "ABTest", "RetrainSchedule")


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": 3,
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }


READY = condition("Ready", "True", "Reconciled", "2 of 2 pods serve version 4")
NOT_READY = condition("Ready", "False", "ImagePullFailed", "image trimtab-server:9 cannot be pulled")
UNKNOWN = condition("Ready", "Unknown", "Progressing", "importing models:/tumour/4")
PAUSED = condition("Ready", "True", "Paused", "paused by annotation")
SUSPENDED = condition("Ready", "True", "Suspended", "nothing is decided while spec.suspend is true")
AWAITING = condition("Ready", "True", "AwaitingDecision", "b is better than a; to decide: kubectl annotate")
PAUSED_BROKEN = condition("Ready", "False", "Paused", "paused by annotation")
RECONCILING = condition("Reconciling", "True", "RolloutInProgress", "1 of 2 pods ready")
RECONCILED = condition("Reconciling", "False", "Reconciled", "done")
STALLED = condition("Stalled", "True", "InvalidSpec", "spec.model.revision is not in MLModel tumour")
NOT_STALLED = condition("Stalled", "False", "Reconciled", "nothing is wrong")
AVAILABLE = condition("Available", "False", "RolloutInProgress", "0 of 2 pods available")


def obj(kind: str, conditions: list[dict[str, Any]], observed: int = 3, generation: int = 3) -> dict[str, Any]:
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "tumour", "namespace": "demo", "generation": generation},
        "spec": {},
        "status": {"observedGeneration": observed, "conditions": conditions},
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([READY], Health("Healthy", READY["message"])),
        ([AVAILABLE, RECONCILED, NOT_STALLED, READY], Health("Healthy", READY["message"])),
        ([NOT_READY], Health("Degraded", NOT_READY["message"])),
        ([SUSPENDED, AVAILABLE], Health("Suspended", SUSPENDED["message"])),
        ([AWAITING], Health("Suspended", AWAITING["message"])),
        ([NOT_READY, RECONCILED], Health("Degraded", NOT_READY["message"])),
        ([NOT_READY, RECONCILING], Health("Progressing", RECONCILING["message"])),
        ([UNKNOWN, RECONCILING], Health("Progressing", RECONCILING["message"])),
        ([UNKNOWN], Health("Progressing", UNKNOWN["message"])),
        ([RECONCILING], Health("Progressing", RECONCILING["message"])),
        ([NOT_READY, STALLED], Health("Degraded", STALLED["message"])),
        ([READY, STALLED], Health("Degraded", STALLED["message"])),
        ([PAUSED, STALLED, RECONCILING], Health("Degraded", STALLED["message"])),
        ([PAUSED], Health("Suspended", PAUSED["message"])),
        ([PAUSED_BROKEN], Health("Suspended", PAUSED["message"])),
        ([PAUSED_BROKEN, RECONCILING], Health("Suspended", PAUSED["message"])),
        # A good revision serves while the next one starts: the service is well.
        ([READY, RECONCILING], Health("Healthy", READY["message"])),
        ([], Health("Progressing", "Waiting for the operator to say whether it is ready")),
        ([AVAILABLE], Health("Progressing", "Waiting for the operator to say whether it is ready")),
    ],
)
def test_conditions_decide(kind: str, conditions: list[dict[str, Any]], expected: Health) -> None:
    assert health(obj(kind, conditions)) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_status_of_an_older_spec_says_nothing(kind: str) -> None:
    waiting = Health("Progressing", "Waiting for the operator to look at the last change")
    assert health(obj(kind, [READY], observed=2)) == waiting
    assert health(obj(kind, [STALLED], observed=2)) == waiting
    without = obj(kind, [READY])
    del without["status"]["observedGeneration"]
    assert health(without) == waiting


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [None, {}, {"observedGeneration": 3}])
def test_an_object_nobody_has_looked_at_yet_is_progressing(kind: str, status: dict[str, Any] | None) -> None:
    young = obj(kind, [])
    if status is None:
        del young["status"]
    else:
        young["status"] = status
    assert health(young) == Health("Progressing", "Waiting for the operator to look at it")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("only", [NOT_READY, READY, UNKNOWN, STALLED, RECONCILING, PAUSED])
def test_a_condition_without_a_message_gives_an_empty_one(kind: str, only: dict[str, Any]) -> None:
    silent = {key: value for key, value in only.items() if key != "message"}
    assert health(obj(kind, [silent])).message == ""


def test_every_kind_has_a_script_and_no_other() -> None:
    assert set(argocd.scripts()) == {f"trimtab.dev/{kind}" for kind in KINDS}


def test_the_evaluator_is_as_bare_as_argo_cd(monkeypatch: pytest.MonkeyPatch) -> None:
    for script in ('return {status = string.upper("x")}', 'return {status = ("x"):upper()}', "return os.time()"):
        monkeypatch.setattr(argocd, "scripts", lambda script=script: {"trimtab.dev/MLModel": script})
        with pytest.raises(Exception, match=r"attempt to (index|call)"):
            health(obj("MLModel", [READY]))


def test_the_evaluator_refuses_what_argo_cd_would_not_understand(monkeypatch: pytest.MonkeyPatch) -> None:
    for script in ('return {status = "Fine", message = ""}', 'return {status = "Healthy"}', "local x = 1"):
        monkeypatch.setattr(argocd, "scripts", lambda script=script: {"trimtab.dev/MLModel": script})
        with pytest.raises(AssertionError):
            health(obj("MLModel", [READY]))
