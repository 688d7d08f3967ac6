"""The training Job's contract: what the environment tells a trainer, and how a trainer may end.

docs/training.md is the text of it, for images that do without this package. Outside a Job nothing is set, and the
same script runs on a laptop: the run has no name, and whatever goes wrong is raised as it is.
"""

from __future__ import annotations

import json
import os
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

from trimtab_serving.outcome import EXIT_RETRIABLE, TERMINATION_LOG, Failure, Reason

EXIT_SKIPPED = 3
EXIT_BAD_DATA = 10
EXIT_USER_BUG = 11
EXIT_SELF_CHECK = 12
TRIGGER_PATH = "/trimtab/in/trigger.json"
EXPERIMENT = "trimtab-training"
"""Where runs go that were given no experiment."""

T = TypeVar("T", int, float)

_REFUSED = frozenset(
    {
        "BAD_REQUEST",
        "CUSTOMER_UNAUTHORIZED",
        "ENDPOINT_NOT_FOUND",
        "INVALID_PARAMETER_VALUE",
        "INVALID_STATE",
        "NOT_FOUND",
        "PERMISSION_DENIED",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_DOES_NOT_EXIST",
        "UNAUTHENTICATED",
    }
)
_CONNECTIONS = ("requests.exceptions", "urllib3.exceptions")


class TrainingError(Exception):
    """A foreseen end of a training: `code` is the exit code, `reason` the word for it."""

    code: ClassVar[int] = EXIT_USER_BUG
    reason: ClassVar[str] = "TrainingFailed"


class BadData(TrainingError):  # noqa: N818 - outcomes, spoken of as such
    """The data cannot be learnt from; another attempt sees the same data, so there is none."""

    code = EXIT_BAD_DATA
    reason = "BadData"


class SelfCheckFailed(TrainingError):  # noqa: N818
    """The trainer itself found its model unfit; it is not registered, and there is no other attempt."""

    code = EXIT_SELF_CHECK
    reason = "SelfCheckFailed"


class NothingRegistered(TrainingError):  # noqa: N818
    """The script came to its end without a version."""

    reason = "NothingRegistered"


class TryAgain(TrainingError):  # noqa: N818
    """Something outside is in the way for now; the Job makes another attempt, which goes on from the checkpoint."""

    code = EXIT_RETRIABLE
    reason = "TryAgain"


class Skip(TrainingError):  # noqa: N818
    """There is nothing to do, and that is no failure."""

    code = EXIT_SKIPPED
    reason = "Skipped"


class Stopped(SystemExit):
    """SIGTERM came and the training stopped where it can go on; no `except Exception` on the way swallows this."""

    def __init__(self) -> None:
        super().__init__(EXIT_RETRIABLE)


class Ending(NamedTuple):
    """How a process ends: its exit code, and its last words in two parts."""

    code: int
    reason: str
    message: str

    def result(self) -> dict[str, Any]:
        """The last words as the operator reads them."""
        if self.code == EXIT_SKIPPED:
            return {"schema": 1, "skipped": self.message}
        return {"schema": 1, "reason": self.reason, "message": self.message}


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What the operator tells a trainer. `run` is empty outside a Job; `index` is that of an Indexed Job's pod."""

    run: str = ""
    experiment: str = EXPERIMENT
    model_name: str = ""
    champion_uri: str = ""
    seed: int = 0
    trigger: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_dir: Path | None = None
    output_dir: Path = Path()
    deadline_seconds: float | None = None
    result_path: str = ""
    index: int | None = None


def read_job(environ: Mapping[str, str]) -> TrainingJob:
    """The Job that the variables describe; a Failure SettingsInvalid names the one that is no number."""
    run = environ.get("TRIMTAB_RUN_ID", "")
    checkpoints = environ.get("TRIMTAB_CHECKPOINT_DIR")
    return TrainingJob(
        run=run,
        experiment=environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT,
        model_name=environ.get("TRIMTAB_MODEL_NAME", ""),
        champion_uri=environ.get("TRIMTAB_CHAMPION_URI", ""),
        seed=_number(environ, "TRIMTAB_SEED", int) or 0,
        trigger=_trigger(environ),
        checkpoint_dir=Path(checkpoints) if checkpoints else None,
        output_dir=Path(environ.get("TRIMTAB_OUTPUT_DIR") or tempfile.gettempdir()),
        deadline_seconds=_number(environ, "TRIMTAB_DEADLINE_SECONDS", float),
        result_path=environ.get("TRIMTAB_RESULT_PATH") or (TERMINATION_LOG if run else ""),
        index=_number(environ, "JOB_COMPLETION_INDEX", int),
    )


def ending_of(error: BaseException) -> Ending:
    """The exit code and last words for whatever a training raised."""
    if isinstance(error, Stopped):
        return Ending(EXIT_RETRIABLE, "Stopped", "SIGTERM came; the next attempt goes on from the last checkpoint")
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else 1
        return Ending(code, "Exit", f"the script ended itself with {error.code!r}")
    if isinstance(error, TrainingError):
        return Ending(error.code, error.reason, str(error) or error.reason)
    if isinstance(error, Failure):
        # Sources know two codes; a wrong setting is the user's to correct, and not the data's fault.
        code = EXIT_USER_BUG if error.reason is Reason.SETTINGS_INVALID else error.exit_code
        return Ending(code, error.reason.value, error.message)
    if "MlflowException" in (kind.__name__ for kind in type(error).__mro__):
        return _tracking(error)
    if isinstance(error, (ConnectionError, TimeoutError)) or type(error).__module__.startswith(_CONNECTIONS):
        return Ending(EXIT_RETRIABLE, "Unreachable", f"{_short(error)}; it will be tried again")
    return Ending(EXIT_USER_BUG, "TrainingFailed", f"{type(error).__name__}{_place(error)}: {_short(error)}")


def _tracking(error: BaseException) -> Ending:
    code = str(getattr(error, "error_code", ""))
    if code in _REFUSED:
        message = f"MLflow refused a call{_place(error)} ({code}): {_short(error)}"
        return Ending(EXIT_USER_BUG, "TrackingRefused", message)
    message = f"MLflow could not be reached: {_short(error)}; it will be tried again"
    return Ending(EXIT_RETRIABLE, "TrackingUnreachable", message)


def _place(error: BaseException) -> str:
    """Where in the user's own files it happened, if that can be told."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename and "/trimtab_" not in frame.filename]
    return f" at {os.path.basename(own[-1].filename)}:{own[-1].lineno}" if own else ""


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:1000].rstrip(".") or type(error).__name__


def _trigger(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """What the operator wrote into the file, or only the kind of it where there is no such file."""
    kind = environ.get("TRIMTAB_TRIGGER", "")
    known = {"kind": kind} if kind else {}
    try:
        read = json.loads(Path(environ.get("TRIMTAB_TRIGGER_PATH") or TRIGGER_PATH).read_text())
    except (OSError, ValueError):
        return known
    return read if isinstance(read, dict) else known


def _number(environ: Mapping[str, str], name: str, kind: Callable[[str], T]) -> T | None:
    value = environ.get(name, "")
    try:
        return kind(value) if value else None
    except ValueError:
        message = f"{name} is {value!r}; it must be a number"
        raise Failure(Reason.SETTINGS_INVALID, message) from None
