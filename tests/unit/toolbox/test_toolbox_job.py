"""What a training Job's environment says, and what becomes of whatever a training raises."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox import BadData, SelfCheckFailed, Skip, TryAgain
from trimtab_toolbox.attempt import TrainingRun
from trimtab_toolbox.job import Stopped, TrainingJob, ending_of, read_job


def test_a_laptop_says_nothing() -> None:
    job = read_job({})
    assert (job.run, job.model_name, job.seed, job.trigger, job.result_path) == ("", "", 0, {}, "")
    assert (job.checkpoint_dir, job.deadline_seconds, job.index) == (None, None, None)
    assert job.experiment == "trimtab-training"


def test_a_job_says_all(tmp_path: Path) -> None:
    (tmp_path / "trigger.json").write_text('{"kind": "Drift", "features": ["age"]}')
    job = read_job(
        {
            "TRIMTAB_RUN_ID": "weekly-1a2b3c4d",
            "TRIMTAB_TRIGGER": "Drift",
            "TRIMTAB_TRIGGER_PATH": str(tmp_path / "trigger.json"),
            "TRIMTAB_MODEL_NAME": "credit-risk",
            "TRIMTAB_CHAMPION_URI": "models:/credit-risk/6",
            "TRIMTAB_SEED": "9007199254740993",
            "TRIMTAB_CHECKPOINT_DIR": "/trimtab/checkpoints/weekly-1a2b3c4d",
            "TRIMTAB_OUTPUT_DIR": "/trimtab/out",
            "TRIMTAB_DEADLINE_SECONDS": "3600",
            "MLFLOW_EXPERIMENT_NAME": "team/weekly",
            "JOB_COMPLETION_INDEX": "0",
        }
    )
    assert job == TrainingJob(
        run="weekly-1a2b3c4d",
        experiment="team/weekly",
        model_name="credit-risk",
        champion_uri="models:/credit-risk/6",
        seed=9007199254740993,
        trigger={"kind": "Drift", "features": ["age"]},
        checkpoint_dir=Path("/trimtab/checkpoints/weekly-1a2b3c4d"),
        output_dir=Path("/trimtab/out"),
        deadline_seconds=3600.0,
        result_path="/dev/termination-log",
        index=0,
    )


@pytest.mark.parametrize("content", [None, "no json", "[1]"])
def test_a_trigger_that_cannot_be_read_is_known_by_its_kind(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "trigger.json"
    if content is not None:
        path.write_text(content)
    assert read_job({"TRIMTAB_TRIGGER": "Cron", "TRIMTAB_TRIGGER_PATH": str(path)}).trigger == {"kind": "Cron"}


def test_a_number_that_is_none() -> None:
    with pytest.raises(Failure, match="TRIMTAB_SEED is 'x'; it must be a number"):
        read_job({"TRIMTAB_SEED": "x"})


@pytest.mark.parametrize(
    ("error", "code", "reason", "message"),
    [
        (BadData("no rows"), 10, "BadData", "no rows"),
        (SelfCheckFailed("constant"), 12, "SelfCheckFailed", "constant"),
        (TryAgain("busy"), 75, "TryAgain", "busy"),
        (Stopped(), 75, "Stopped", "SIGTERM came; the next attempt goes on from the last checkpoint"),
        (SystemExit(4), 4, "Exit", "the script ended itself with 4"),
        (Failure(Reason.SOURCE_NOT_FOUND, "no file"), 10, "SourceNotFound", "no file"),
        (Failure(Reason.SOURCE_UNREACHABLE, "away"), 75, "SourceUnreachable", "away"),
        (Failure(Reason.SETTINGS_INVALID, "no data"), 11, "SettingsInvalid", "no data"),
        (ConnectionResetError("reset"), 75, "Unreachable", "reset; it will be tried again"),
        (
            MlflowException("API request failed"),
            75,
            "TrackingUnreachable",
            "MLflow could not be reached: API request failed; it will be tried again",
        ),
        (
            MlflowException("no such run.", error_code=RESOURCE_DOES_NOT_EXIST),
            11,
            "TrackingRefused",
            "MLflow refused a call (RESOURCE_DOES_NOT_EXIST): no such run",
        ),
        (ValueError("bad\nvalue"), 11, "TrainingFailed", "ValueError: bad value"),
        (KeyboardInterrupt(), 11, "TrainingFailed", "KeyboardInterrupt: KeyboardInterrupt"),
    ],
)
def test_endings(error: BaseException, code: int, reason: str, message: str) -> None:
    ending = ending_of(error)
    assert ending == (code, reason, message)
    assert ending.result() == {"schema": 1, "reason": reason, "message": message}


def test_a_skip_is_no_failure() -> None:
    assert ending_of(Skip("nothing new")).result() == {"schema": 1, "skipped": "nothing new"}


class Recorder:
    """Takes the tags that a run would set in MLflow."""

    def __init__(self, *, away: bool = False) -> None:
        self.tags: list[str] = []
        self.asked = 0
        self._away = away

    def set_tag(self, run: str, name: str, value: str) -> None:
        self.asked += 1
        if self._away:
            raise ConnectionError("nobody there")
        self.tags.append(value)


def recorded(monkeypatch: pytest.MonkeyPatch, **how: Any) -> Recorder:
    recorder = Recorder(**how)
    monkeypatch.setattr("trimtab_toolbox.tracking.client", lambda: recorder)
    return recorder


def test_progress_is_told_at_first_and_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = recorded(monkeypatch)
    clock = iter([float(second) for second in range(12)])
    monkeypatch.setattr("trimtab_toolbox.attempt.time.monotonic", lambda: next(clock))
    run = TrainingRun(TrainingJob(), "r")
    for done in range(1, 11):
        run.progress(done, 10)
    assert recorder.tags == ["1 of 10", "6 of 10", "10 of 10"]


def test_progress_without_mlflow_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = recorded(monkeypatch, away=True)
    run = TrainingRun(TrainingJob(), "r")
    run.progress(1, 10)
    run.progress(2, 10)
    assert recorder.asked == 1
    assert "progress 1 of 10 could not be told to MLflow: ConnectionError" in capsys.readouterr().err


def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path) -> None:
    run = TrainingRun(TrainingJob(checkpoint_dir=tmp_path / "checkpoints"), "r")
    assert run.restored() is None
    with run.checkpoint() as path:
        path.write_text("one")

    def half() -> None:
        with run.checkpoint() as path:
            path.write_text("tw")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    restored = run.restored()
    assert restored is not None
    assert restored.read_text() == "one"


def test_a_stop_comes_after_the_checkpoint_and_through_any_except(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(monkeypatch)
    run = TrainingRun(TrainingJob(checkpoint_dir=tmp_path), "r")
    run.stopping = True

    def careless() -> None:
        try:
            with run.checkpoint("best") as path:
                path.write_text(json.dumps({"epoch": 3}))
        except Exception as error:
            raise AssertionError("a library swallowed the stop") from error

    with pytest.raises(Stopped) as end:
        careless()
    assert end.value.code == 75
    assert (tmp_path / "best").read_text() == '{"epoch": 3}'
    with pytest.raises(Stopped):
        run.progress(1, 2)


def test_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TrainingRun(TrainingJob(), "r").seconds_left() is None
    clock = iter([100.0, 130.0, 190.0])
    monkeypatch.setattr("trimtab_toolbox.attempt.time.monotonic", lambda: next(clock))
    run = TrainingRun(TrainingJob(deadline_seconds=60.0), "r")
    assert (run.seconds_left(), run.seconds_left()) == (30.0, 0.0)


def test_two_trainings_on_a_laptop_share_no_checkpoint() -> None:
    job = read_job({})
    assert TrainingRun(job, "one").checkpoint_dir != TrainingRun(job, "two").checkpoint_dir
