"""What the server is told from outside: the contract's environment, read once into one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trimtab_serving.cpu import cores
from trimtab_serving.outcome import TERMINATION_LOG, Failure, Reason
from trimtab_serving.outcomes.token import MIN_KEY_BYTES
from trimtab_serving.store import check_digest

DEFAULT_PORT = 8080
DEFAULT_MAX_REQUEST_BYTES = 32 << 20
REVISION_DIGITS = 12
DEFAULT_STATE_DIR = Path("/tmp/trimtab")  # noqa: S108 - an emptyDir of the pod's own; checked to be ours
MAX_WORKERS = 64


@dataclass(frozen=True)
class Settings:
    """Everything one server process needs to know."""

    model_name: str
    model_version: str
    digest: str
    bundle_dir: Path
    port: int = DEFAULT_PORT
    drain_seconds: float = 0.0
    max_request_bytes: int = DEFAULT_MAX_REQUEST_BYTES
    access_log: bool = False
    result_path: str = TERMINATION_LOG
    workers: int = 1
    state_dir: Path = DEFAULT_STATE_DIR
    counting: bool = True
    user_header: str = ""
    tokens_dir: Path | None = None
    token_key: str = field(default="", repr=False)
    token_days: int = 30
    max_queue: int = 512
    max_connections: int = 8192
    timeout_seconds: float = 60.0
    batch_max_size: int = 32
    batch_max_wait: float = 0.0
    """Seconds."""
    grpc_port: int = 0
    """0: no gRPC."""

    @property
    def revision(self) -> str:
        """The first 12 hex digits of the digest: how people and metrics name a revision."""
        return check_digest(self.digest)[:REVISION_DIGITS]


def from_environment(environ: Mapping[str, str]) -> Settings:
    """Read and check the contract's variables; Failure SettingsInvalid names the one that is wrong."""
    digest = required(environ, "TRIMTAB_DIGEST")
    revision = check_digest(digest)[:REVISION_DIGITS]
    return Settings(
        model_name=_path_part("TRIMTAB_MODEL_NAME", required(environ, "TRIMTAB_MODEL_NAME")),
        model_version=_path_part("TRIMTAB_MODEL_VERSION", environ.get("TRIMTAB_MODEL_VERSION") or revision),
        digest=digest,
        bundle_dir=Path(required(environ, "TRIMTAB_BUNDLE_DIR")),
        port=_whole(environ, "TRIMTAB_PORT", DEFAULT_PORT, 1, 65535),
        drain_seconds=_whole(environ, "TRIMTAB_DRAIN_SECONDS", 0, 0, 3600),
        max_request_bytes=_whole(environ, "TRIMTAB_MAX_REQUEST_BYTES", DEFAULT_MAX_REQUEST_BYTES, 1, 1 << 31),
        access_log=_truth(environ, "TRIMTAB_ACCESS_LOG"),
        result_path=result_path(environ),
        workers=_whole(environ, "TRIMTAB_WORKERS", min(cores(), MAX_WORKERS), 1, MAX_WORKERS),
        state_dir=Path(environ.get("TRIMTAB_STATE_DIR") or DEFAULT_STATE_DIR),
        counting=_switch(environ, "TRIMTAB_COUNTING"),
        user_header=environ.get("TRIMTAB_USER_HEADER", ""),
        tokens_dir=Path(environ["TRIMTAB_TOKENS_DIR"]) if environ.get("TRIMTAB_TOKENS_DIR") else None,
        token_key=_token_key(environ),
        token_days=_whole(environ, "TRIMTAB_TOKEN_DAYS", 30, 1, 3650),
        max_queue=_whole(environ, "TRIMTAB_MAX_QUEUE", 512, 1, 1 << 20),
        max_connections=_whole(environ, "TRIMTAB_MAX_CONNECTIONS", 8192, 1, 1 << 20),
        timeout_seconds=_whole(environ, "TRIMTAB_TIMEOUT_SECONDS", 60, 1, 3600),
        batch_max_size=_whole(environ, "TRIMTAB_BATCH_MAX_SIZE", 32, 1, 4096),
        grpc_port=_whole(environ, "TRIMTAB_GRPC_PORT", 0, 0, 65535),
        batch_max_wait=_whole(environ, "TRIMTAB_BATCH_MAX_WAIT_MICROSECONDS", 0, 0, 1_000_000) / 1e6,
    )


def required(environ: Mapping[str, str], variable: str) -> str:
    """The value of `variable`; Failure SettingsInvalid when it is unset or empty."""
    value = environ.get(variable, "")
    if not value:
        raise Failure(Reason.SETTINGS_INVALID, f"the environment variable {variable} is not set")
    return value


def result_path(environ: Mapping[str, str]) -> str:
    """Where the last words go."""
    return environ.get("TRIMTAB_RESULT_PATH") or TERMINATION_LOG


def _path_part(variable: str, value: str) -> str:
    if "/" in value or not value.isprintable():
        raise _invalid(variable, value, "a name without slashes, because it becomes part of the path")
    return value


def _whole(environ: Mapping[str, str], variable: str, default: int, least: int, most: int) -> int:
    text = environ.get(variable) or str(default)
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise _invalid(variable, text, f"a whole number from {least} to {most}")
    return int(text)


def _truth(environ: Mapping[str, str], variable: str) -> bool:
    text = environ.get(variable) or "false"
    if text not in ("true", "false"):
        raise _invalid(variable, text, "true or false")
    return text == "true"


def _switch(environ: Mapping[str, str], variable: str) -> bool:
    text = environ.get(variable) or "on"
    if text not in ("on", "off"):
        raise _invalid(variable, text, "on or off")
    return text == "on"


def _token_key(environ: Mapping[str, str]) -> str:
    """The key of the prediction tokens; never shown, not even when it is wrong."""
    key = environ.get("TRIMTAB_TOKEN_KEY", "").strip()
    if key and len(key.encode()) < MIN_KEY_BYTES:
        message = f"TRIMTAB_TOKEN_KEY has {len(key.encode())} bytes; it needs at least {MIN_KEY_BYTES} random ones"
        raise Failure(Reason.SETTINGS_INVALID, message)
    return key


def _invalid(variable: str, value: str, wanted: str) -> Failure:
    return Failure(Reason.SETTINGS_INVALID, f"{variable} is {value!r}; it must be {wanted}")
