"""The contract's environment: complete, checked, and each fault named by its variable."""

import socket
from pathlib import Path

import pytest

from trimtab_serving.__main__ import listen
from trimtab_serving.cpu import cores
from trimtab_serving.outcome import TERMINATION_LOG, Failure, Reason
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
        workers=cores(),
        state_dir=Path("/tmp/trimtab"),
        counting=True,
        user_header="",
        tokens_dir=None,
        token_key="",
        token_days=30,
        max_queue=512,
        max_connections=8192,
        timeout_seconds=60,
        batch_max_size=32,
        batch_max_wait=0,
    )


def test_everything_given() -> None:
    given = LEAST | {
        "TRIMTAB_MODEL_VERSION": "7",
        "TRIMTAB_PORT": "9000",
        "TRIMTAB_DRAIN_SECONDS": "15",
        "TRIMTAB_MAX_REQUEST_BYTES": "1000",
        "TRIMTAB_ACCESS_LOG": "true",
        "TRIMTAB_RESULT_PATH": "/tmp/result",
        "TRIMTAB_WORKERS": "3",
        "TRIMTAB_STATE_DIR": "/state",
        "TRIMTAB_COUNTING": "off",
        "TRIMTAB_USER_HEADER": "x-user-id",
        "TRIMTAB_TOKENS_DIR": "/tokens",
        "TRIMTAB_TOKEN_KEY": "0123456789abcdef\n",
        "TRIMTAB_TOKEN_DAYS": "7",
        "TRIMTAB_MAX_QUEUE": "10",
        "TRIMTAB_MAX_CONNECTIONS": "20",
        "TRIMTAB_TIMEOUT_SECONDS": "5",
        "TRIMTAB_BATCH_MAX_SIZE": "16",
        "TRIMTAB_BATCH_MAX_WAIT_MICROSECONDS": "500",
    }
    settings = from_environment(given)
    assert (settings.model_version, settings.port, settings.drain_seconds) == ("7", 9000, 15)
    assert (settings.max_request_bytes, settings.access_log) == (1000, True)
    assert settings.result_path == "/tmp/result"
    assert settings.revision == "abababababab"
    assert (settings.workers, settings.state_dir, settings.counting) == (3, Path("/state"), False)
    assert (settings.user_header, settings.tokens_dir) == ("x-user-id", Path("/tokens"))
    assert (settings.token_key, settings.token_days) == ("0123456789abcdef", 7)
    assert (settings.max_queue, settings.max_connections, settings.timeout_seconds) == (10, 20, 5)
    assert (settings.batch_max_size, settings.batch_max_wait) == (16, 0.0005)
    assert "0123456789abcdef" not in repr(settings)


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
        ({"TRIMTAB_WORKERS": "0"}, "TRIMTAB_WORKERS is '0'; it must be a whole number from 1 to 64"),
        ({"TRIMTAB_COUNTING": "true"}, "TRIMTAB_COUNTING is 'true'; it must be on or off"),
        ({"TRIMTAB_TOKEN_KEY": "short"}, "TRIMTAB_TOKEN_KEY has 5 bytes; it needs at least 16 random ones"),
    ],
)
def test_faults_are_named(change: dict[str, str], message: str) -> None:
    with pytest.raises(Failure) as failure:
        from_environment(LEAST | change)
    assert message in failure.value.message
    assert (failure.value.reason, failure.value.exit_code) == ("SettingsInvalid", 10)


def test_a_port_that_cannot_be_had_is_named() -> None:
    with socket.create_server(("", 0)) as other:
        taken = other.getsockname()[1]
        for port, why in ((taken, "Address already in use"), (65536, "bind(): port must be 0-65535.")):
            with pytest.raises(Failure) as caught:
                listen(port)
            assert caught.value.reason is Reason.SETTINGS_INVALID
            assert caught.value.message == f"nothing can listen on port {port}: {why}; choose another one"
