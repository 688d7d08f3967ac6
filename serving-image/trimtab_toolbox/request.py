"""What one import is asked to do: the environment and the flags, checked once and frozen.

The Job sets variables, a person types flags; a flag wins over its variable. Everything behind this module
reads the one `Request`, so that no step looks at the environment on its own. The exceptions are credentials
(`MLFLOW_TRACKING_…`, `AWS_…` and the like): they belong to the client libraries, which read them themselves,
and so they never pass through our hands or logs.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from trimtab_serving.outcome import Failure, Reason

FORMATS = ("Auto", "MLflow", "Sklearn", "XGBoost", "LightGBM", "ONNX")
OPTIMIZE = ("Auto", "Off")
DEFAULT_MAX_BYTES = 4 << 30
DEFAULT_TIMEOUT_SECONDS = 1200

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})\Z")


@dataclass(frozen=True, slots=True)
class Request:
    """One import. `digest` is the 64 hex digits a downloaded file must have, or empty; sizes are bytes."""

    uri: str
    store: str
    format: str = "Auto"
    optimize: bool = True
    allow_pickle: bool = False
    digest: str = ""
    max_bytes: int = DEFAULT_MAX_BYTES
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    result_path: str = ""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise invalid(f"{message}; see trimtab-import --help")


def read_request(arguments: Sequence[str], environ: Mapping[str, str]) -> Request:
    """The request the flags and variables make; Failure SettingsInvalid names the one that is wrong."""
    given = _parser(environ).parse_args(arguments)
    for name, value in (("TRIMTAB_SOURCE_URI or --uri", given.uri), ("TRIMTAB_STORE or --store", given.store)):
        if not value:
            raise invalid(f"{name} is not set; it is needed to know what to import and where to put it")
    return Request(
        uri=given.uri,
        store=_store_uri(given.store),
        format=choice("TRIMTAB_FORMAT", given.format, FORMATS),
        optimize=choice("TRIMTAB_OPTIMIZE", given.optimize, OPTIMIZE) == "Auto",
        allow_pickle=choice("TRIMTAB_ALLOW_PICKLE", given.allow_pickle, ("true", "false")) == "true",
        digest=digest_of("TRIMTAB_SOURCE_DIGEST", given.digest),
        max_bytes=int(positive("TRIMTAB_MAX_BYTES", given.max_bytes)),
        timeout_seconds=positive("TRIMTAB_TIMEOUT_SECONDS", given.timeout_seconds),
        result_path=given.result,
    )


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = _Parser(prog="trimtab-import", description="Import a model into a store as one bundle.")

    def flag(name: str, variable: str, default: str, text: str) -> None:
        # An operator that has nothing to say may set a variable to nothing: that is the default too.
        parser.add_argument(f"--{name}", default=environ.get(variable) or default, help=f"{text} [{variable}]")

    sources = "models:/NAME/VERSION, runs:/RUN/PATH, s3://, gs://, az://, http(s)://, hf://, oci:// or pvc://"
    flag("uri", "TRIMTAB_SOURCE_URI", "", sources)
    flag("store", "TRIMTAB_STORE", "", "a directory, or a file://, s3://, gs://, az://, http(s):// store")
    flag("format", "TRIMTAB_FORMAT", "Auto", " | ".join(FORMATS))
    flag("optimize", "TRIMTAB_OPTIMIZE", "Auto", "Auto converts to ONNX when that is proven equal; Off never")
    flag("digest", "TRIMTAB_SOURCE_DIGEST", "", "the sha256 the downloaded file must have")
    flag("max-bytes", "TRIMTAB_MAX_BYTES", str(DEFAULT_MAX_BYTES), "refuse sources larger than this")
    flag("timeout-seconds", "TRIMTAB_TIMEOUT_SECONDS", str(DEFAULT_TIMEOUT_SECONDS), "give up after this")
    flag("result", "TRIMTAB_RESULT_PATH", "", "a file to which the outcome is also written as JSON")
    parser.add_argument(
        "--allow-pickle",
        nargs="?",
        const="true",
        default=environ.get("TRIMTAB_ALLOW_PICKLE") or "false",
        help="load pickles, which run code of whoever wrote them [TRIMTAB_ALLOW_PICKLE]",
    )
    return parser


def _store_uri(store: str) -> str:
    return store if "://" in store else Path(store).absolute().as_uri()


def choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """`value` if it is one of `allowed`, else Failure SettingsInvalid; `name` says which variable or flag is meant."""
    if value not in allowed:
        raise invalid(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
    return value


def positive(name: str, value: str) -> float:
    """`value` as a finite number above 0, else Failure SettingsInvalid."""
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise invalid(f"{name} is {value!r}; it must be a number above 0")
    return number


def digest_of(name: str, value: str) -> str:
    """The 64 hex digits of a sha256, empty when nothing is given, else Failure SettingsInvalid."""
    match = _DIGEST.match(value)
    if value and match is None:
        raise invalid(f"{name} is {value!r}; it must be 64 lower-case hex digits, with or without sha256:")
    return match.group(1) if match else ""


def invalid(message: str) -> Failure:
    """SettingsInvalid with this message."""
    return Failure(Reason.SETTINGS_INVALID, message)
