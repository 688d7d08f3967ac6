"""Where pods may run: affinity and spreading, field by field as a pod has them.

Spelt out, and not passed on as they are: a misspelt field in an open object would be taken here and refused only
in the child, and a constraint without a selector would be taken everywhere and do nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trimtab.core.api import ApiModel, matching, rule, rules

LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
LabelValue = Annotated[
    str,
    matching(
        LABEL_VALUE,
        "a label's value has at most 63 letters, digits, '-', '_' and '.', and starts and ends with a letter or digit",
        max_length=63,
    ),
]
Labels = Annotated[dict[str, LabelValue], Field(max_length=32)]
LabelValues = Annotated[list[LabelValue], Field(max_length=32)]
NamespaceName = Annotated[str, Field(min_length=1, max_length=63)]
VALUES = rules(
    rule(
        "self.operator in ['Exists', 'DoesNotExist'] ? !has(self.values) || size(self.values) == 0 : "
        "has(self.values) && size(self.values) > 0",
        "operators Exists and DoesNotExist take no values, all others need some",
    )
)


class LabelRequirement(ApiModel):
    """A condition on one label."""

    model_config = {**ApiModel.model_config, "json_schema_extra": VALUES}

    key: LabelKey
    """The label's key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How values are compared."""
    values: LabelValues | None = None
    """What the label's value is compared with."""


class LabelSelector(ApiModel):
    """Which pods or namespaces, by their labels; an empty one means all."""

    match_labels: Labels | None = None
    """Labels they have."""
    match_expressions: Annotated[list[LabelRequirement], Field(max_length=8)] | None = None
    """Conditions that all hold."""


class NodeRequirement(ApiModel):
    """A condition on one label or field of a node."""

    model_config = {**ApiModel.model_config, "json_schema_extra": VALUES}

    key: LabelKey
    """The key of the label, or the path of the field."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How values are compared; Gt and Lt as whole numbers."""
    values: LabelValues | None = None
    """What it is compared with."""


class NodeTerm(ApiModel):
    """Conditions on a node that hold together."""

    match_expressions: Annotated[list[NodeRequirement], Field(max_length=8)] | None = None
    """Conditions on labels."""
    match_fields: Annotated[list[NodeRequirement], Field(max_length=4)] | None = None
    """Conditions on fields, of which metadata.name is the only one."""


class PreferredNode(ApiModel):
    """A wish for a kind of node."""

    weight: Annotated[int, Field(ge=1, le=100)]
    """How much it counts."""
    preference: NodeTerm
    """The nodes."""


class RequiredNodes(ApiModel):
    """The nodes a pod must have."""

    node_selector_terms: Annotated[list[NodeTerm], Field(min_length=1, max_length=8)]
    """Terms of which one must hold."""


class NodeAffinity(ApiModel):
    """Which nodes."""

    required_during_scheduling_ignored_during_execution: RequiredNodes | None = None
    """The nodes pods must have."""
    preferred_during_scheduling_ignored_during_execution: Annotated[list[PreferredNode], Field(max_length=8)] | None = (
        None
    )
    """The nodes pods had better have."""


class PodTerm(ApiModel):
    """Some pods, and the part of the cluster around each."""

    topology_key: LabelKey
    """The label of nodes that names the part, such as kubernetes.io/hostname."""
    label_selector: LabelSelector
    """The pods; the label trimtab.dev/deployment has the ModelDeployment's name."""
    match_label_keys: Annotated[list[LabelKey], Field(max_length=8)] | None = None
    """Labels whose value must also be that of the new pod."""
    mismatch_label_keys: Annotated[list[LabelKey], Field(max_length=8)] | None = None
    """Labels whose value must not be that of the new pod."""
    namespaces: Annotated[list[NamespaceName], Field(max_length=8)] | None = None
    """The namespaces to look in; this one when neither they nor a selector are given."""
    namespace_selector: LabelSelector | None = None
    """Namespaces to look in, by their labels."""


class PreferredPods(ApiModel):
    """A wish for other pods nearby, or far away."""

    weight: Annotated[int, Field(ge=1, le=100)]
    """How much it counts."""
    pod_affinity_term: PodTerm
    """The pods."""


class PodAffinity(ApiModel):
    """Which other pods."""

    required_during_scheduling_ignored_during_execution: Annotated[list[PodTerm], Field(max_length=8)] | None = None
    """What must hold."""
    preferred_during_scheduling_ignored_during_execution: Annotated[list[PreferredPods], Field(max_length=8)] | None = (
        None
    )
    """What had better hold."""


class Affinity(ApiModel):
    """Which nodes the pods prefer or need, and next to which other pods."""

    node_affinity: NodeAffinity | None = None
    """The nodes the pods run on."""
    pod_affinity: PodAffinity | None = None
    """The pods they run next to."""
    pod_anti_affinity: PodAffinity | None = None
    """The pods they keep away from."""


class TopologySpread(ApiModel):
    """A constraint on how pods spread over parts of the cluster, as in a pod's topologySpreadConstraints."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": rules(
            rule(
                "!has(self.minDomains) || self.whenUnsatisfiable == 'DoNotSchedule'",
                "topologySpreadConstraints: minDomains needs whenUnsatisfiable DoNotSchedule",
            ),
        ),
    }

    max_skew: Annotated[int, Field(ge=1, le=1_000)]
    """How much the number of pods may differ between two parts."""
    topology_key: LabelKey
    """The label of nodes whose values name the parts, such as topology.kubernetes.io/zone."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    """Whether a pod that would break the constraint waits or runs all the same."""
    label_selector: LabelSelector
    """The pods that are counted; the label trimtab.dev/deployment has the ModelDeployment's name."""
    match_label_keys: Annotated[list[LabelKey], Field(max_length=8)] | None = None
    """Labels whose value must also be that of the new pod; trimtab.dev/revision counts each revision by itself."""
    min_domains: Annotated[int, Field(ge=1, le=1_000)] | None = None
    """The least number of parts to spread over; needs DoNotSchedule."""
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    """Whether nodes that nodeSelector and affinity exclude count."""
    node_taints_policy: Literal["Honor", "Ignore"] | None = None
    """Whether nodes with taints that the pods do not bear count."""
