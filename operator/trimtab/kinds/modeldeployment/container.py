"""A container of one's own in place of Trimtab's server: its shape, and what its image's name tells. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any

from pydantic import Field

from trimtab.core.api import ApiModel, matching, name_or_empty

IMAGE = (
    r"^[a-z0-9][a-z0-9._-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?@sha256:[0-9a-f]{64})$"
)
PATH = r"^/[A-Za-z0-9._~%/?=&-]*$"
Word = Annotated[str, Field(max_length=4096)]
Words = Annotated[list[Word], Field(max_length=64)]
PINNED = re.compile(r"@(sha256:[0-9a-f]{64})$")
TAG = re.compile(r":([A-Za-z0-9_][A-Za-z0-9._-]{0,127})$")


def _path(field: str) -> Any:
    return matching(PATH, f"container.{field} must be a path on the container's port, such as /healthz", max_length=256)


class Container(ApiModel):
    """A container that speaks the Open Inference Protocol."""

    image: Annotated[
        str,
        matching(
            IMAGE,
            "container.image needs a tag or, better, a digest: HOST/REPOSITORY:TAG or HOST/REPOSITORY@sha256:DIGEST",
            max_length=512,
        ),
    ]
    """The image, by digest or tag. What a tag stands for is decided by each node when it pulls; only a digest makes
    all pods run the same."""
    command: Words = []
    """In place of the image's entry point."""
    args: Words = []
    """In place of the image's arguments."""
    port: Annotated[int, Field(ge=1024, le=65_535)] = 8080
    """Where it listens for HTTP; told to it as TRIMTAB_PORT."""
    readiness_path: Annotated[str, _path("readinessPath")] = "/v2/health/ready"
    """Answers 2xx or 3xx once the model is loaded; until then no traffic arrives."""
    liveness_path: Annotated[str, _path("livenessPath")] = "/v2/health/live"
    """Answers 2xx or 3xx as long as the container is worth keeping; else it is restarted."""
    credentials_secret_name: Annotated[str, name_or_empty("container.credentialsSecretName", "Secret")] = ""
    """A Secret in this namespace; each entry becomes an environment variable."""


def version(image: str) -> str:
    """What to call an image: its tag, else the first 12 digits of its digest."""
    name = PINNED.sub("", image)
    tag = TAG.search(name)
    return tag[1] if tag else digest(image)[7:19]


def digest(image: str) -> str:
    """The digest an image is pinned to; of a tag the sha256 of the reference, which only tells references apart."""
    pinned = PINNED.search(image)
    return pinned[1] if pinned else f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def pinned(image: str) -> bool:
    """True when the reference stands for the same bytes for ever."""
    return PINNED.search(image) is not None
