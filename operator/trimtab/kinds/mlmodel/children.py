"""The one child of an MLModel: the Job that imports a version. Pure builders."""

from __future__ import annotations

from typing import Any

from trimtab.core import metadata
from trimtab.core.objects import GROUP, JOB, Object
from trimtab.core.platform import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    Platform,
    environment,
    secret_environment,
)
from trimtab.kinds.mlmodel.api import MLModel

IMPORT_KEY = f"{GROUP}/import-key"
CONTAINER = "import"
VOLUME = "/trimtab/volume"
RETRIES = 3
MAX_BYTES = 2 * 2**30
TIMEOUT_SECONDS = 900
# Exit code 10 is the contract's "trying again cannot help"; 137 is what an out-of-memory kill leaves.
FINAL_EXIT_CODES = (10, 137)


def import_key(model: MLModel, uri: str) -> str:
    """What names an import: the immutable reference and everything that shapes its bundle.

    The toolbox image is left out on purpose: an upgrade of the operator must not change what is served.
    """
    spec = model.spec
    retry = model.metadata.get("annotations", {}).get(metadata.RETRY, "")
    return metadata.fingerprint([uri, spec.source.digest, spec.format, spec.optimize, spec.allow_pickle, retry])


def import_job(model: MLModel, uri: str, platform: Platform) -> Object:
    """The Job that turns `uri` into a bundle in the store. Its name makes it run once, whatever restarts."""
    key = import_key(model, uri)
    name = model.metadata["name"]
    labels = metadata.labels("import", name, **{metadata.MODEL: name, IMPORT_KEY: key})
    owner = {"kind": model.kind, "metadata": model.metadata}
    spec = {
        "backoffLimit": RETRIES,
        "activeDeadlineSeconds": TIMEOUT_SECONDS * 2,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": _failure_policy(),
        "template": {"metadata": {"labels": labels}, "spec": _pod(model, uri, platform)},
    }
    return metadata.owned(JOB.api_version, JOB.kind, f"{name}-{key}", owner, labels, spec=spec)


def _failure_policy() -> dict[str, Any]:
    """A pod that was evicted does not count, and what would fail again fails the Job at once."""
    final = {"containerName": CONTAINER, "operator": "In", "values": list(FINAL_EXIT_CODES)}
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": final},
        ]
    }


def _pod(model: MLModel, uri: str, platform: Platform) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "containers": [_container(model, uri, platform)],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "8Gi"}}, *_claim(uri)],
    }


def _claim(uri: str) -> list[dict[str, Any]]:
    """The volume behind a pvc:// source, which the Job may read and nothing else."""
    if not uri.startswith("pvc://"):
        return []
    claim = {"claimName": uri.removeprefix("pvc://").partition("/")[0], "readOnly": True}
    return [{"name": "source", "persistentVolumeClaim": claim}]


def _container(model: MLModel, uri: str, platform: Platform) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": platform.toolbox_image,
        "imagePullPolicy": platform.pull_policy,
        "command": ["python", "-m", "trimtab_toolbox"],
        "env": _environment(model, uri, platform),
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "4Gi"}},
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            *({"name": volume["name"], "mountPath": VOLUME, "readOnly": True} for volume in _claim(uri)),
        ],
    }
    secrets = secret_environment(platform.job_secret_name, model.spec.source.credentials_secret_name)
    return {**container, "envFrom": secrets} if secrets else container


def _environment(model: MLModel, uri: str, platform: Platform) -> list[dict[str, str]]:
    spec = model.spec
    return environment(
        TRIMTAB_SOURCE_URI=uri,
        TRIMTAB_SOURCE_DIGEST=spec.source.digest,
        TRIMTAB_FORMAT=spec.format,
        TRIMTAB_OPTIMIZE=spec.optimize,
        TRIMTAB_ALLOW_PICKLE=str(spec.allow_pickle).lower(),
        TRIMTAB_STORE=platform.store_uri,
        TRIMTAB_MAX_BYTES=str(MAX_BYTES),
        TRIMTAB_TIMEOUT_SECONDS=str(TIMEOUT_SECONDS),
        TRIMTAB_RESULT_PATH="/dev/termination-log",
        TRIMTAB_PVC_DIR=VOLUME if _claim(uri) else "",
        MLFLOW_TRACKING_URI=platform.tracking_uri,
        HOME="/tmp",  # noqa: S108 - the only writable path of the pod
    )
