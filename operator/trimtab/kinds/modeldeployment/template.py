"""The pod that serves one revision: fetch and verify the bundle, then serve it, or run the user's container. Pure.

A revision is the bundle *and* everything about the pod that runs it. Its name is the hash of both, so a change of
either starts new pods beside the old ones and never restarts pods that carry traffic.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from trimtab.core import api, metadata
from trimtab.core.objects import GROUP, Object
from trimtab.core.platform import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    Platform,
    environment,
    secret_environment,
)
from trimtab.kinds.modeldeployment.api import ModelDeployment
from trimtab.kinds.modeldeployment.container import Container

PORT = 8080
GRPC_PORT = 8081
BUNDLE = "/trimtab/bundle"
TOKENS = "/etc/trimtab/tokens"
READY_PATH, LIVE_PATH = "/v2/health/ready", "/v2/health/live"
DRAIN_SECONDS = 5
START_SECONDS = 300
DIGEST, VERSION, RUNTIME = f"{GROUP}/digest", f"{GROUP}/version", f"{GROUP}/runtime"


@dataclass(frozen=True)
class Bundle:
    """What a revision serves."""

    digest: str
    version: str
    runtime: str

    def annotations(self) -> dict[str, str]:
        """The bundle as annotations: what a Deployment tells of itself if all status is lost."""
        return {DIGEST: self.digest, VERSION: self.version, RUNTIME: self.runtime}

    @classmethod
    def of(cls, obj: Object) -> Bundle | None:
        """The bundle a Deployment's annotations name, if they do and nobody made nonsense of them."""
        notes = obj["metadata"].get("annotations", {})
        found = cls(notes.get(DIGEST, ""), notes.get(VERSION, ""), notes.get(RUNTIME, ""))
        sound = re.match(api.DIGEST, found.digest) and 0 < len(found.version) <= 253
        return found if sound and found.runtime in ("onnx", "python", "container") else None


@dataclass(frozen=True)
class Revision:
    """A bundle with the pod template that runs it, under the name both give it."""

    name: str
    bundle: Bundle
    template: Object


def revision(mdep: ModelDeployment, bundle: Bundle, platform: Platform) -> Revision:
    """The revision that this spec makes of a bundle."""
    name = mdep.metadata["name"]
    spec = _pod(mdep, bundle, platform)
    notes = {**mdep.spec.pod_annotations, **bundle.annotations()}
    # Who sets `replicas` is part of it: a field that server-side apply no longer mentions falls back to its default, so
    # a Deployment that was given a number cannot be handed to an autoscaler without dropping to one pod on the way.
    digest = metadata.fingerprint([notes, spec, mdep.spec.autoscaling is not None])
    labels = revision_labels(name, digest)
    if "topologySpreadConstraints" not in spec:
        spec = {**spec, "topologySpreadConstraints": [_spread(selector(name, digest))]}
    return Revision(digest, bundle, {"metadata": {"labels": labels, "annotations": notes}, "spec": spec})


def ports(mdep: ModelDeployment) -> dict[str, int]:
    """The ports the model server listens on, by name."""
    http = mdep.spec.container.port if mdep.spec.container else PORT
    return {"http": http, "grpc": GRPC_PORT} if mdep.spec.grpc.enabled else {"http": http}


def selector(name: str, revision_name: str) -> dict[str, str]:
    """The labels that select one revision's pods; immutable in a Deployment, so nothing else belongs here."""
    return {metadata.DEPLOYMENT: name, metadata.REVISION: revision_name}


def revision_labels(name: str, revision_name: str) -> dict[str, str]:
    """The labels of everything that belongs to one revision."""
    return metadata.labels("server", name, **selector(name, revision_name))


def _pod(mdep: ModelDeployment, bundle: Bundle, platform: Platform) -> dict[str, Any]:
    spec = mdep.spec
    slim = bundle.runtime != "python" and not spec.grpc.enabled
    image = platform.server_image if slim else platform.toolbox_image
    own = spec.container
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "terminationGracePeriodSeconds": DRAIN_SECONDS + 25,
        "containers": [_brought(mdep, bundle, own) if own else _server(mdep, bundle, image, platform)],
        "volumes": [{"name": "tmp", "emptyDir": {}}, *_tokens(mdep)],
    }
    if spec.model is not None:
        pod["initContainers"] = [_fetch(bundle, image, platform)]
        pod["volumes"].insert(0, {"name": "bundle", "emptyDir": {}})
    given = spec.model_dump(
        by_alias=True,
        exclude_none=True,
        include={"node_selector", "tolerations", "affinity", "topology_spread_constraints"},
    )
    if spec.service_account_name:
        given["serviceAccountName"] = spec.service_account_name
    return {**pod, **given}


