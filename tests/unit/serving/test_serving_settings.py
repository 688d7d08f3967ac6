"""The contract's environment: complete, checked, and each fault named by its variable."""

from pathlib import Path

import pytest

from trimtab_serving.outcome import TERMINATION_LOG, Failure
from trimtab_serving.settings import Settings, from_environment

DIGEST = "sha256:" + "ab" * 32
LEAST = {"TRIMTAB_MODEL_NAME": "iris", "TRIMTAB_DIGEST": DIGEST, "TRIMTAB_BUNDLE_DIR": "/trimtab/bundle"}


def test_defaults() -> None:
    assert from_environment(LEAST) == Settings(
        model_name="iris",
        model_version="abababababab",
        digest=DIGEST,
        bundle_dir=Path("/trimtab/bundle"),
        port=8080,
        drain_seconds=0,
        max_request_bytes=33554432,
        access_log=False,
        result_path=TERMINATION_LOG,
    )


def test_everything_given() -> None:
    given = LEAST | {
        "TRIMTAB_MODEL_VERSION": "7",
        "TRIMTAB_PORT": "9000",
        "TRIMTAB_DRAIN_SECONDS": "15",
        "TRIMTAB_MAX_REQUEST_BYTES": "1000",
        "TRIMTAB_ACCESS_LOG": "true",
        "TRIMTAB_RESULT_PATH": "/tmp/result",
    }
    settings = from_environment(given)
    assert (settings.model_version, settings.port, settings.drain_seconds) == ("7", 9000, 15)
    assert (settings.max_request_bytes, settings.access_log) == (1000, True)
    assert settings.result_path == "/tmp/result"
    assert settings.revision == "abababababab"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"TRIMTAB_MODEL_NAME": ""}, "the environment variable TRIMTAB_MODEL_NAME is not set"),
        ({"TRIMTAB_MODEL_NAME": "a/b"}, "TRIMTAB_MODEL_NAME is 'a/b'; it must be a name without slashes"),
        ({"TRIMTAB_MODEL_VERSION": "1\n"}, "TRIMTAB_MODEL_VERSION is '1\\n'; it must be a name without"),
        ({"TRIMTAB_BUNDLE_DIR": ""}, "the environment variable TRIMTAB_BUNDLE_DIR is not set"),
        ({"TRIMTAB_DIGEST": "sha256:12"}, "'sha256:12' is not a digest; it must be sha256: and 64"),
        ({"TRIMTAB_DIGEST": DIGEST + "\n"}, "is not a digest"),
        ({"TRIMTAB_PORT": "http"}, "TRIMTAB_PORT is 'http'; it must be a whole number from 1 to 65535"),
        ({"TRIMTAB_PORT": "70000"}, "TRIMTAB_PORT is '70000'"),
        ({"TRIMTAB_DRAIN_SECONDS": "-1"}, "TRIMTAB_DRAIN_SECONDS is '-1'; it must be a whole number from 0"),
        ({"TRIMTAB_DRAIN_SECONDS": "²"}, "TRIMTAB_DRAIN_SECONDS is '²'"),
        ({"TRIMTAB_ACCESS_LOG": "yes"}, "TRIMTAB_ACCESS_LOG is 'yes'; it must be true or false"),
    ],
)
def test_faults_are_named(change: dict[str, str], message: str) -> None:
    with pytest.raises(Failure) as failure:
        from_environment(LEAST | change)
    assert message in failure.value.message
    assert (failure.value.reason, failure.value.exit_code) == ("SettingsInvalid", 10)
