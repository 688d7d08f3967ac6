"""The parts of a pod that a kind lets its users set, each as strict as the pod's own would be.

What the API server would refuse in the child is refused in the parent, where the user sees it: a
child that cannot be applied is only the second best place to say so.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trimtab.core.api import ApiModel, matching, rule, rules

QUANTITY = r"^([0-9]+([.][0-9]*)?|[.][0-9]+)([numkMGTPE]|[KMGTPE]i)?$"
Quantity = Annotated[
    str | int,
    Field(
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            "maxLength": 32,
            **rules(
                rule(
                    f"type(self) == string ? self.matches(r'{QUANTITY}') : int(self) >= 0",
                    "a quantity is a number with or without a unit, as in 500m, 2, 256Mi or 1Gi",
                )
            ),
        }
    ),
]
ResourceList = Annotated[
    dict[str, Quantity],
    Field(
        max_length=16,
        json_schema_extra=rules(
            rule(
                "self.all(k, k in ['cpu', 'memory', 'ephemeral-storage'] || "
                "k.startsWith('hugepages-') || k.contains('/'))",
                "the resources of a container are cpu, memory, ephemeral-storage, hugepages-SIZE, and extended ones "
                "such as nvidia.com/gpu",
            )
        ),
    ),
]


class Resources(ApiModel):
    """What a pod may use."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": rules(
            rule(
                "self.requests.all(k, !(k in self.limits) || "
                "!isQuantity(string(self.requests[k])) || !isQuantity(string(self.limits[k])) || "
                "quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)",
                "resources.requests must not exceed resources.limits; left out, requests are 100m of cpu and 256Mi of "
                "memory, and limits 1Gi of memory",
            ),
        ),
    }

    requests: ResourceList = {"cpu": "100m", "memory": "256Mi"}
    """What the scheduler sets aside."""
    limits: ResourceList = {"memory": "1Gi"}
    """What the pod may not exceed."""


class Toleration(ApiModel):
    """A taint the pods bear."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": rules(
            rule(
                "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
                "tolerations: operator Exists takes no value; leave value out, or use Equal",
            ),
            rule(
                "(has(self.key) && self.key != '') || (has(self.operator) && self.operator == 'Exists')",
                "tolerations: without a key, which bears every taint, operator must be Exists",
            ),
            rule(
                "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
                "tolerations: tolerationSeconds needs effect NoExecute",
            ),
        ),
    }

    key: Annotated[str, Field(max_length=317)] | None = None
    """The taint's key."""
    operator: Literal["Exists", "Equal"] | None = None
    """How value is compared."""
    value: Annotated[str, Field(max_length=63)] | None = None
    """The taint's value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect."""
    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """How long to bear NoExecute."""


class EnvVar(ApiModel):
    """An environment variable of the model server."""

    name: Annotated[
        str,
        matching(
            r"^[-._a-zA-Z][-._a-zA-Z0-9]*$",
            "a variable's name consists of letters, digits, '_', '-' and '.', and starts with no digit",
            max_length=253,
        ),
    ]
    """Its name. Names that start with TRIMTAB_ are the operator's."""
    value: Annotated[str, Field(max_length=4096)] = ""
    """Its value. Secrets do not belong here."""


Environment = Annotated[
    list[EnvVar],
    Field(
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    ),
]
