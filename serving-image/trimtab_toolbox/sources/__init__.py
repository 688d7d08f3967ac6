"""Where models come from: one module per kind of address, all with the same `fetch`.

A new kind of address is a module with `fetch(request, into)` and a line in SOURCES.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.request import Request
from trimtab_toolbox.sources import bucket, http, hub, models, registry, volume
from trimtab_toolbox.sources.archive import unpack_if_archive

SOURCES: dict[str, Callable[[Request, Path], Path]] = {
    "models": models.fetch,
    "runs": models.fetch,
    "s3": bucket.fetch,
    "gs": bucket.fetch,
    "az": bucket.fetch,
    "hf": hub.fetch,
    "oci": registry.fetch,
    "pvc": volume.fetch,
    "https": http.fetch,
    "http": http.fetch,
}
SUPPORTED = (
    "models:/NAME/VERSION and runs:/RUN/PATH (MLflow), s3://, gs:// and az://BUCKET/PATH, https://HOST/FILE, "
    "hf://OWNER/REPOSITORY/FILE, oci://REGISTRY/REPOSITORY:TAG and pvc://CLAIM/PATH"
)


def fetch(request: Request, into: Path) -> Path:
    """Bring the source into the empty directory `into` and return the file, or the folder of an MLflow model.

    Raises SourceNotFound, SourceUnreachable, DigestMismatch, TooLarge, UnsafeArchive, UnsupportedFormat or
    SettingsInvalid.
    """
    scheme = urlsplit(request.uri).scheme
    source = SOURCES.get(scheme)
    if source is None:
        message = f"the source {request.uri!r} is of a kind that cannot be imported; supported are {SUPPORTED}"
        raise Failure(Reason.UNSUPPORTED_FORMAT, message)
    return unpack_if_archive(source(request, into / "fetched"), into / "unpacked", request.max_bytes)
