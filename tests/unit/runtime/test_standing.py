"""Conditions, shares, rollouts and experiments as series, from statuses as the operator writes them."""

import pytest

from tests.unit.runtime.statuses import lessened
from trimtab.core.objects import API_VERSION
from trimtab.runtime.families import FAMILIES
from trimtab.runtime.findings import series

ABOUT = ("shop", "credit")
READY = {"type": "Ready", "status": "True", "reason": "Reconciled"}


def deployment():
    """A ModelDeployment in the middle of a canary."""
    compared = {"metric": "Errors", "eValue": "0.5", "limitEValue": "0.25"}
    status = {
        "conditions": [READY, {"type": "Available", "status": "False", "reason": "NoReplicasAvailable"}],
        "serving": "aaaa1111",
        "available": 2,
        "revisions": [{"name": "aaaa1111", "weight": 95}, {"name": "bbbb2222", "weight": 5}],
        "rollout": {"stage": "Stepping", "compared": [compared]},
        "history": [{"outcome": "Promoted"}, {"outcome": "RolledBack"}, {"outcome": "Promoted"}],
    }
    return of("ModelDeployment", status, replicas=2)


def experiment():
    """An ABTest of two arms, of which the second is better."""
    better = {"name": "gbm", "lift": "4.5", "lower": "1.5", "upper": "7.5", "eValue": "80"}
    status = {
        "conditions": [{"type": "Powered", "status": "Unknown", "reason": "TrafficUnknown"}],
        "arms": [
            {"name": "control", "weight": 50, "applied": 50, "users": 900, "requests": 1000, "errors": 3},
            {"name": "gbm", "weight": 50, "users": 910, "outcomes": 41, "mean": "0.045"},
        ],
        "evidence": {"arms": [better], "srm": {"eValue": "0.9"}},
        "power": {"neededUsers": 12_000},
    }
    return of("ABTest", status)


def of(kind, status, **spec):
    meta = {"namespace": "shop", "name": "credit", "resourceVersion": "1"}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": meta, "spec": spec, "status": status}


def test_a_deployment_under_way():
    found = series(deployment())
    assert found["trimtab_condition", (*ABOUT, "ModelDeployment", "Ready", "Reconciled")] == 1
    assert found["trimtab_condition", (*ABOUT, "ModelDeployment", "Available", "NoReplicasAvailable")] == 0
    assert found["trimtab_endpoint_up", ABOUT] == 1
    assert found["trimtab_traffic_weight", (*ABOUT, "ModelDeployment", "bbbb2222")] == 5
    assert found["trimtab_rollout_under_way", ABOUT] == 1
    assert found["trimtab_rollout_e_value", (*ABOUT, "Errors", "limit")] == 0.25
    assert found["trimtab_rollouts", (*ABOUT, "Promoted")] == 2


def test_an_experiment():
    found = series(experiment())
    assert found["trimtab_condition", (*ABOUT, "ABTest", "Powered", "TrafficUnknown")] == -1
    assert found["trimtab_traffic_weight", (*ABOUT, "ABTest", "control")] == 50
    assert found["trimtab_abtest_users", (*ABOUT, "gbm")] == 910
    assert found["trimtab_abtest_mean", (*ABOUT, "gbm")] == 0.045
    assert ("trimtab_abtest_mean", (*ABOUT, "control")) not in found
    assert found["trimtab_abtest_lift_percent", (*ABOUT, "gbm")] == 4.5
    assert found["trimtab_abtest_lift_percent_bound", (*ABOUT, "gbm", "lower")] == 1.5
    assert found["trimtab_abtest_sample_ratio_e_value", ABOUT] == 0.9
    assert found["trimtab_abtest_needed_users", ABOUT] == 12_000


@pytest.mark.parametrize("kind", ["MLModel", "RetrainSchedule"])
def test_every_kind_tells_its_conditions(kind):
    found = series(of(kind, {"conditions": [READY]}))
    assert found["trimtab_condition", (*ABOUT, kind, "Ready", "Reconciled")] == 1


def test_a_slot_that_brought_no_run_is_told_until_the_next_one():
    passed = {"slot": "2030-01-01T00:00:00Z", "reason": "DeadlineMissed"}
    found = series(of("RetrainSchedule", {"passed": passed, "lastSlot": passed["slot"]}))
    key = "trimtab_retrain_passed_over", (*ABOUT, "DeadlineMissed")
    assert found[key] == 1
    assert key not in series(of("RetrainSchedule", {"passed": passed, "lastSlot": "2030-01-02T00:00:00Z"}))
    assert key not in series(of("RetrainSchedule", {"passed": {**passed, "slot": ""}, "lastSlot": ""}))


@pytest.mark.parametrize(
    ("change", "spec", "up"),
    [
        ({"available": 0}, {"replicas": 2}, 0),
        ({"available": 0}, {"autoscaling": {"maxReplicas": 3}, "replicas": 0}, 0),
        ({"available": 0}, {"replicas": 0}, None),
        ({"available": 0, "serving": ""}, {"replicas": 2}, None),
    ],
    ids=["no pod", "autoscaled", "scaled to zero", "never served"],
)
def test_only_what_should_answer_is_up_or_down(change, spec, up):
    obj = deployment()
    obj["status"] |= change
    obj["spec"] = spec
    assert series(obj).get(("trimtab_endpoint_up", ABOUT)) == up


@pytest.mark.parametrize("obj", [deployment(), experiment()], ids=lambda obj: obj["kind"])
def test_no_part_of_a_status_has_to_be_there(obj):
    for less in lessened(obj):
        for name, labels in series(less):
            assert len(FAMILIES[name].labels) == len(labels)
