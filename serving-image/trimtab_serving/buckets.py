"""Buckets of S3, Google Cloud Storage and Azure, opened with what the variables of their own tools say.

`obstore` reads most of these variables itself. Added here is what it does not do: an Azure connection string and the
names of Azure's command line, plain HTTP where an endpoint says `http://`, and words for errors that name what to
change and never a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import from_url

from trimtab_serving.outcome import Failure, Reason

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

VARIABLES = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, for other servers, AWS_ENDPOINT_URL",
    "gs": "GOOGLE_SERVICE_ACCOUNT_KEY (the JSON of a key) and, for other servers, GOOGLE_BASE_URL",
    "az": "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or "
    "AZURE_STORAGE_SAS_TOKEN and, for other servers, AZURE_STORAGE_ENDPOINT",
}
"""What a bucket is opened with, by scheme, for messages."""

_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"
_COMMAND_LINE = {"AZURE_STORAGE_ACCOUNT": "account_name", "AZURE_STORAGE_KEY": "account_key"}
_MAX_WORDS = 300


def open_bucket(
    uri: str, client: ClientConfig, retry: RetryConfig, environ: Mapping[str, str] = os.environ
) -> Any:  # one of obstore's stores
    """The bucket of `uri` (`s3://`, `gs://` or `az://BUCKET[/PREFIX]`); nothing is contacted yet.

    Raises SettingsInvalid for variables that cannot be used.
    """
    scheme = urlsplit(uri).scheme
    config: Any = _azure(environ) if scheme == "az" else {}
    named = (environ.get(name) for name in _ENDPOINTS[scheme])
    endpoint = config.get("endpoint") or next(filter(None, named), "")
    if endpoint.startswith("http://"):
        client = {**client, "allow_http": True}
    try:
        return from_url(uri, config=config or None, client_options=client, retry_config=retry)
    except (BaseError, OSError, ValueError) as error:
        message = f"{uri} cannot be opened with the variables given: {in_words(error)}; set {VARIABLES[scheme]}"
        raise Failure(Reason.SETTINGS_INVALID, message) from error


def is_refusal(error: BaseException) -> bool:
    """Whether credentials are missing, wrong, or not enough. Listings say so in their text alone."""
    kinds = (PermissionError, PermissionDeniedError, UnauthenticatedError)
    return isinstance(error, kinds) or re.search(r"\b(401 Unauthorized|403 Forbidden)\b", str(error)) is not None


def is_unsigned(error: BaseException) -> bool:
    """Whether no credentials were given, and the machine's own identity was asked for some in vain."""
    return any(mark in str(error) for mark in ("token request", "/latest/api/token", "/latest/meta-data/"))


def is_absent(error: BaseException) -> bool:
    """Whether there is no such object, or no such bucket, which listings say in their text alone."""
    if isinstance(error, (FileNotFoundError, NotFoundError)):
        return True
    return "list request" in str(error) and "404 Not Found" in str(error)


def in_words(error: BaseException) -> str:
    """One line of an error: no queries or passwords of addresses, and of a server's XML its code and message."""
    text = str(error).partition("\n\nDebug source")[0]
    head, mark, body = text.partition(": <")
    code = re.search(r"<Code>([^<]*)</Code>\s*(?:<Message>([^<\n]*))?", body)
    told = f" ({': '.join(filter(None, code.groups()))})" if code else ""
    clean = re.sub(r"//[^/@\s]*@", "//", re.sub(r"\?\S*", "", head if mark else text))
    return (" ".join(clean.split())[:_MAX_WORDS] + told[:_MAX_WORDS]) or type(error).__name__


def _azure(environ: Mapping[str, str]) -> dict[str, str]:
    """What `obstore` does not know of Azure's variables, as its settings."""
    if not environ.get(_CONNECTION):
        return {key: environ[name] for name, key in _COMMAND_LINE.items() if environ.get(name)}
    pairs = (part.partition("=") for part in environ[_CONNECTION].strip().split(";") if part)
    parts = {name.strip(): value.strip() for name, _, value in pairs}
    account, endpoint = parts.get("AccountName", ""), parts.get("BlobEndpoint", "").rstrip("/")
    suffix, protocol = parts.get("EndpointSuffix", "core.windows.net"), parts.get("DefaultEndpointsProtocol", "https")
    # A string with a shared access signature may name the account in its endpoint alone.
    account = account or (urlsplit(endpoint).hostname or "").partition(".")[0]
    keys = {"account_key": parts.get("AccountKey"), "sas_key": parts.get("SharedAccessSignature")}
    if not account or not any(keys.values()):
        message = (
            f"{_CONNECTION} has no AccountName, or neither AccountKey nor SharedAccessSignature; "
            "copy the whole string from the storage account's access keys"
        )
        raise Failure(Reason.SETTINGS_INVALID, message)
    found = {"account_name": account, "endpoint": endpoint or f"{protocol}://{account}.blob.{suffix}"}
    return found | {key: value.removeprefix("?") for key, value in keys.items() if value}
