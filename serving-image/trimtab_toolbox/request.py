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
        raise _invalid(f"{message}; see trimtab-import --help")


def read_request(arguments: Sequence[str], environ: Mapping[str, str]) -> Request:
    """The request the flags and variables make; Failure SettingsInvalid names the one that is wrong."""
    given = _parser(environ).parse_args(arguments)
    for name, value in (("TRIMTAB_SOURCE_URI or --uri", given.uri), ("TRIMTAB_STORE or --store", given.store)):
        if not value:
            raise _invalid(f"{name} is not set; it is needed to know what to import and where to put it")
    return Request(
        uri=given.uri,
        store=_store_uri(given.store),
        format=_choice("TRIMTAB_FORMAT", given.format, FORMATS),
        optimize=_choice("TRIMTAB_OPTIMIZE", given.optimize, OPTIMIZE) == "Auto",
        allow_pickle=_choice("TRIMTAB_ALLOW_PICKLE", given.allow_pickle, ("true", "false")) == "true",
        digest=_digest(given.digest),
        max_bytes=int(_positive("TRIMTAB_MAX_BYTES", given.max_bytes)),
        timeout_seconds=_positive("TRIMTAB_TIMEOUT_SECONDS", given.timeout_seconds),
        result_path=given.result,
    )


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = _Parser(prog="trimtab-import", description="Import a model into a store as one bundle.")

    def flag(name: str, variable: str, default: str, text: str) -> None:
        # An operator that has nothing to say may set a variable to nothing: that is the default too.
        parser.add_argument(f"--{name}", default=environ.get(variable) or default, help=f"{text} [{variable}]")

    flag("uri", "TRIMTAB_SOURCE_URI", "", "models:/NAME/VERSION, https://HOST/FILE or http://HOST/FILE")
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


def _choice(name: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise _invalid(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
    return value


def _positive(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise _invalid(f"{name} is {value!r}; it must be a number above 0")
    return number


def _digest(value: str) -> str:
    match = _DIGEST.match(value)
    if value and match is None:
        raise _invalid(
            f"TRIMTAB_SOURCE_DIGEST is {value!r}; it must be 64 lower-case hex digits, with or without sha256:"
        )
    return match.group(1) if match else ""


def _invalid(message: str) -> Failure:
    return Failure(Reason.SETTINGS_INVALID, message)
