"""The shape of a ModelDeployment. These models are its CRD and its `kubectl explain`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from trimtab.core.affinity import Affinity, Labels, TopologySpread
from trimtab.core.api import (
    DNS_LABEL,
    NAME_LIMIT,
    ApiModel,
    Conditions,
    Digest,
    Short,
    digest_or_empty,
    matching,
    name_or_empty,
    own_name,
    rule,
    rules,
)
from trimtab.core.objects import Object
from trimtab.core.podspec import Environment, Resources, Toleration
from trimtab.core.schema import AGE, READY, Column, Definition, Names
from trimtab.kinds.modeldeployment.container import Container
from trimtab.kinds.modeldeployment.monitoring import Monitoring
from trimtab.kinds.modeldeployment.progress import HISTORY_ROWS, Count, HistoryEntry, RolloutStatus
from trimtab.kinds.modeldeployment.scaling import Autoscaling
from trimtab.kinds.modeldeployment.serving import Auth, Batching, Feedback, Grpc
from trimtab.kinds.modeldeployment.strategy import RolloutSpec
from trimtab.kinds.modeldeployment.vitals import DriftStatus, QualityStatus
from trimtab.traffic.state import RouterStatus

REVISION_ROWS = 4


class ModelReference(ApiModel):
    """Which model, and whether to follow it."""

    name: Annotated[
        str,
        matching(
            DNS_LABEL,
            "model.name must be the name of an MLModel: a-z, 0-9 and '-', and a letter first",
            max_length=NAME_LIMIT,
        ),
    ]
    """An MLModel in this namespace."""
    revision: Annotated[str, digest_or_empty("model.revision")] = ""
    """A digest from the MLModel's status.revisions to stay at; empty follows its status.current. Pinning an older
    revision is how one rolls back."""


class Spec(ApiModel):
    """What to run."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": rules(
            rule(
                "has(self.model) || has(self.container)",
                "say what to run: model.name for an MLModel, container.image for a container of your own, or both",
            ),
            rule(
                "!has(self.container) || (self.auth.tokenSecretName == '' && !self.grpc.enabled && "
                "self.batching.maxSize == 32 && self.batching.maxWaitMicroseconds == 0 && "
                "self.feedback.keySecretName == '' && self.feedback.userHeader == '')",
                "auth, batching, grpc and feedback are for Trimtab's own server; leave them out beside container",
            ),
            rule(
                "!has(self.container) || (!has(self.monitoring.quality) && self.monitoring.drift.warn == '0.2' && "
                "self.monitoring.drift.critical == '0.5' && self.monitoring.drift.falseAlarmsPerYear == 1 && "
                "self.monitoring.drift.periodSeconds == 300 && size(self.monitoring.drift.features) == 0)",
                "monitoring goes by the counts of Trimtab's own server; leave it out beside container",
            ),
            rule(
                "self.rollout.strategy != 'Canary' || !self.grpc.enabled",
                "rollout.strategy: the routers of a Canary speak HTTP only; choose BlueGreen, or set grpc.enabled to "
                "false",
            ),
            rule(
                "!has(self.container) || !has(self.rollout.gateway) && (self.rollout.strategy != 'BlueGreen' || "
                "!has(self.rollout.gates))",
                "rollout.gates: BlueGreen goes by the counts of Trimtab's own server, and so does gateway; set "
                "strategy to Canary, or leave gates and gateway out beside container",
            ),
            rule(
                "!has(self.env) || !self.env.exists(e, e.name.startsWith('TRIMTAB_'))",
                "env: names that start with TRIMTAB_ are set by the operator; choose another name",
            ),
            rule(
                "!has(self.autoscaling) || self.autoscaling.metrics.all(m, "
                "m.type.lowerAscii() in self.resources.requests || m.type.lowerAscii() in self.resources.limits)",
                "autoscaling measures use in percent of what pods request: set resources.requests for each resource "
                "that autoscaling.metrics names",
            ),
            rule(
                "!has(self.podAnnotations) || self.podAnnotations.all(k, !k.startsWith('trimtab.dev/'))",
                "podAnnotations: names that start with trimtab.dev/ are set by the operator; choose another name",
            ),
        ),
    }

    model: ModelReference | None = None
    """The model to serve; beside `container` its verified bundle is mounted there, at TRIMTAB_BUNDLE_DIR."""
    container: Container | None = None
    """A container of your own, in place of Trimtab's server."""
    replicas: Annotated[int, Field(ge=0, le=1_000)] = 1
    """How many pods; what `kubectl scale` sets. Not used while `autoscaling` is set."""
    autoscaling: Autoscaling | None = None
    """Let a HorizontalPodAutoscaler choose the number of pods."""
    rollout: RolloutSpec = RolloutSpec()
    """How traffic moves to a new revision."""
    resources: Resources = Resources()
    """What each pod requests and may use."""
    auth: Auth = Auth()
    """Who may ask for predictions."""
    batching: Batching = Batching()
    """How requests that arrive together are answered together."""
    grpc: Grpc = Grpc()
    """Whether gRPC is spoken, too."""
    feedback: Feedback = Feedback()
    """How outcomes that come later are counted for the predictions they belong to."""
    monitoring: Monitoring = Monitoring()
    """What is watched while it serves: drift of the traffic, and the quality of the answers."""
    node_selector: Labels | None = None
    """Labels a node must have."""
    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = None
    """Taints the pods bear."""
    affinity: Affinity | None = None
    """Which nodes the pods prefer or need, and next to which other pods."""
    topology_spread_constraints: Annotated[list[TopologySpread], Field(max_length=8)] | None = None
    """How the pods spread; over nodes, where possible, when nothing is given."""
    service_account_name: Annotated[str, name_or_empty("serviceAccountName", "ServiceAccount")] = ""
    """The pods' ServiceAccount. Its token is not mounted."""
    env: Environment = []
    """Further environment variables of the container that serves."""
    pod_annotations: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32)] = {}
    """Annotations of the pods."""


