"""What MLflow keeps, `models:/NAME/VERSION` and `runs:/RUN/PATH`, through MLflow's own client.

The client knows every place MLflow may have put the files (its artifact proxy, buckets, a DBFS), so we leave the
download to it and add what it lacks: the size is known before a byte is fetched, and its many exceptions
become one of three reasons.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.request import Request
from trimtab_toolbox.sources.limits import check_pin, refuse_pin

CLIENT_DEFAULTS = {
    # MLflow's own defaults wait 120 s for an answer and try 8 times: longer than a Job should be silent.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "60",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE", "BAD_REQUEST")
_FORBIDDEN = ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")


def fetch(request: Request, into: Path) -> Path:
    """Download the folder of a registry version (or alias), or a run's artifact, folder or file, and return it."""
    if request.digest and not request.uri.startswith("runs:"):
        message = (
            "a digest pins one downloaded file, and MLflow's models are folders of files: "
            f"remove the digest of {request.uri}, what it names cannot change"
        )
        raise Failure(Reason.UNSUPPORTED_FORMAT, message)
    server = _server()
    for name, value in CLIENT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    # Only now: MLflow reads some of these variables when it is imported, and that takes a second.
    import mlflow.artifacts  # noqa: F401

    try:
        return _download(request, into)
    except Failure:
        raise
    except Exception as error:
        # MLflow's own exceptions, those of requests, and whatever a parser says to an answer that is none.
        raise _failure(request.uri, server, error) from error


def _download(request: Request, into: Path) -> Path:
    import mlflow.artifacts

    sizes = list(_sizes(request.uri))
    if not sizes:
        message = f"{request.uri} has no files; name a logged model"
        raise Failure(Reason.SOURCE_NOT_FOUND, message)
    if sum(sizes) > request.max_bytes:
        message = (
            f"{request.uri} has {sum(sizes)} bytes in {len(sizes)} files, and {request.max_bytes} are allowed; "
            "log a smaller model or raise the limit (TRIMTAB_MAX_BYTES)"
        )
        raise Failure(Reason.TOO_LARGE, message)
    into.mkdir(parents=True, exist_ok=True)
    fetched = Path(mlflow.artifacts.download_artifacts(artifact_uri=request.uri, dst_path=str(into)))
    received = sum(path.stat().st_size for path in (fetched, *fetched.rglob("*")) if path.is_file())
    if received < sum(sizes):
        raise OSError(f"only {received} of {sum(sizes)} bytes arrived")
    if fetched.is_dir():
        refuse_pin(request)
    else:
        with fetched.open("rb") as file:
            check_pin(request, request.uri, hashlib.file_digest(file, "sha256").hexdigest(), received)
    return fetched


def _sizes(uri: str) -> Iterator[int]:
    """The sizes of all files below `uri`, or of the one file that it is."""
    found = _listed(uri)
    if not found and uri.startswith("runs:"):
        # A file has nothing below it; the folder that it is in knows its size.
        folder, _, name = uri.rpartition("/")
        found = [entry for entry in _listed(folder) if entry.path.rpartition("/")[2] == name and not entry.is_dir]
    for entry in found:
        yield from (_below(uri, entry.path) if entry.is_dir else [entry.file_size or 0])


def _below(uri: str, path: str) -> Iterator[int]:
    for entry in _listed(f"{uri}/{path}"):
        yield from (_below(uri, entry.path) if entry.is_dir else [entry.file_size or 0])


def _listed(uri: str) -> list[Any]:
    import mlflow.artifacts

    return list(mlflow.artifacts.list_artifacts(artifact_uri=uri))


def _server() -> str:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        message = "MLFLOW_TRACKING_URI is not set; models:/ and runs:/ sources need the address of an MLflow server"
        raise Failure(Reason.SETTINGS_INVALID, message)
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _failure(uri: str, server: str, error: Exception) -> Failure:
    code = str(getattr(error, "error_code", ""))
    text = _short(error)
    if code in _ABSENT:
        where, form = "in the registry of", "models:/NAME/VERSION with a version that exists"
        if uri.startswith("runs:"):
            where, form = "among the runs of", "runs:/RUN/PATH with the run's id and the model's name in it"
        return Failure(Reason.SOURCE_NOT_FOUND, f"{uri} is not {where} {server}: {text}; write {form}")
    if code in _FORBIDDEN:
        return Failure(
            Reason.SOURCE_NOT_FOUND,
            f"{server} does not let the import read {uri}: {text}; check spec.source.credentialsSecretName "
            "and the hosts that the server allows",
        )
    return Failure(
        Reason.SOURCE_UNREACHABLE,
        f"{uri} could not be fetched from MLflow at {server}: {text}; it will be tried again",
    )


def _short(error: BaseException) -> str:
    text = re.sub(r"//[^/@\s]*@", "//", " ".join(str(error).split()))  # MLflow repeats addresses with their passwords
    return text[:500].rstrip(".") or type(error).__name__
