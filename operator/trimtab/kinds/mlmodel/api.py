"""The shape of an MLModel. These models are its CRD and its `kubectl explain`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from trimtab.core.api import (
    DIGEST_OR_EMPTY,
    ApiModel,
    Conditions,
    Digest,
    Parity,
    Short,
    TensorStatus,
    Text,
    digest_or_empty,
    matching,
    name_or_empty,
    own_name,
    rule,
    rules,
)
from trimtab.core.objects import Object
from trimtab.core.schema import AGE, READY, Column, Definition, Names

SOURCES = (
    r"^models:/[^/@?#]+(@[^/@?#]+|/[0-9]+|/latest)$",
    r"^runs:/[0-9A-Za-z_-]+/[^\s?#]+$",
    r"^https?://[^\s/?#@]+/[^\s?#]+([?]\S*)?$",
    r"^(s3|gs|az)://[^\s/?#@]+/[^\s?#]+$",
    r"^hf://[^\s/@?#]+/[^\s/@?#]+(@[^\s/?#]+)?(/[^\s?#]*)?$",
    r"^oci://[^\s/?#@]+/[^\s?#@:]+(:[^\s/?#@]+|@sha256:[0-9a-f]{64})$",
    r"^pvc://[a-z0-9][a-z0-9.-]*/[^\s?#]+$",
)


class Source(ApiModel):
    """Where the model comes from."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": rules(
            rule(
                "!has(self.digest) || self.digest == '' || !self.uri.startsWith('models:/')",
                "source.digest pins the bytes of an https:// file; pin a registry model by its version instead, "
                "as in models:/NAME/3",
            ),
        ),
    }

    uri: Annotated[
        str,
        matching(
            "|".join(SOURCES),
            "must be models:/NAME@ALIAS, models:/NAME/VERSION, runs:/RUN/PATH, https://HOST/PATH, "
            "s3|gs|az://BUCKET/PATH, hf://OWNER/REPO, oci://HOST/REPO:TAG, pvc://CLAIM/PATH, "
            "without user, password or fragment",
            max_length=1024,
        ),
    ]
    """models:/NAME@ALIAS, models:/NAME/VERSION or models:/NAME/latest in MLflow's registry, runs:/RUN/PATH in its runs,
    https://HOST/PATH to one file, a file or folder in a bucket (s3, gs, az), on the Hugging Face hub (hf), in an OCI
    registry (oci) or in a PersistentVolumeClaim of this namespace (pvc). An alias and `latest` are looked at every
    `pollSeconds`; all other references count as immutable."""
    digest: Annotated[str, digest_or_empty("source.digest")] = ""
    """sha256:… that the file behind an https:// address must have."""
    credentials_secret_name: Annotated[str, name_or_empty("source.credentialsSecretName", "Secret")] = ""
    """A Secret in this namespace whose keys become environment variables of the import Job, and of nothing else."""
    poll_seconds: Annotated[int, Field(ge=5, le=86_400)] = 30
    """How often an alias or `latest` is looked at."""


class Spec(ApiModel):
    """What to import, and under which conditions it may be served."""

    source: Source
    format: Literal["Auto", "MLflow", "Sklearn", "XGBoost", "LightGBM", "ONNX"] = "Auto"
    """What lies at the source; Auto looks."""
    optimize: Literal["Auto", "Off"] = "Auto"
    """Auto converts to ONNX and keeps the result only if it was seen to agree with the original; Off serves the
    original with the Python runtime."""
    allow_pickle: bool = False
    """Whether pickle, joblib and cloudpickle files may be loaded. Loading one runs the code inside it."""
    approval: Literal["Auto", "Required"] = "Auto"
    """Required makes a new revision wait for the annotation trimtab.dev/approve=<digest>."""
    revision_history_limit: Annotated[int, Field(ge=1, le=50)] = 10
    """How many revisions the status remembers; older bundles can no longer be pinned."""


class Revision(ApiModel):
    """One imported version of the model."""

    import_key: Annotated[str, Field(max_length=16)]
    """What was imported, and with which options, as a short hash."""
    digest: Digest
    """The bundle's sha256; what pods verify before they serve."""
    uri: Annotated[str, Field(max_length=1024)]
    """The immutable reference the bundle was made from."""
    version: Short
    """The registry's version, or the digest's first digits."""
    format: Annotated[str, Field(max_length=32)]
    """What lay at the source."""
    flavor: Annotated[str, Field(max_length=64)] = ""
    """The library that made the model."""
    runtime: Literal["onnx", "python"]
    """What serves it."""
    fallback: Text | None = None
    """Why the model was not converted to ONNX, when that was asked for."""
    parity: Parity | None = None
    """How closely the converted model follows the original."""
    inputs: Annotated[list[TensorStatus], Field(max_length=64)] = []
    """The tensors a request must hold."""
    outputs: Annotated[list[TensorStatus], Field(max_length=64)] = []
    """The tensors a response holds."""
    size_bytes: Annotated[int, Field(ge=0)]
    """The size of the bundle."""
    imported_at: Annotated[str, Field(max_length=20, json_schema_extra={"format": "date-time"})]
    """When the import finished."""
    approved: bool
    """Whether it may be served."""


class Status(ApiModel):
    """What was found, imported and approved."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the spec this status was written for."""
    conditions: Conditions = []
    """Ready, Resolved; Reconciling and Stalled while they hold."""
    current: Annotated[str, Field(max_length=71, pattern=DIGEST_OR_EMPTY)] = ""
    """The digest that ModelDeployments without a pin serve."""
    version: Short = ""
    """The version of the current revision."""
    runtime: Annotated[str, Field(max_length=16)] = ""
    """The runtime of the current revision."""
    resolved_uri: Annotated[str, Field(max_length=1024)] = ""
    """The immutable reference that the source last stood for."""
    revisions: Annotated[list[Revision], Field(max_length=100)] = []
    """What was imported, newest first."""


class MLModel(ApiModel):
    """One MLModel, as read from the API server."""

    kind: Literal["MLModel"] = "MLModel"
    metadata: dict[str, Any]
    spec: Spec
    status: Status = Status()

    @classmethod
    def parse(cls, obj: Object) -> MLModel:
        """Read a raw object; pydantic's ValidationError where it does not have this shape."""
        return cls.model_validate(obj)


DEFINITION = Definition(
    names=Names("MLModel", "mlmodels", "mlm"),
    description="A line of revisions of one model: where it comes from, and what was imported.",
    spec=Spec,
    status=Status,
    columns=(
        Column("Version", ".status.version"),
        Column("Runtime", ".status.runtime"),
        *READY,
        Column("Source", ".spec.source.uri", priority=1),
        Column("Digest", ".status.current", priority=1),
        AGE,
    ),
    rules=(own_name("it becomes part of the names of Jobs"),),
)
