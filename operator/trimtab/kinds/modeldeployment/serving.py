"""The part of a ModelDeployment's shape that the model server honours: tokens, batches, outcomes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trimtab.core.api import ApiModel, matching, name_or_empty

HEADER_OR_EMPTY = "^([A-Za-z0-9-]+)?$"


class Auth(ApiModel):
    """Bearer tokens on every prediction path; health and metrics stay open."""

    token_secret_name: Annotated[str, name_or_empty("auth.tokenSecretName", "Secret")] = ""
    """A Secret in this namespace; each of its values is a token that is let in. Several may be valid at once, and a
    change is picked up without a restart. Empty lets everybody in."""


class Batching(ApiModel):
    """Adaptive batching: requests that wait anyway are answered in one run of the model."""

    max_size: Annotated[int, Field(ge=1, le=4_096)] = 32
    """The most rows in one run."""
    max_wait_microseconds: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """How long a run may wait for more requests; 0 takes only what is already there, which costs nothing."""


class Feedback(ApiModel):
    """Outcomes by prediction token: POST /trimtab/v1/feedback {token, outcome}."""

    key_secret_name: Annotated[str, name_or_empty("feedback.keySecretName", "Secret")] = ""
    """A Secret in this namespace whose entry `key` (at least 32 random bytes) signs the tokens, so that any pod can
    count an outcome. Empty: each pod has a key of its own, and only it can."""
    user_header: Annotated[
        str,
        matching(
            HEADER_OR_EMPTY,
            "feedback.userHeader must be the name of a request header, such as x-user-id",
            max_length=64,
        ),
    ] = ""
    """The request header that identifies a user; outcomes are counted by bucket of users, never by user."""


class Grpc(ApiModel):
    """The Open Inference Protocol over gRPC, beside HTTP."""

    enabled: bool = False
    """Whether to listen for gRPC on port 8081. The pods then run the toolbox image, which is larger: for small tensors
    HTTP is the faster of the two, and the slim image does not carry gRPC."""
