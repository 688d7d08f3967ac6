"""The one child of an MLModel: the Job that imports a version. Pure builders."""

from __future__ import annotations

from trimtab.core import metadata
from trimtab.core.jobs import Task, toolbox_job
from trimtab.core.objects import GROUP, JOB, Object
from trimtab.core.platform import Platform
from trimtab.kinds.mlmodel.api import MLModel

IMPORT_KEY = f"{GROUP}/import-key"
CONTAINER = "import"
TIMEOUT_SECONDS = 900


def import_key(model: MLModel, uri: str) -> str:
    """What names an import: the immutable reference and everything that shapes its bundle.

    The toolbox image is left out on purpose: an upgrade of the operator must not change what is served.
    """
    spec = model.spec
    retry = model.metadata.get("annotations", {}).get(metadata.RETRY, "")
    return metadata.fingerprint([uri, spec.source.digest, spec.format, spec.optimize, spec.allow_pickle, retry])


def import_job(model: MLModel, uri: str, platform: Platform) -> Object:
    """The Job that turns `uri` into a bundle in the store. Its name makes it run once, whatever restarts."""
    key = import_key(model, uri)
    name = model.metadata["name"]
    labels = metadata.labels("import", name, **{metadata.MODEL: name, IMPORT_KEY: key})
    owner = {"kind": model.kind, "metadata": model.metadata}
    spec = toolbox_job(_import(model, uri, platform), labels, platform)
    return metadata.owned(JOB.api_version, JOB.kind, f"{name}-{key}", owner, labels, spec=spec)


def _import(model: MLModel, uri: str, platform: Platform) -> Task:
    spec = model.spec
    return Task(
        container=CONTAINER,
        module="trimtab_toolbox",
        uri=uri,
        volume="source",
        seconds=TIMEOUT_SECONDS,
        environment={
            "TRIMTAB_SOURCE_URI": uri,
            "TRIMTAB_SOURCE_DIGEST": spec.source.digest,
            "TRIMTAB_FORMAT": spec.format,
            "TRIMTAB_OPTIMIZE": spec.optimize,
            "TRIMTAB_ALLOW_PICKLE": str(spec.allow_pickle).lower(),
            "TRIMTAB_STORE": platform.store_uri,
        },
        credentials_secret_name=spec.source.credentials_secret_name,
    )