class RevisionStatus(ApiModel):
    """One set of pods: a model's bundle together with the pod template that runs it."""

    name: Annotated[str, Field(min_length=1, max_length=16)]
    """A hash of bundle and pod template; the suffix of the revision's children."""
    digest: Digest
    """The bundle its pods serve. Without a model the image's digest; of an image by tag the sha256 of the reference,
    which tells references apart but not what the tag stands for."""
    version: Short
    """The model's version; without a model the image's tag, or 12 digits of its digest."""
    runtime: Literal["onnx", "python", "container"]
    """What serves it."""
    weight: Annotated[int, Field(ge=0, le=100)]
    """The share of traffic it gets, in percent."""
    replicas: Annotated[int, Field(ge=0)] = 0
    """Pods that exist."""
    available: Annotated[int, Field(ge=0)] = 0
    """Pods that are ready for traffic."""
    requests: Count | None = None
    """Requests it has answered in the present or last rollout, as far as they were judged."""
    errors: Count | None = None
    """Of these, the ones that failed."""
    slow: Count | None = None
    """Of these, the ones slower than rollout.gates.maxLatencyMilliseconds."""


class Status(ApiModel):
    """What runs, and what gets traffic."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the spec this status was written for."""
    conditions: Conditions = []
    """Ready, ModelResolved, Available; Reconciling and Stalled while they hold; DriftDetected, DataQuality and
    QualityDegraded where they are watched."""
    url: Annotated[str, Field(max_length=512)] = ""
    """Where the model answers inside the cluster."""
    replicas: Annotated[int, Field(ge=0)] = 0
    """Pods of the revision that gets traffic."""
    available: Annotated[int, Field(ge=0)] = 0
    """Of these, the ones that are ready."""
    selector: Annotated[str, Field(max_length=256)] = ""
    """The pods that `replicas` counts, as a label selector."""
    serving: Annotated[str, Field(max_length=16)] = ""
    """The revision that gets traffic."""
    version: Short = ""
    """Its version."""
    switched_at: Annotated[str, Field(max_length=20, json_schema_extra={"format": "date-time"})] | None = None
    """When traffic last moved to another revision."""
    revisions: Annotated[
        list[RevisionStatus],
        Field(
            max_length=REVISION_ROWS,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    """The revisions that have pods, the one with traffic first."""
    rollout: RolloutStatus | None = None
    """The rollout that is under way, or the last one."""
    history: Annotated[list[HistoryEntry], Field(max_length=HISTORY_ROWS)] = []
    """Rollouts that ended, the last one first."""
    router: RouterStatus | None = None
    """What the routers of a Canary are told."""
    drift: DriftStatus | None = None
    """Whether the traffic is what the revision that serves was trained on."""
    quality: QualityStatus | None = None
    """How good its answers are."""


class ModelDeployment(ApiModel):
    """One ModelDeployment, as read from the API server."""

    kind: Literal["ModelDeployment"] = "ModelDeployment"
    metadata: dict[str, Any]
    spec: Spec
    status: Status = Status()

    @classmethod
    def parse(cls, obj: Object) -> ModelDeployment:
        """Read a raw object; pydantic's ValidationError where it does not have this shape."""
        return cls.model_validate(obj)


DEFINITION = Definition(
    names=Names("ModelDeployment", "modeldeployments", "mdep"),
    description="Where and how a model runs: pods per revision behind one Service, moved without losing a request.",
    spec=Spec,
    status=Status,
    columns=(
        Column("Model", ".spec.model.name"),
        Column("Version", ".status.version"),
        Column("Pods", ".status.replicas", "integer"),
        Column("Available", ".status.available", "integer"),
        *READY,
        Column("Rollout", ".status.rollout.verdict"),
        Column("Weight", ".status.rollout.weight", "integer", priority=1),
        Column("Drift", ".status.drift.level", priority=1),
        Column("URL", ".status.url", priority=1),
        AGE,
    ),
    rules=(own_name("it becomes the name of a Service"),),
    scale={
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    },
)
