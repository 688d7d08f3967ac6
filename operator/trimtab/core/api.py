"""What every API type shares: how pydantic models are read, bounded and written.

The models are the only source of the CRDs: the docstring under a field is its `kubectl explain`
text, its constraints are the schema, and `rules` become CEL, so what the API server refuses and
what this code understands cannot drift apart. Unknown fields are ignored on reading, because an
operator of yesterday may meet a schema of tomorrow.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

DNS_LABEL = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAME_OR_EMPTY = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$"
DIGEST = r"^sha256:[0-9a-f]{64}$"
DIGEST_OR_EMPTY = r"^(sha256:[0-9a-f]{64})?$"

# A child's name is the owner's plus "-" and 8 digits, and must fit the 63 of a Service and of a label.
NAME_LIMIT = 50

Text = Annotated[str, Field(max_length=2048)]
Short = Annotated[str, Field(max_length=253)]
Digest = Annotated[str, Field(pattern=DIGEST, max_length=71)]


def rule(expression: str, message: str) -> dict[str, str]:
    """One CEL rule; the message must say how to mend what it refuses."""
    return {"rule": expression, "message": message}


def rules(*items: dict[str, str]) -> dict[str, Any]:
    """CEL rules as pydantic's `json_schema_extra` takes them."""
    return {"x-kubernetes-validations": list(items)}


def matching(pattern: str, fix: str, **bounds: Any) -> Any:
    """A text field of a given form, refused with a sentence where a pattern alone would show a bare expression."""
    return Field(pattern=pattern, json_schema_extra=rules(rule(f"self.matches(r'{pattern}')", fix)), **bounds)


def digest_or_empty(field: str) -> Any:
    """A text field that holds a digest or nothing."""
    fix = f"{field} must be empty, or sha256: and 64 hexadecimal digits in lower case"
    return matching(DIGEST_OR_EMPTY, fix, max_length=128)


def name_or_empty(field: str, kind: str) -> Any:
    """A text field that names an object of another kind in the same namespace, or none."""
    fix = f"{field} must be the name of a {kind} in this namespace: a-z, 0-9, '-' and '.'"
    return matching(NAME_OR_EMPTY, fix, max_length=253)


def own_name(use: str) -> dict[str, str]:
    """The rule for the name of an object whose children are named after it; `use` says what comes of the name."""
    return rule(
        f"self.metadata.name.size() <= {NAME_LIMIT} && self.metadata.name.matches(r'{DNS_LABEL}')",
        f"metadata.name must be at most {NAME_LIMIT} characters of a-z, 0-9 and '-', and start with a letter: {use}",
    )


class ApiModel(BaseModel):
    """A part of the API: camelCase outside, snake_case inside, immutable once read."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        extra="ignore",
        frozen=True,
    )

    def dump(self) -> dict[str, Any]:
        """The JSON form, without what was left empty."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


class ConditionStatus(ApiModel):
    """One observation of the resource's state (metav1.Condition)."""

    type: Annotated[str, Field(max_length=64)]
    """The aspect that is judged."""
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$", max_length=7)]
    """Whether it holds."""
    reason: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=128)]
    """Why, in one CamelCase word."""
    message: Text
    """Why, and what to do, in a sentence."""
    observed_generation: Annotated[int, Field(ge=0)]
    """The generation of the spec this was judged by."""
    last_transition_time: Annotated[str, Field(max_length=20, json_schema_extra={"format": "date-time"})]
    """When the status last changed."""


Conditions = Annotated[
    list[ConditionStatus],
    Field(
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]


class TensorStatus(ApiModel):
    """An input or output of the model, as the Open Inference Protocol names it."""

    name: Short
    """The tensor's name in inference requests and responses."""
    datatype: Annotated[str, Field(max_length=8)]
    """BOOL, INT64, FP32, BYTES and so on."""
    shape: Annotated[list[int], Field(max_length=8)]
    """The size of each dimension; -1 for the number of rows."""
    columns: Annotated[list[Short], Field(max_length=512)] | None = None
    """The features, in order, when one tensor carries several."""
    columns_omitted: Annotated[int, Field(ge=0)] | None = None
    """How many further columns there are."""


class Parity(ApiModel):
    """How closely the converted model follows the original, on a sample run through both."""

    rows: Annotated[int, Field(ge=0)]
    """Rows compared."""
    max_abs_diff: Annotated[str, Field(max_length=32)]
    """The largest difference of any number, as a decimal string."""
    mismatch_percent: Annotated[str, Field(max_length=32)]
    """The share of rows whose label differs, as a decimal string."""
