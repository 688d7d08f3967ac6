"""The Jobs of a run: pods within the restricted standard, the environment of the contract, and names that fit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests import pod_security, samples
from tests.kubernetes_schema import validate_strictly
from tests.memory_operator import PLATFORM
from tests.unit.kinds.builders import NOW_TEXT
from tests.unit.kinds.retrain_lab import schedule_object
from trimtab.core.objects import Object
from trimtab.kinds.retrainschedule.api import RetrainSchedule
from trimtab.kinds.retrainschedule.children import gate_job, train_job
from trimtab.kinds.retrainschedule.due import run_name
from trimtab.kinds.retrainschedule.observe import Registered
from trimtab.kinds.retrainschedule.runs import Run

CREDIT = Registered("credit", "champion", allow_pickle=True)
SECRETS = replace(PLATFORM, job_secret_name="mlflow")
WRITABLE = "containers/trainer: the root file system can be written"
"""No part of the restricted standard, and images that train often need it."""
EVERY = next(row.manifest["spec"] for row in samples.good() if row.name == "every field of a schedule")


def a_run(schedule: RetrainSchedule, **more: Any) -> Run:
    name = run_name(schedule, "Drift", "0123456789ab")
    at = {"stage_at": NOW_TEXT, "recorded_at": NOW_TEXT}
    return Run(name=name, trigger="Drift", slot="0123456789ab", cause="it drifted", features=["age"], **at, **more)


def training(obj: Object, champion: str = "1") -> Object:
    schedule = RetrainSchedule.parse(obj)
    return train_job(schedule, a_run(schedule), CREDIT, champion, SECRETS)


def grading(obj: Object) -> Object:
    schedule = RetrainSchedule.parse(obj)
    assert schedule.spec.gate is not None
    return gate_job(schedule, a_run(schedule, version="2", champion="1"), schedule.spec.gate, CREDIT, SECRETS)


def pod_of(job: Object) -> dict[str, Any]:
    return dict(job["spec"]["template"]["spec"])


def env_of(job: Object) -> dict[str, str]:
    (container,) = pod_of(job)["containers"]
    names = [item["name"] for item in container["env"]]
    assert len(set(names)) == len(names), "server-side apply refuses a variable that is there twice"
    return {item["name"]: item["value"] for item in container["env"]}


@pytest.mark.parametrize("spec", [{}, EVERY], ids=["least", "every field"])
def test_jobs_are_what_the_api_server_takes_and_pods_are_restricted(spec: Any) -> None:
    obj = schedule_object("a23456789-123456789-123456789-123456789-12345678", **spec)
    for job in (training(obj), grading(obj)):
        validate_strictly(job)
        assert set(pod_security.violations(pod_of(job))) <= {WRITABLE}
        assert pod_of(job)["restartPolicy"] == "Never"
        assert pod_of(job)["enableServiceLinks"] is False
        assert len(job["metadata"]["name"]) <= 63
        assert len(f"{training(obj)['metadata']['name']}-63") <= 63, "pods of Indexed Jobs have host names"
        assert json.loads(json.dumps(job)) == job


def test_a_trainer_is_told_what_the_contract_promises() -> None:
    obj = schedule_object()
    job = training(obj)
    run = job["metadata"]["name"]
    env = env_of(job)
    seed = int(env.pop("TRIMTAB_SEED"))
    assert 0 <= seed < 2**31
    assert env == {
        "TRIMTAB_RUN_ID": run,
        "TRIMTAB_TRIGGER": "Drift",
        "TRIMTAB_MODEL_NAME": "credit",
        "TRIMTAB_CHAMPION_URI": "models:/credit/1",
        "TRIMTAB_OUTPUT_DIR": "/trimtab/out",
        "TRIMTAB_DEADLINE_SECONDS": "3600",
        "TRIMTAB_RESULT_PATH": "/dev/termination-log",
        "MLFLOW_TRACKING_URI": PLATFORM.tracking_uri,
        "MLFLOW_EXPERIMENT_NAME": "team-a/weekly",
        "HOME": "/tmp",
    }
    told = json.loads(job["spec"]["template"]["metadata"]["annotations"]["trimtab.dev/trigger"])
    assert told == {
        "schema": 1,
        "kind": "Drift",
        "slot": "0123456789ab",
        "excess": "",
        "cause": "it drifted",
        "features": ["age"],
    }
    (container,) = pod_of(job)["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "mlflow"}}]
    assert "TRIMTAB_CHAMPION_URI" not in env_of(training(obj, ""))
    assert training(obj) == job, "the same run has the same Job"


def test_a_trainer_has_no_token_unless_it_has_an_account() -> None:
    assert pod_of(training(schedule_object()))["automountServiceAccountToken"] is False
    with_account = {"template": {"image": "i", "serviceAccountName": "trainer"}}
    pod = pod_of(training(schedule_object(job=with_account)))
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("trainer", True)


def test_a_trainer_may_set_what_is_not_the_operators() -> None:
    given = {"template": {"image": "i", "env": [{"name": "HOME", "value": "/home/me"}]}}
    assert env_of(training(schedule_object(job=given)))["HOME"] == "/home/me"


def test_exit_codes_and_evictions_are_told_apart() -> None:
    rules = training(schedule_object())["spec"]["podFailurePolicy"]["rules"]
    assert rules[0] == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert rules[1]["onExitCodes"] == {"containerName": "trainer", "operator": "In", "values": [3, 10, 11, 12]}


def test_several_pods_are_an_indexed_job_and_a_queue_holds_it_back() -> None:
    every = training(schedule_object(**EVERY))
    spec = every["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 4)
    assert (every["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], spec["suspend"]) == ("team-a", True)
    assert pod_of(every)["priorityClassName"] == "low"
    assert pod_of(every)["terminationGracePeriodSeconds"] == 120
    alone = training(schedule_object())
    assert not {"completionMode", "suspend"} & set(alone["spec"])
    assert "kueue.x-k8s.io/queue-name" not in alone["metadata"]["labels"]


def test_checkpoints_and_volumes_are_mounted() -> None:
    job = training(schedule_object(**EVERY))
    run = job["metadata"]["name"]
    assert env_of(job)["TRIMTAB_CHECKPOINT_DIR"] == f"/trimtab/checkpoints/{run}"
    (container,) = pod_of(job)["containers"]
    paths = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert paths == {
        "/trimtab/in": "trimtab-in",
        "/trimtab/out": "trimtab-out",
        "/trimtab/checkpoints": "trimtab-checkpoints",
        "/tmp": "trimtab-tmp",
        "/data": "data",
    }
    assert set(paths.values()) <= {volume["name"] for volume in pod_of(job)["volumes"]}


def test_a_holdout_on_a_volume_is_mounted_for_reading() -> None:
    obj = schedule_object()
    obj["spec"]["gate"]["holdout"] |= {"uri": "pvc://data/holdout.csv", "credentialsSecretName": "warehouse"}
    job = grading(obj)
    (container,) = pod_of(job)["containers"]
    assert {"name": "holdout", "mountPath": "/trimtab/volume", "readOnly": True} in container["volumeMounts"]
    assert container["envFrom"] == [{"secretRef": {"name": "mlflow"}}, {"secretRef": {"name": "warehouse"}}]
    env = env_of(job)
    assert (env["TRIMTAB_PVC_DIR"], env["TRIMTAB_ALLOW_PICKLE"]) == ("/trimtab/volume", "true")


def test_occasions_and_schedules_have_runs_of_their_own() -> None:
    first, namesake = schedule_object(), schedule_object()
    namesake["metadata"]["uid"] = "another"
    names = {
        run_name(RetrainSchedule.parse(obj), trigger, slot)
        for obj in (first, namesake)
        for trigger in ("Cron", "Manual")
        for slot in ("a", "b")
    }
    assert len(names) == 8
