"""RetrainSchedules for tests, and what surrounds them, each with one line for what matters."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tests.unit.kinds.builders import EARLIER_TEXT, digest, meta
from trimtab.core.objects import API_VERSION, Object
from trimtab.kinds.retrainschedule.observe import Tracked

MODEL, DEPLOYMENT = "credit", "risk"
GATE = {
    "metric": "RocAuc",
    "mode": "NonInferior",
    "margin": "0.01",
    "confidencePercent": "95",
    "floor": "0.75",
    "holdout": {
        "uri": "s3://data/holdout.csv",
        "digest": digest(99),
        "target": "y",
        "credentialsSecretName": "",
    },
}
JOB = {"template": {"image": "registry.example/train:1", "command": ["python", "train.py"]}}
SUNDAYS = {"cron": {"schedule": "0 3 * * 0", "timeZone": "Europe/Berlin", "startingDeadlineSeconds": 3600}}
MINUTELY = {"cron": {"schedule": "*/10 * * * *", "timeZone": "UTC", "startingDeadlineSeconds": 3600}}
DRIFT = {"drift": {"deployment": DEPLOYMENT, "level": "Critical"}}


def schedule_object(
    name: str = "weekly",
    *,
    status: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> Object:
    """A schedule of the model `credit`, with a gate unless `gate` is None."""
    body = {"model": MODEL, "job": copy.deepcopy(JOB), "gate": copy.deepcopy(GATE), **spec}
    obj = {
        "apiVersion": API_VERSION,
        "kind": "RetrainSchedule",
        "metadata": meta(name, annotations=dict(annotations or {})),
        "spec": {key: value for key, value in body.items() if value is not None},
    }
    return {**obj, "status": copy.deepcopy(dict(status))} if status is not None else obj


def trained(version: str = "", **more: Any) -> Tracked:
    """What MLflow knows of a run that made this version."""
    return Tracked(run_id="0123456789abcdef0123456789abcdef", status="FINISHED", version=version, **more)


def verdict(word: str = "Passed", **more: Any) -> Object:
    """What the evaluator says."""
    return {
        "schema": 1,
        "verdict": word,
        "reason": "NonInferior" if word == "Passed" else "Worse",
        "message": "the challenger is as good" if word == "Passed" else "the challenger is worse",
        "metric": "roc_auc",
        "champion": "0.9",
        "challenger": "0.91",
        "difference": "0.01",
        "lower": "-0.002",
        "upper": "0.02",
        "rows": 2000,
        "chanceIfWorse": "0.05",
        "checks": [{"name": "finite", "passed": True, "value": "0", "limit": "0"}],
        **more,
    }


def model_object(uri: str = "models:/credit@champion", *versions: int, current: int = 1) -> Object:
    """The MLModel, with these versions imported."""
    revisions = [{"uri": f"models:/credit/{v}", "digest": digest(v), "version": str(v)} for v in versions or (1,)]
    status = {"current": digest(current), "resolvedUri": f"models:/credit/{current}", "revisions": revisions}
    return {
        "apiVersion": API_VERSION,
        "kind": "MLModel",
        "metadata": meta(MODEL),
        "spec": {"source": {"uri": uri}},
        "status": status,
    }


def deployment_object(version: int = 1, name: str = DEPLOYMENT, **status: Any) -> Object:
    """A ModelDeployment that serves this version."""
    row = {"name": f"rev{version}", "digest": digest(version), "version": str(version)}
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelDeployment",
        "metadata": meta(name),
        "spec": {"model": {"name": MODEL}},
        "status": {"serving": f"rev{version}", "revisions": [row], **status},
    }


def drifted(episode: str = "0123456789ab", version: int = 1, level: str = "Critical", **more: Any) -> Object:
    """What a ModelDeployment says of drift."""
    return {
        "state": level,
        "level": level,
        "digest": digest(version),
        "score": "1.4",
        "windowSeconds": 3600,
        "features": [{"name": "age", "level": level}],
        "problems": [],
        "episode": {"id": episode},
        "checkedAt": EARLIER_TEXT,
        **more,
    }