def _fetch(bundle: Bundle, image: str, platform: Platform) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "fetch",
        "image": image,
        "imagePullPolicy": platform.pull_policy,
        "command": ["python", "-m", "trimtab_serving.fetch"],
        "env": environment(
            TRIMTAB_STORE=platform.store_uri,
            TRIMTAB_DIGEST=bundle.digest,
            TRIMTAB_BUNDLE_DIR=BUNDLE,
        ),
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "bundle", "mountPath": "/trimtab"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the only other writable path
        ],
    }
    secrets = secret_environment(platform.job_secret_name)
    return {**container, "envFrom": secrets} if secrets else container


def _server(mdep: ModelDeployment, bundle: Bundle, image: str, platform: Platform) -> dict[str, Any]:
    own = environment(
        TRIMTAB_GRPC_PORT=str(GRPC_PORT) if mdep.spec.grpc.enabled else "",
        TRIMTAB_DRAIN_SECONDS=str(DRAIN_SECONDS),
        TRIMTAB_BATCH_MAX_SIZE=str(mdep.spec.batching.max_size),
        TRIMTAB_BATCH_MAX_WAIT_MICROSECONDS=str(mdep.spec.batching.max_wait_microseconds),
        TRIMTAB_USER_HEADER=mdep.spec.feedback.user_header,
        TRIMTAB_TOKENS_DIR=TOKENS if mdep.spec.auth.token_secret_name else "",
    )
    common = _serving(mdep, bundle, own + _key(mdep), READY_PATH, LIVE_PATH)
    if mdep.spec.auth.token_secret_name:
        common["volumeMounts"].append({"name": "tokens", "mountPath": TOKENS, "readOnly": True})
    program = {"image": image, "imagePullPolicy": platform.pull_policy, "command": ["python", "-m", "trimtab_serving"]}
    return {**common, **program}


def _brought(mdep: ModelDeployment, bundle: Bundle, own: Container) -> dict[str, Any]:
    """The user's own container, as confined as ours; how its image is pulled is left to Kubernetes.

    Most images have no home for our user, and most servers stop listening at once when told to end: the kubelet tells
    them only when every node has learned that the pod is on its way out.
    """
    given = {item.name for item in mdep.spec.env}
    home = [] if "HOME" in given else environment(HOME="/tmp")  # noqa: S108
    container = {
        **_serving(mdep, bundle, home, own.readiness_path, own.liveness_path),
        "image": own.image,
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
    }
    secrets = secret_environment(own.credentials_secret_name)
    optional = {"command": own.command, "args": own.args, "envFrom": secrets}
    return {**container, **{name: value for name, value in optional.items() if value}}


def _serving(mdep: ModelDeployment, bundle: Bundle, env: list[dict[str, Any]], ready: str, live: str) -> dict[str, Any]:
    """What whoever serves has in common: what it is told, how it is confined, and how it is watched."""
    fetched = mdep.spec.model is not None
    told = environment(
        TRIMTAB_MODEL_NAME=mdep.metadata["name"],
        TRIMTAB_MODEL_VERSION=bundle.version,
        TRIMTAB_DIGEST=bundle.digest if fetched else "",
        TRIMTAB_BUNDLE_DIR=BUNDLE if fetched else "",
        TRIMTAB_PORT=str(ports(mdep)["http"]),
    )
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    if fetched:
        mounts.insert(0, {"name": "bundle", "mountPath": "/trimtab", "readOnly": True})
    return {
        "name": "server",
        "env": told + env + [item.dump() for item in mdep.spec.env],
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports(mdep).items()],
        "resources": mdep.spec.resources.dump(),
        "securityContext": CONTAINER_SECURITY,
        "startupProbe": _probe(ready, period=1, failures=START_SECONDS),
        "readinessProbe": _probe(ready, period=2, failures=2),
        "livenessProbe": _probe(live, period=10, failures=3),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _tokens(mdep: ModelDeployment) -> list[dict[str, Any]]:
    """The bearer tokens as a volume, so that a change reaches the pods without a restart.

    Optional, because a missing Secret would hold the pod in ContainerCreating without a word in its status; the server
    finds the folder empty and says which Secret to make.
    """
    secret = mdep.spec.auth.token_secret_name
    return [{"name": "tokens", "secret": {"secretName": secret, "optional": True}}] if secret else []


def _key(mdep: ModelDeployment) -> list[dict[str, Any]]:
    """The key of the prediction tokens; the kubelet names the Secret if it is missing."""
    secret = mdep.spec.feedback.key_secret_name
    source = {"secretKeyRef": {"name": secret, "key": "key"}}
    return [{"name": "TRIMTAB_TOKEN_KEY", "valueFrom": source}] if secret else []


def _probe(path: str, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _spread(labels: dict[str, str]) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
