"""The pod that trains: the user's container within the contract of docs/training.md, and the volumes it needs."""

from __future__ import annotations

from typing import Any

from trimtab.core import metadata
from trimtab.core.platform import Platform, environment, secret_environment
from trimtab.kinds.retrainschedule.job import JobSpec
from trimtab.kinds.retrainschedule.observe import Registered
from trimtab.kinds.retrainschedule.runs import Run

IN, OUT, CHECKPOINTS = "/trimtab/in", "/trimtab/out", "/trimtab/checkpoints"
SECURITY: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""What the restricted standard asks for. The root file system stays writable: images that train often need that."""


def trainer_container(
    name: str, spec: JobSpec, run: Run, registered: Registered, champion: str, platform: Platform, experiment: str
) -> dict[str, Any]:
    """The user's container, with the run's environment and mounts."""
    template = spec.template
    given = template.dump()
    named = {item.name for item in template.env}
    ours = _environment(spec, run, registered, champion, platform, experiment)
    container: dict[str, Any] = {
        "name": name,
        "image": template.image,
        "imagePullPolicy": platform.pull_policy,
        "env": [*(item for item in ours if item["name"] not in named), *given["env"]],
        "resources": given["resources"],
        "securityContext": SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [*_mounts(spec), *given["volumeMounts"]],
    }
    optional = {
        "command": template.command,
        "args": template.args,
        "envFrom": secret_environment(platform.job_secret_name, template.credentials_secret_name),
    }
    return {**container, **{field: value for field, value in optional.items() if value}}


def trainer_volumes(spec: JobSpec, annotation: str) -> list[dict[str, Any]]:
    """The trigger as a file, room for what the trainer writes, checkpoints, and what the user mounts."""
    trigger = {"path": "trigger.json", "fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"}}
    volumes: list[dict[str, Any]] = [
        {"name": "trimtab-in", "downwardAPI": {"items": [trigger]}},
        {"name": "trimtab-out", "emptyDir": {"sizeLimit": "8Gi"}},
        {"name": "trimtab-tmp", "emptyDir": {"sizeLimit": "8Gi"}},
    ]
    if spec.checkpoints.claim_name:
        claim = {"claimName": spec.checkpoints.claim_name}
        volumes.append({"name": "trimtab-checkpoints", "persistentVolumeClaim": claim})
    return volumes + [volume.dump() for volume in spec.template.volumes]


def _mounts(spec: JobSpec) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": "trimtab-in", "mountPath": IN, "readOnly": True},
        {"name": "trimtab-out", "mountPath": OUT},
        {"name": "trimtab-tmp", "mountPath": "/tmp"},  # noqa: S108
    ]
    if spec.checkpoints.claim_name:
        mounts.append({"name": "trimtab-checkpoints", "mountPath": CHECKPOINTS})
    return mounts


def _environment(
    spec: JobSpec, run: Run, registered: Registered, champion: str, platform: Platform, experiment: str
) -> list[dict[str, str]]:
    return environment(
        TRIMTAB_RUN_ID=run.name,
        TRIMTAB_TRIGGER=run.trigger,
        TRIMTAB_MODEL_NAME=registered.name,
        TRIMTAB_CHAMPION_URI=f"models:/{registered.name}/{champion}" if champion else "",
        TRIMTAB_SEED=str(int(metadata.fingerprint(run.name), 16) % 2**31),
        TRIMTAB_CHECKPOINT_DIR=f"{CHECKPOINTS}/{run.name}" if spec.checkpoints.claim_name else "",
        TRIMTAB_OUTPUT_DIR=OUT,
        TRIMTAB_DEADLINE_SECONDS=str(spec.active_deadline_seconds),
        TRIMTAB_RESULT_PATH="/dev/termination-log",
        MLFLOW_TRACKING_URI=platform.tracking_uri,
        MLFLOW_EXPERIMENT_NAME=experiment,
        HOME="/tmp",  # noqa: S108 - writable for every user
    )
