"""Whether a manifest is what Kubernetes' own schemas allow, strictly: unknown fields are refused.

The schemas are those of `kubernetes_validate`. It reads a megabyte of them anew for each object; they are kept here.
"""

from __future__ import annotations

from functools import cache

import kubernetes_validate.utils
from kubernetes_validate import validate

from trimtab.core.objects import Object

__all__ = ["validate_strictly"]
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)


def validate_strictly(manifest: Object, version: str = "1.34") -> None:
    """Raise ValidationError for what that version of Kubernetes does not know or take."""
    validate(manifest, version, strict=True)
