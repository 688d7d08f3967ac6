"""What a bucket is opened with, and what errors say of it: never a secret, always what to change."""

from pathlib import Path

import pytest

from trimtab_serving.buckets import in_words, is_absent, is_refusal, is_unsigned, open_bucket
from trimtab_serving.outcome import Failure, Reason

CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"
FULL = "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=c2VjcmV0LWtleQ==;EndpointSuffix=core.example.org"
SHARED = "BlobEndpoint=https://acme.blob.example.org/;SharedAccessSignature=?sv=2023-01-03&sig=c2VjcmV0%3D"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without an account of its own."""
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "GOOGLE_SERVICE_ACCOUNT_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environ", "config"),
    [
        (
            {CONNECTION: FULL},
            {
                "account_name": "acme",
                "account_key": "c2VjcmV0LWtleQ==",
                "endpoint": "https://acme.blob.core.example.org",
            },
        ),
        (
            {CONNECTION: f" {SHARED} ", "AZURE_STORAGE_ACCOUNT": "another"},
            {"account_name": "acme", "endpoint": "https://acme.blob.example.org"},
        ),
        (
            {"AZURE_STORAGE_ACCOUNT": "acme", "AZURE_STORAGE_KEY": "c2VjcmV0LWtleQ=="},
            {"account_name": "acme", "account_key": "c2VjcmV0LWtleQ=="},
        ),
    ],
)
def test_azures_own_variables(environ: dict[str, str], config: dict[str, str]) -> None:
    found = open_bucket("az://models/store", {}, {}, environ).config
    assert {key: found.get(key) for key in config} == config


@pytest.mark.parametrize("string", ["AccountName=acme", "AccountKey=c2VjcmV0LWtleQ==", "c2VjcmV0LWtleQ=="])
def test_half_a_connection_string(string: str) -> None:
    with pytest.raises(Failure, match="AZURE_STORAGE_CONNECTION_STRING has no AccountName, or neither") as caught:
        open_bucket("az://models", {}, {}, {CONNECTION: string})
    assert caught.value.reason is Reason.SETTINGS_INVALID
    assert "c2VjcmV0" not in caught.value.message


@pytest.mark.parametrize(
    ("uri", "name", "value", "says"),
    [
        ("az://models", "AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0 !", "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_"),
        ("gs://models", "GOOGLE_SERVICE_ACCOUNT_KEY", "c2VjcmV0", "set GOOGLE_SERVICE_ACCOUNT_KEY (the JSON of a key)"),
        ("s3://models", "AWS_ACCESS_KEY_ID", "c2VjcmV0", "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_variables_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, uri: str, name: str, value: str, says: str
) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acme")
    monkeypatch.setenv(name, value)
    with pytest.raises(Failure) as caught:
        open_bucket(uri, {}, {})
    assert caught.value.reason is Reason.SETTINGS_INVALID
    assert caught.value.message.startswith(f"{uri} cannot be opened with the variables given: ")
    assert says in caught.value.message
    assert "c2VjcmV0" not in caught.value.message


@pytest.mark.parametrize(
    ("uri", "environ", "plain"),
    [
        ("s3://m", {"AWS_ENDPOINT_URL": "http://minio:9000"}, True),
        ("s3://m", {"AWS_ENDPOINT_URL": "https://minio:9000", "GOOGLE_BASE_URL": "http://other"}, False),
        ("gs://m", {"GOOGLE_BASE_URL": "http://gcs:4443"}, True),
        ("gs://m", {}, False),
        ("az://m", {"AZURE_STORAGE_ACCOUNT": "acme", "AZURE_STORAGE_ENDPOINT": "http://azurite:10000/acme"}, True),
        ("az://m", {CONNECTION: FULL.replace("https", "http")}, True),
        ("az://m", {CONNECTION: FULL}, False),
    ],
)
def test_plain_http_is_spoken_where_the_endpoint_says_so(uri: str, environ: dict[str, str], plain: bool) -> None:
    options = open_bucket(uri, {"user_agent": "trimtab"}, {}, environ).client_options
    assert str(options.get("allow_http", False)).lower() == str(plain).lower()


LISTED = (
    "Generic X error: Error performing list request: Error performing GET http://u:pw@host/models?prefix=one&sig=s3cret"
    " in 3ms - Server returned non-2xx status code: {status}: <?xml version='1.0'?>\n<Error>\n  <Code>{code}</Code>\n"
    "  <Message>What is wrong.\nRequestId:1</Message></Error>\n\nDebug source:\nGeneric {{ uri: ?sig=s3cret }}"
)


def test_an_error_in_a_line_without_secrets() -> None:
    words = in_words(OSError(LISTED.format(status="403 Forbidden", code="AuthenticationFailed")))
    assert words == (
        "Generic X error: Error performing list request: Error performing GET http://host/models in 3ms - Server "
        "returned non-2xx status code: 403 Forbidden (AuthenticationFailed: What is wrong.)"
    )
    assert in_words(OSError()) == "OSError"


@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        (OSError(LISTED.format(status="403 Forbidden", code="X")), (True, False, False)),
        (OSError(LISTED.format(status="404 Not Found", code="NoSuchBucket")), (False, True, False)),
        (OSError(LISTED.format(status="500 Internal Server Error", code="X")), (False, False, False)),
        (OSError("Error performing token request: … 403 Forbidden"), (True, False, True)),
        (OSError("Error performing token request: … 404 Not Found"), (False, False, True)),
        (OSError("Error performing PUT http://169.254.169.254/latest/api/token in 1s"), (False, False, True)),
        (FileNotFoundError("Object at location x not found"), (False, True, False)),
    ],
)
def test_what_an_error_means(error: OSError, kinds: tuple[bool, bool, bool]) -> None:
    assert (is_refusal(error), is_absent(error), is_unsigned(error)) == kinds


def test_a_file_of_a_key_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "key.json"))
    with pytest.raises(Failure, match=r"Unable to open service account file from .*key\.json"):
        open_bucket("gs://models", {}, {})
