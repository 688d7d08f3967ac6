"""Jobs that the operator starts: how their failures count, and the pod in which the toolbox works for it.

An import and an evaluation read what somebody else made, so both get the same pod: no rights, nothing to write to but
/tmp, a limit of memory and of time, and last words that can be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trimtab.core.objects import Object, condition
from trimtab.core.platform import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    Platform,
    environment,
    secret_environment,
)

VOLUME = "/trimtab/volume"
RETRIES = 3
MAX_BYTES = 2 * 2**30
# Exit code 10 is the contract's "trying again cannot help"; 137 is what an out-of-memory kill leaves.
FINAL_EXIT_CODES = (10, 137)
POD_BASE: Mapping[str, Any] = {"restartPolicy": "Never", "enableServiceLinks": False, "securityContext": POD_SECURITY}


@dataclass(frozen=True)
class Task:
    """What the toolbox is to do, and what it reads for that. `volume` names the claim of a pvc:// reference."""

    container: str
    module: str
    uri: str
    volume: str
    seconds: int
    environment: Mapping[str, str]
    credentials_secret_name: str = ""


def has_ended(job: Object) -> bool:
    """Whether a Job is Complete or Failed."""
    return any(condition(job, type_).get("status") == "True" for type_ in ("Complete", "Failed"))


def failure_policy(container: str, final: Sequence[int]) -> dict[str, Any]:
    """A pod that was in somebody's way does not count, and what would fail again fails the Job at once."""
    codes = {"containerName": container, "operator": "In", "values": list(final)}
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": codes},
        ]
    }


def toolbox_job(task: Task, labels: Mapping[str, str], platform: Platform) -> Object:
    """The spec of the Job that does a task."""
    pod = {
        **POD_BASE,
        "automountServiceAccountToken": False,
        "containers": [_container(task, platform)],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "8Gi"}}, *_claim(task)],
    }
    return {
        "backoffLimit": RETRIES,
        "activeDeadlineSeconds": task.seconds * 2,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": failure_policy(task.container, FINAL_EXIT_CODES),
        "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
    }


def _claim(task: Task) -> list[dict[str, Any]]:
    """The volume behind a pvc:// reference, which the Job may read and nothing else."""
    if not task.uri.startswith("pvc://"):
        return []
    claim = {"claimName": task.uri.removeprefix("pvc://").partition("/")[0], "readOnly": True}
    return [{"name": task.volume, "persistentVolumeClaim": claim}]


def _container(task: Task, platform: Platform) -> dict[str, Any]:
    claimed = _claim(task)
    given = environment(
        **task.environment,
        TRIMTAB_MAX_BYTES=str(MAX_BYTES),
        TRIMTAB_TIMEOUT_SECONDS=str(task.seconds),
        TRIMTAB_RESULT_PATH="/dev/termination-log",
        TRIMTAB_PVC_DIR=VOLUME if claimed else "",
        MLFLOW_TRACKING_URI=platform.tracking_uri,
        HOME="/tmp",  # noqa: S108 - the only writable path of the pod
    )
    container: dict[str, Any] = {
        "name": task.container,
        "image": platform.toolbox_image,
        "imagePullPolicy": platform.pull_policy,
        "command": ["python", "-m", task.module],
        "env": given,
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "4Gi"}},
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            *({"name": volume["name"], "mountPath": VOLUME, "readOnly": True} for volume in claimed),
        ],
    }
    secrets = secret_environment(platform.job_secret_name, task.credentials_secret_name)
    return {**container, "envFrom": secrets} if secrets else container
