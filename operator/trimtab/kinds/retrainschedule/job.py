"""The training Job as users give it: what runs, with which resources, and how often it is tried."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trimtab.core.affinity import Labels
from trimtab.core.api import ApiModel, matching, name_or_empty, rule, rules
from trimtab.core.podspec import Environment, Resources, Toleration

VOLUME_NAME = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
PATH = r"^/[^:]*$"
IMAGE = r"^[^\s]+$"
SIZE = r"^[1-9][0-9]{0,11}([kMGT]|[KMGT]i)?$"
QUEUE = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$"

ObjectName = Annotated[
    str,
    matching(
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        "volumes: a volume names an object of this namespace: a-z, 0-9, '-' and '.'",
        max_length=253,
    ),
]
Argument = Annotated[str, Field(max_length=4096)]


class ConfigMapVolume(ApiModel):
    """Files from a ConfigMap."""

    name: ObjectName
    """The ConfigMap."""


class SecretVolume(ApiModel):
    """Files from a Secret."""

    secret_name: ObjectName
    """The Secret."""


class ClaimVolume(ApiModel):
    """A PersistentVolumeClaim."""

    claim_name: ObjectName
    """The claim."""
    read_only: bool = False
    """Whether it is mounted for reading alone."""


class EmptyDirVolume(ApiModel):
    """Room that lasts as long as the pod."""

    medium: Literal["Memory"] | None = None
    """Memory for a file system in memory, as data loaders need at /dev/shm; left out, the disk of the node."""
    size_limit: Annotated[
        str,
        matching(SIZE, "emptyDir.sizeLimit must be a size as text, as in 512Mi or 1Gi", max_length=20),
    ] = "1Gi"
    """The most it may hold."""


class Volume(ApiModel):
    """Something to be mounted."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": rules(
            rule(
                "[has(self.configMap), has(self.secret), has(self.persistentVolumeClaim), has(self.emptyDir)]"
                ".filter(x, x).size() == 1",
                "volumes: each needs one of configMap, secret, persistentVolumeClaim and emptyDir",
            ),
            rule(
                "!self.name.startsWith('trimtab-')",
                "volumes: names that start with trimtab- are the operator's; choose another name",
            ),
        ),
    }

    name: Annotated[
        str,
        matching(VOLUME_NAME, "volumes: a name consists of a-z, 0-9 and '-'", max_length=63),
    ]
    """What mounts call it."""
    config_map: ConfigMapVolume | None = None
    """Files from a ConfigMap."""
    secret: SecretVolume | None = None
    """Files from a Secret."""
    persistent_volume_claim: ClaimVolume | None = None
    """A PersistentVolumeClaim."""
    empty_dir: EmptyDirVolume | None = None
    """Room that lasts as long as the pod."""


class VolumeMount(ApiModel):
    """Where a volume is seen."""

    name: Annotated[str, Field(max_length=63)]
    """The volume."""
    mount_path: Annotated[
        str,
        matching(PATH, "volumeMounts: mountPath must begin with / and hold no colon", max_length=1024),
    ]
    """Where it is seen. /trimtab and /tmp are the operator's."""
    sub_path: Annotated[str, Field(max_length=1024)] = ""
    """A folder of the volume, in place of all of it."""
    read_only: bool = False
    """Whether it may be written."""


class Template(ApiModel):
    """The pod that trains."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": rules(
            rule(
                "!has(self.env) || !self.env.exists(e, e.name.startsWith('TRIMTAB_'))",
                "template.env: names that start with TRIMTAB_ are set by the operator; choose another name",
            ),
            rule(
                "!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.volumes) && "
                "self.volumes.exists(v, v.name == m.name))",
                "template.volumeMounts: each must name one of template.volumes",
            ),
            rule(
                "!has(self.volumeMounts) || self.volumeMounts.all(m, m.mountPath != '/tmp' && "
                "m.mountPath != '/trimtab' && !m.mountPath.startsWith('/trimtab/'))",
                "template.volumeMounts: /trimtab and /tmp are mounted by the operator; choose another path",
            ),
        ),
    }

    image: Annotated[
        str, matching(IMAGE, "template.image must be the reference of an image, without blanks", max_length=512)
    ]
    """The image that trains. It follows docs/training.md, with or without Trimtab's toolbox."""
    command: Annotated[list[Argument], Field(max_length=32)] = []
    """The command; the image's own when empty."""
    args: Annotated[list[Argument], Field(max_length=128)] = []
    """Its arguments."""
    env: Environment = []
    """Further environment variables."""
    credentials_secret_name: Annotated[str, name_or_empty("template.credentialsSecretName", "Secret")] = ""
    """A Secret in this namespace whose keys become environment variables."""
    resources: Resources = Resources(requests={"cpu": "500m", "memory": "1Gi"}, limits={"memory": "4Gi"})
    """What each pod requests and may use."""
    volumes: Annotated[
        list[Volume],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    """What can be mounted."""
    volume_mounts: Annotated[
        list[VolumeMount],
        Field(
            max_length=32,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["mountPath"]},
        ),
    ] = []
    """Where it is seen."""
    service_account_name: Annotated[str, name_or_empty("template.serviceAccountName", "ServiceAccount")] = ""
    """The pods' ServiceAccount. Its token is mounted only when this is set."""
    node_selector: Labels | None = None
    """Labels a node must have."""
    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = None
    """Taints the pods bear."""


class Checkpoints(ApiModel):
    """Where a run keeps what it has reached, for the pod that goes on with it."""

    claim_name: Annotated[str, name_or_empty("checkpoints.claimName", "PersistentVolumeClaim")] = ""
    """A PersistentVolumeClaim of this namespace. Each run has a folder of its own there."""


class JobSpec(ApiModel):
    """The training Job."""

    template: Template
    """The pod that trains."""
    parallelism: Annotated[int, Field(ge=1, le=64)] = 1
    """More than 1 makes an Indexed Job with so many pods, each with its JOB_COMPLETION_INDEX."""
    backoff_limit: Annotated[int, Field(ge=0, le=20)] = 3
    """How many pods may fail before the run has. Evicted pods count only if they used more disk than they may."""
    active_deadline_seconds: Annotated[int, Field(ge=60, le=2_592_000)] = 3600
    """How long a run may take, with all its retries."""
    checkpoints: Checkpoints = Checkpoints()
    """Where a run keeps what it has reached."""
    queue_name: Annotated[
        str, matching(QUEUE, "job.queueName must be the name of a LocalQueue: a-z, 0-9, '-' and '.'", max_length=63)
    ] = ""
    """A LocalQueue of Kueue, which then decides when the Job begins."""
    priority_class_name: Annotated[str, name_or_empty("job.priorityClassName", "PriorityClass")] = ""
    """The pods' PriorityClass."""
