"""The Jobs of a run: one trains, another one grades. Pure builders.

A Job's template cannot be changed, so a Job that exists is never applied again: what it says of image, deadline or
champion is what held when it began.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trimtab.core import metadata
from trimtab.core.jobs import POD_BASE, Task, failure_policy, toolbox_job
from trimtab.core.objects import GROUP, JOB, Object
from trimtab.core.platform import Platform
from trimtab.kinds.retrainschedule.api import RetrainSchedule
from trimtab.kinds.retrainschedule.gate import METRICS, Gate
from trimtab.kinds.retrainschedule.line import KUEUE
from trimtab.kinds.retrainschedule.observe import Registered, experiment
from trimtab.kinds.retrainschedule.runs import Run
from trimtab.kinds.retrainschedule.training import trainer_container, trainer_volumes

RUN = f"{GROUP}/run-name"
TRIGGER = f"{GROUP}/trigger"
TRAINER, EVALUATOR = "trainer", "evaluate"
GRACE_SECONDS = 120
GATE_SECONDS = 1800
NOTHING_TO_DO = 3
# 10 bad data, 11 a bug of the trainer, 12 its own check failed: a second try would end like the first.
TRAINER_FINAL = (NOTHING_TO_DO, 10, 11, 12)


def gate_name(run: Run) -> str:
    """The name of the Job that grades a run."""
    return f"{run.name}-gate"


def train_job(schedule: RetrainSchedule, run: Run, registered: Registered, champion: str, platform: Platform) -> Object:
    """The Job that trains for a run. `champion` is the version that is to be beaten, or empty."""
    spec = schedule.spec.job
    labels = _labels(schedule, run, "trainer")
    extra = {KUEUE: spec.queue_name} if spec.queue_name else {}
    body: dict[str, Any] = {
        "backoffLimit": spec.backoff_limit,
        "activeDeadlineSeconds": spec.active_deadline_seconds,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": failure_policy(TRAINER, TRAINER_FINAL),
        "template": {
            "metadata": {"labels": labels, "annotations": {TRIGGER: _trigger(run)}},
            "spec": _trainer_pod(schedule, run, registered, champion, platform),
        },
    }
    if spec.parallelism > 1:
        body |= {"completionMode": "Indexed", "completions": spec.parallelism, "parallelism": spec.parallelism}
    if spec.queue_name:
        body["suspend"] = True
    return metadata.owned(JOB.api_version, JOB.kind, run.name, _owner(schedule), {**labels, **extra}, spec=body)


def gate_job(schedule: RetrainSchedule, run: Run, gate: Gate, registered: Registered, platform: Platform) -> Object:
    """The Job that compares the version of a run with the champion. Run twice, it comes to the same verdict."""
    labels = _labels(schedule, run, "evaluator")
    body = toolbox_job(_evaluation(run, gate, registered), labels, platform)
    return metadata.owned(JOB.api_version, JOB.kind, gate_name(run), _owner(schedule), labels, spec=body)


def _owner(schedule: RetrainSchedule) -> Object:
    return {"kind": schedule.kind, "metadata": schedule.metadata}


def _labels(schedule: RetrainSchedule, run: Run, component: str) -> dict[str, str]:
    name = schedule.metadata["name"]
    return metadata.labels(component, name, **{metadata.SCHEDULE: name, RUN: run.name})


def _trigger(run: Run) -> str:
    """What the trainer reads at /trimtab/in/trigger.json."""
    told = {"kind": run.trigger, "slot": run.slot, "excess": run.excess, "cause": run.cause, "features": run.features}
    return json.dumps({"schema": 1, **told})


def _trainer_pod(
    schedule: RetrainSchedule, run: Run, registered: Registered, champion: str, platform: Platform
) -> dict[str, Any]:
    spec = schedule.spec.job
    given = spec.template.dump()
    account = spec.template.service_account_name
    optional: Mapping[str, Any] = {
        "serviceAccountName": account,
        "nodeSelector": given.get("nodeSelector"),
        "tolerations": given.get("tolerations"),
        "priorityClassName": spec.priority_class_name,
    }
    return {
        **POD_BASE,
        "automountServiceAccountToken": bool(account),
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "containers": [
            trainer_container(TRAINER, spec, run, registered, champion, platform, experiment(schedule)),
        ],
        "volumes": trainer_volumes(spec, TRIGGER),
        **{name: value for name, value in optional.items() if value},
    }


def _evaluation(run: Run, gate: Gate, registered: Registered) -> Task:
    judged = {name: value for name, value in gate.dump().items() if name != "holdout"}
    judged["metric"] = METRICS[gate.metric]
    holdout = gate.holdout
    return Task(
        container=EVALUATOR,
        module="trimtab_toolbox.evaluation",
        uri=holdout.uri,
        volume="holdout",
        seconds=GATE_SECONDS,
        environment={
            "TRIMTAB_RUN_ID": run.name,
            "TRIMTAB_MODEL_NAME": registered.name,
            "TRIMTAB_CHAMPION_URI": f"models:/{registered.name}/{run.champion}" if run.champion else "",
            "TRIMTAB_CHALLENGER_URI": f"models:/{registered.name}/{run.version}",
            "TRIMTAB_HOLDOUT_URI": holdout.uri,
            "TRIMTAB_HOLDOUT_DIGEST": holdout.digest,
            "TRIMTAB_HOLDOUT_TARGET": holdout.target,
            "TRIMTAB_GATE": json.dumps(judged, sort_keys=True),
            "TRIMTAB_ALLOW_PICKLE": str(registered.allow_pickle).lower(),
        },
        credentials_secret_name=holdout.credentials_secret_name,
    )
