"""What one evaluation is asked to do: the environment, checked once and frozen.

Credentials are read by the client libraries themselves, as in an import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trimtab_toolbox.evaluation.gate import Gate, read_gate
from trimtab_toolbox.request import DEFAULT_MAX_BYTES, DEFAULT_TIMEOUT_SECONDS, Request, choice, digest_of, invalid
from trimtab_toolbox.request import positive as above_0


@dataclass(frozen=True, slots=True)
class Settings:
    """One evaluation. `champion` is empty when there is none yet; `digest` is the sha256 of the holdout."""

    champion: str
    challenger: str
    holdout: str
    digest: str
    target: str
    gate: Gate
    run_id: str = ""
    model_name: str = ""
    allow_pickle: bool = False
    max_bytes: int = DEFAULT_MAX_BYTES
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    result_path: str = ""

    def request(self, uri: str, digest: str = "") -> Request:
        """How an import would be asked for what lies at `uri`."""
        return Request(uri, "", allow_pickle=self.allow_pickle, digest=digest, max_bytes=self.max_bytes)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings that the variables make; Failure SettingsInvalid names the one that is wrong."""

    def needed(name: str, what: str) -> str:
        value = environ.get(name, "")
        if not value:
            raise invalid(f"{name} is not set; it must say {what}")
        return value

    def optional(name: str, default: str) -> str:
        return environ.get(name) or default

    challenger = needed("TRIMTAB_CHALLENGER_URI", "which model is graded (models:/NAME/VERSION)")
    holdout = needed("TRIMTAB_HOLDOUT_URI", "where the rows are that models are graded on")
    digest = needed("TRIMTAB_HOLDOUT_DIGEST", "the sha256 of the holdout, or it might differ from run to run")
    timeout = optional("TRIMTAB_TIMEOUT_SECONDS", str(DEFAULT_TIMEOUT_SECONDS))
    return Settings(
        champion=environ.get("TRIMTAB_CHAMPION_URI", ""),
        challenger=challenger,
        holdout=holdout,
        digest=digest_of("TRIMTAB_HOLDOUT_DIGEST", digest),
        target=needed("TRIMTAB_HOLDOUT_TARGET", "which column of the holdout has the truth"),
        gate=read_gate(needed("TRIMTAB_GATE", "what the model is held to")),
        run_id=environ.get("TRIMTAB_RUN_ID", ""),
        model_name=environ.get("TRIMTAB_MODEL_NAME", ""),
        allow_pickle=choice("TRIMTAB_ALLOW_PICKLE", optional("TRIMTAB_ALLOW_PICKLE", "false"), ("true", "false"))
        == "true",
        max_bytes=int(above_0("TRIMTAB_MAX_BYTES", optional("TRIMTAB_MAX_BYTES", str(DEFAULT_MAX_BYTES)))),
        timeout_seconds=above_0("TRIMTAB_TIMEOUT_SECONDS", timeout),
        result_path=environ.get("TRIMTAB_RESULT_PATH", ""),
    )
